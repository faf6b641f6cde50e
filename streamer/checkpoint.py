"""Checkpoints: states that were kept, and where they are kept.

A checkpoint is two files below `<root>/<group>/<unit>/`: the state as an Arrow IPC stream, and then its *manifest*,
JSON that says what it is and what the SHA-256 of each of its pieces must be. The manifest is written last, so what has
one is whole; what has none is a piece of something that was interrupted. The files go through `pyarrow.fs`: a local
folder by default, or `s3://`, `gs://` and `abfs://` by URL. Nothing in them is code.

Every state is written whole. With random traffic almost every series changes between two checkpoints, so that writing
only what has changed would save nothing and tie each checkpoint to its predecessors.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs

from streamer.digest import first_difference, sha256_of_file, sha256_of_pieces
from streamer.errors import UsageError
from streamer.logs.base import Epoch
from streamer.snapshot import Snapshot

FORMAT: Final = 2
SEMANTICS: Final = 16  # goes up when the same code would make something else of the same records
KEPT: Final = 3  # of each unit
MANIFEST_BYTES_MAX: Final = 16 << 20
STATE_BYTES_MAX: Final = 1 << 40
PIECE_BYTES: Final = 8 << 20
NUMBER_DIGITS: Final = 12

log = logging.getLogger(__name__)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a checkpoint is."""

    unit: str
    epoch: Epoch  # with its place in the history
    starts: dict[str, int]  # topic -> offset of the first record that the state was made from
    topic_ids: dict[str, str]
    settings: str  # those of the fold, as canonical JSON
    fingerprint: str  # of the settings
    written_by: str  # version
    state: str = ""  # the name of the file beside this one
    bytes: int = 0
    sha256: list[str] = []  # of each 64 MiB of the file
    format: int = FORMAT
    semantics: int = SEMANTICS


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint in a store; see `streamer.recovery.Checkpoint`."""

    store: CheckpointStore
    folder: str
    manifest: Manifest

    @property
    def epoch(self) -> Epoch:
        return self.manifest.epoch

    @property
    def starts(self) -> Mapping[str, int]:
        return self.manifest.starts

    @property
    def topic_ids(self) -> Mapping[str, str]:
        return self.manifest.topic_ids

    @property
    def settings(self) -> str:
        return self.manifest.settings

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def read(self) -> Snapshot | None:
        """The state, once every byte of it has been checked; None, with a line in the log, if it can't be had."""
        path = f"{self.folder}/{self.manifest.state}"
        try:
            data = self.store.read(path, self.manifest.bytes)
            if (piece := first_difference(sha256_of_pieces(data.data), self.manifest.sha256)) is not None:
                raise ValueError(f"piece {piece} of {len(self.manifest.sha256)} has another SHA-256 than it had once")
            return Snapshot.from_private(data)
        except (OSError, ValueError, pa.ArrowException, UsageError) as problem:
            log.error("checkpoint %s can't be used, so an older one is: %s", path, problem)
            return None


class CheckpointStore:
    """The checkpoints of one group."""

    def __init__(self, where: str, group: str) -> None:
        """`where` is a folder or a URL. Raises `UsageError` when nobody can make anything of it."""
        try:
            self._fs, root = fs.FileSystem.from_uri(where) if "://" in where else (fs.LocalFileSystem(), where)
        except (ValueError, OSError, pa.ArrowException) as problem:
            raise UsageError(f"checkpoints.url: {where} can't be used: {problem}") from problem
        self._root = f"{root}/{quote(group, safe='')}"
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)

    def newest_first(self, unit: str) -> Iterator[StoredCheckpoint]:
        """The unit's checkpoints whose manifests can be read. An unreachable store has none; the log says so."""
        folder = self._folder(unit)
        try:
            names = self._manifests(folder)
        except (OSError, pa.ArrowException) as problem:
            log.error("checkpoints of %s can't be listed, so none is used: %s", unit, problem)
            return
        for name in reversed(names):
            try:
                manifest = msgspec.json.decode(self.read(f"{folder}/{name}").tobytes(), type=Manifest)
                if (manifest.format, manifest.semantics, manifest.unit) != (FORMAT, SEMANTICS, unit):
                    raise ValueError(
                        f"format {manifest.format}, semantics {manifest.semantics} and unit {manifest.unit}; this "
                        f"version reads format {FORMAT} and semantics {SEMANTICS} of {unit}"
                    )
            except (OSError, ValueError, pa.ArrowException) as problem:
                log.error("checkpoint %s/%s can't be used, so an older one is: %s", folder, name, problem)
                continue
            yield StoredCheckpoint(self, folder, manifest)

    def units(self) -> list[str]:
        """The units of which there is anything, by their numbers. Raises `UsageError` if nobody can tell."""
        try:
            found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        except (OSError, pa.ArrowException) as problem:
            raise UsageError(f"checkpoints in {self._root} can't be listed: {problem}") from problem
        names = [info.base_name for info in found if info.type == fs.FileType.Directory]
        return sorted(names, key=lambda name: (len(name), name))

    def spool(self, unit: str) -> Path:
        """A fresh local file to write a state to; of a local store, where it can stay. Raises OSError."""
        folder = Path(self._folder(unit)) if self._is_local else Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"tmp-{os.getpid()}-", suffix=".arrow", dir=folder)
        os.close(descriptor)
        return Path(name)

    def publish(self, spool: Path, manifest: Manifest) -> Manifest:
        """Keep the state in this file, and of the unit's checkpoints the newest `KEPT`.

        Raises OSError and pa.ArrowException. Until the last step has succeeded the older checkpoints are all there is,
        and none of them is touched.
        """
        folder = self._folder(manifest.unit)
        with spool.open("rb") as file:
            digests = sha256_of_file(file)
            os.fsync(file.fileno())
        name = f"{manifest.epoch.number:0{NUMBER_DIGITS}}-{''.join(digests)[-8:]}"
        whole = msgspec.structs.replace(manifest, state=f"{name}.arrow", bytes=spool.stat().st_size, sha256=digests)
        if self._is_local:
            _keep_locally(spool, Path(folder) / whole.state)
            note = Path(folder) / f"tmp-{os.getpid()}-{name}.json"
            note.write_bytes(msgspec.json.encode(whole))
            _keep_locally(note, Path(folder) / f"{name}.json")
        else:
            self._upload(spool, f"{folder}/{whole.state}")
            with self._fs.open_output_stream(f"{folder}/{name}.json") as sink:
                sink.write(msgspec.json.encode(whole))
        try:
            self._prune(folder)
        except (OSError, pa.ArrowException) as problem:
            log.warning("old checkpoints in %s could not be deleted: %s", folder, problem)
        return whole

    def read(self, path: str, size: int | None = None) -> NDArray[np.uint8]:
        """A whole file, in memory of the caller's own: what happens to the file afterwards does not matter.

        Raises OSError, ValueError and pa.ArrowException.
        """
        found = self._fs.get_file_info(path)
        bound = MANIFEST_BYTES_MAX if size is None else STATE_BYTES_MAX
        if found.type != fs.FileType.File:
            raise FileNotFoundError(f"{path} is not there")
        if found.size > bound or size not in (None, found.size):
            raise ValueError(f"{path} has {found.size:,} bytes, not {bound if size is None else size:,}")
        data = np.empty(found.size, np.uint8)
        with self._fs.open_input_file(path) as file:
            if file.readinto(data) != found.size:
                raise ValueError(f"{path} ended before its {found.size:,} bytes were read")
        return data

    def _upload(self, spool: Path, path: str) -> None:
        with spool.open("rb") as source, self._fs.open_output_stream(path) as sink:
            while piece := source.read(PIECE_BYTES):
                sink.write(piece)
        size = self._fs.get_file_info(path).size
        if size != spool.stat().st_size:
            raise OSError(f"{path} has {size} bytes after {spool.stat().st_size} were written to it")

    def _prune(self, folder: str) -> None:
        """Let go of what nobody will read: a manifest first, as its state may be read only with it."""
        names = self._manifests(folder)
        for name in names[:-KEPT]:
            self._fs.delete_file(f"{folder}/{name}")
        kept = {name.removesuffix(".json") for name in names[-KEPT:]}
        for info in self._files(folder):
            stem = info.base_name.rsplit(".", 1)[0]
            if stem not in kept and not self._is_anothers(info.base_name):
                self._fs.delete_file(info.path)

    def _is_anothers(self, name: str) -> bool:
        """Whether this is what another living process is writing."""
        if not name.startswith("tmp-"):
            return False
        pid = name.split("-")[1]
        return pid.isdigit() and int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()

    def _manifests(self, folder: str) -> list[str]:
        """The names of the manifests there, oldest first."""
        names = [info.base_name for info in self._files(folder)]
        return sorted(name for name in names if name.endswith(".json") and not name.startswith("tmp-"))

    def _files(self, folder: str) -> list[Any]:
        selector = fs.FileSelector(folder, allow_not_found=True)
        return [info for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]

    def _folder(self, unit: str) -> str:
        return f"{self._root}/{unit}"


def _keep_locally(path: Path, as_path: Path) -> None:
    """Give a file its name, so that after a crash of the machine it has that name and all its bytes, or neither."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(as_path)
    folder = os.open(as_path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
