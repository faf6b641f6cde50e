"""Where recordings, tables and references lie: paths of this machine, and URLs of object stores that pyarrow knows."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from streamer.errors import UsageError


def is_url(where: str) -> bool:
    """Whether this is a URL, such as `s3://bucket/june/`, and not a path."""
    return "://" in where


def place_of(where: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path of a path or URL. Raises `UsageError`."""
    try:
        return fs.FileSystem.from_uri(where) if is_url(where) else (fs.LocalFileSystem(), where)
    except (ValueError, OSError, pa.ArrowException) as problem:
        raise UsageError(
            f"{shown(where)} is no valid path or URL: {problem}. Give a path, or a URL of s3, gs or abfs"
        ) from None


def bare(where: str) -> str:
    """A path as it is, a URL without the options behind `?`."""
    return where.partition("?")[0] if is_url(where) else where


def shown(where: str) -> str:
    """A path or URL for messages: without options and keys, which a URL may hold."""
    if not is_url(where):
        return where
    scheme, _, rest = bare(where).partition("://")
    bucket, slash, path = rest.partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{path}"


def topic_of(where: str) -> str:
    """The topic of a file without another name: that of the file, without endings."""
    return PurePosixPath(bare(where)).name.lstrip(".").partition(".")[0]


def is_folder(where: str) -> bool:
    """Whether this is a folder. Raises `UsageError` for a URL whose store does not answer."""
    if not is_url(where):
        return Path(where).is_dir()
    system, path = place_of(where)
    try:
        return bool(system.get_file_info(path.rstrip("/")).type is fs.FileType.Directory)
    except OSError as problem:
        raise UsageError(f"{shown(where)} can't be reached: {problem}") from problem


def files_of(where: str) -> list[str]:
    """The files of a folder, in order, without those that tools hide; or the file itself. Each as `where` is given."""
    system, path = place_of(where)
    found = paths_of(system, path.rstrip("/") or path)
    if not is_url(where):
        return found
    parts = urlsplit(bare(where))
    keys, at, _ = parts.netloc.rpartition("@")
    return [f"{parts.scheme}://{keys}{at}{one}{where[len(bare(where)) :]}" for one in found]


def paths_of(system: fs.FileSystem, root: str) -> list[str]:
    """The paths of the files of a folder in a file system, in order, without those that tools hide; or the file's."""
    if system.get_file_info(root).type is not fs.FileType.Directory:
        return [root]
    found = system.get_file_info(fs.FileSelector(root, recursive=True))
    inner = {one.path: PurePosixPath(one.path).parts[len(PurePosixPath(root).parts) :] for one in found if one.is_file}
    return sorted(path for path, parts in inner.items() if not any(part.startswith(("_", ".")) for part in parts))


def size_of(where: str) -> int:
    """The bytes of a file, or of the files of a folder. Raises OSError."""
    system, path = place_of(where)
    return sum(info.size or 0 for info in system.get_file_info(paths_of(system, path.rstrip("/") or path)))


def opened(where: str) -> Any:
    """What pyarrow reads a file from: its path, or the open file of a URL. Raises OSError."""
    if not is_url(where):
        return where
    system, path = place_of(where)
    return system.open_input_file(path)
