"""A file or standard input as a stream of bytes, decompressed while it is read."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from streamer.errors import UsageError
from streamer.eventlog.recordings.places import is_url, opened, shown

STANDARD_INPUT = "standard input"
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by the first bytes, not by the name
HEAD_BYTES = 64 << 10


class ByteStream:
    """Bytes read once, front to back. `head` holds the first of them; `read` returns them, too."""

    def __init__(self, name: str, file: BinaryIO, size_bytes: int | None) -> None:
        self.name = name
        self.size_bytes = size_bytes  # as stored; None: not known
        self._file = file
        first = file.peek(4) if isinstance(file, io.BufferedReader) else b""
        self.compression = next((kind for magic, kind in COMPRESSIONS.items() if first.startswith(magic)), None)
        self._unpacked: Any = (
            pa.CompressedInputStream(pa.PythonFile(file), self.compression) if self.compression else file
        )
        self._bytes_read = 0
        self._put_back = b""
        self.head = self._put_back = self.read(HEAD_BYTES)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer before the end, none at the end."""
        if self._put_back:
            given, self._put_back = self._put_back, b""
            return given
        try:
            content: bytes = self._unpacked.read(size)
        except OSError as error:
            cause = f"does not unpack as {self.compression}" if self.compression else "can't be read"
            raise UsageError(
                f"{self.name} {cause} ({str(error).rstrip('.')}): it was cut short or damaged. Copy or record it again."
            ) from error
        if self.size_bytes is not None:
            self._bytes_read = self._file.tell()
        return content

    def bytes_read(self) -> int:
        """The bytes read so far, as stored; 0 when the size isn't known."""
        return self._bytes_read

    def close(self) -> None:
        """Close the file; safe to call twice. Standard input stays open."""
        if self.name != STANDARD_INPUT:
            self._file.close()


def open_stream(path: str | Path) -> ByteStream:
    """Open a file, or standard input for `-`. Raises `UsageError` when there is nothing to read."""
    if str(path) == "-":
        return ByteStream(STANDARD_INPUT, sys.stdin.buffer, None)
    if is_url(str(path)):
        return _of_url(str(path))
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a directory. Name the recordings in it, for example {path / '*.parquet'}.")
    try:
        file = path.open("rb")
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        raise UsageError(f"There is no recording {path}. Check the path.") from None
    except OSError as error:
        raise UsageError(f"Can't read the recording {path}: {error.strerror}.") from error
    return _checked(str(path), file, size_bytes)


def _of_url(url: str) -> ByteStream:
    try:
        file = opened(url)
        size_bytes = file.size()
    except FileNotFoundError:
        raise UsageError(f"There is no recording {shown(url)}. Check the URL.") from None
    except OSError as error:
        raise UsageError(f"Can't read the recording {shown(url)}: {error}.") from error
    return _checked(shown(url), io.BufferedReader(file, HEAD_BYTES), size_bytes)


def _checked(name: str, file: BinaryIO, size_bytes: int) -> ByteStream:
    try:
        return ByteStream(name, file, size_bytes)
    except UsageError:
        file.close()
        raise
