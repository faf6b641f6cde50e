"""The checkpoint store: states as files.

A checkpoint is two files below `<root>/<group>/<unit>/`: the state as an Arrow IPC stream, and its *manifest*, JSON
with the epoch, the settings and the SHA-256 of each piece of the state, and of the manifest itself. The manifest is
written last, so a state with a manifest is complete. The files go through `pyarrow.fs`: a local folder by default, or
`s3://`, `gs://` and `abfs://` by URL. They hold no code.

Every state is written whole. With random traffic almost every series changes between two checkpoints, so increments
would save nothing and tie each checkpoint to its predecessors.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs

from streamer.errors import UsageError
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import settings_fingerprint
from streamer.logs import log_of
from streamer.runtime.snapshot import Snapshot

FORMAT: Final = 3
SEMANTICS: Final = 25  # increases when the same records give another state or other outputs
KEPT: Final = 3  # of each unit
MANIFEST_BYTES_MAX: Final = 16 << 20
STATE_BYTES_MAX: Final = 1 << 40
HASHED_BYTES: Final = 64 << 20  # hashed in one piece
UPLOADED_BYTES: Final = 8 << 20  # uploaded in one piece
NUMBER_DIGITS: Final = 12
DAMAGED: Final = "it is damaged: check the disk or the object store, then delete it and the state beside it"

log = log_of("checkpoints")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The description of a checkpoint, stored beside its state."""

    unit: str
    epoch: Epoch  # with its offset in the history
    starts: dict[str, int]  # topic -> offset of the first record in the state
    topic_ids: dict[str, str]
    settings: str  # of the fold, as canonical JSON
    fingerprint: str  # of the settings
    written_by: str  # version
    state: str = ""  # name of the state's file beside this one
    bytes: int = 0
    sha256: list[str] = []  # of each 64 MiB of the file
    format: int = FORMAT
    semantics: int = SEMANTICS
    manifest_sha256: str = ""  # of this JSON, with "" here


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint in a store; see `streamer.runtime.recovery.Checkpoint`."""

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
        """The state, after a check of every byte; None, with a log line, if it is missing or damaged."""
        path = f"{self.folder}/{self.manifest.state}"
        try:
            data = self.store.read(path, self.manifest.bytes)
            if (piece := first_difference(sha256_of_pieces(data.data), self.manifest.sha256)) is not None:
                raise ValueError(
                    f"piece {piece} of {len(self.manifest.sha256)} has another SHA-256 than its manifest states"
                )
            return Snapshot.from_private(data)
        except (OSError, ValueError, pa.ArrowException, UsageError) as problem:
            log.error("checkpoint %s is rejected; trying an older one: %s", path, problem)
            return None


class CheckpointStore:
    """The checkpoints of one group."""

    def __init__(self, where: str, group: str) -> None:
        """`where` is a folder or a URL. Raises `UsageError` when it names no file system."""
        try:
            self._fs, root = fs.FileSystem.from_uri(where) if "://" in where else (fs.LocalFileSystem(), where)
        except (ValueError, OSError, pa.ArrowException) as problem:
            raise UsageError(f"checkpoints.url: {where} names no usable folder or object store: {problem}") from problem
        self._root = f"{root}/{quote(group, safe='')}"
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._reported = set[str]()  # manifests that can't be used

    def newest_first(self, unit: str) -> Iterator[StoredCheckpoint]:
        """The unit's checkpoints whose manifests are intact. An unreachable store has none, and a log line says why.

        The log names each manifest that can't be used, once.
        """
        folder = self._folder(unit)
        try:
            names = self._manifests(folder)
        except (OSError, pa.ArrowException) as problem:
            log.error("checkpoints of %s can't be listed, so the unit replays its history: %s", unit, problem)
            return
        for name in reversed(names):
            path = f"{folder}/{name}"
            try:
                manifest = checked_manifest(self.read(path).tobytes(), unit)
            except (OSError, ValueError, pa.ArrowException) as problem:
                self._report(path, problem)
                continue
            yield StoredCheckpoint(self, folder, manifest)

    def units(self) -> list[str]:
        """The units with a folder here, by their numbers. Raises `UsageError` if the store can't be listed."""
        try:
            found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        except (OSError, pa.ArrowException) as problem:
            raise UsageError(f"checkpoints in {self._root} can't be listed: {problem}") from problem
        names = [info.base_name for info in found if info.type == fs.FileType.Directory]
        return sorted(names, key=lambda name: (len(name), name))

    def spool(self, unit: str) -> Path:
        """A fresh local file for a state; for a local store, on its own file system. Raises OSError."""
        folder = Path(self._folder(unit)) if self._is_local else Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"tmp-{os.getpid()}-", suffix=".arrow", dir=folder)
        os.close(descriptor)
        return Path(name)

    def publish(self, spool: Path, manifest: Manifest) -> Manifest:
        """Store the state in this file as a checkpoint, and keep the unit's newest `KEPT`.

        Raises OSError and pa.ArrowException. The older checkpoints stay untouched until the last step has succeeded.
        """
        folder = self._folder(manifest.unit)
        with spool.open("rb") as file:
            digests = sha256_of_file(file)
            os.fsync(file.fileno())
        name = f"{manifest.epoch.number:0{NUMBER_DIGITS}}-{''.join(digests)[-8:]}"
        size = spool.stat().st_size
        whole = sealed(msgspec.structs.replace(manifest, state=f"{name}.arrow", bytes=size, sha256=digests))
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
        """A whole file, in the caller's own memory: later changes of the file have no effect.

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

    def _report(self, path: str, problem: Exception) -> None:
        if path not in self._reported:
            self._reported.add(path)
            log.warning("checkpoint %s is rejected; trying an older one, then the whole log: %s", path, problem)

    def _upload(self, spool: Path, path: str) -> None:
        with spool.open("rb") as source, self._fs.open_output_stream(path) as sink:
            while piece := source.read(UPLOADED_BYTES):
                sink.write(piece)
        size = self._fs.get_file_info(path).size
        if size != spool.stat().st_size:
            raise OSError(f"{path} has {size} bytes after {spool.stat().st_size} were written to it")

    def _prune(self, folder: str) -> None:
        """Delete old checkpoints and leftovers: each manifest before its state."""
        names = self._manifests(folder)
        for name in names[:-KEPT]:
            self._fs.delete_file(f"{folder}/{name}")
        kept = {name.removesuffix(".json") for name in names[-KEPT:]}
        for info in self._files(folder):
            stem = info.base_name.rsplit(".", 1)[0]
            if stem not in kept and not self._is_in_progress(info.base_name):
                self._fs.delete_file(info.path)

    def _is_in_progress(self, name: str) -> bool:
        """Whether another living process is writing this file."""
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


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with the SHA-256 of its own JSON."""
    without = msgspec.json.encode(msgspec.structs.replace(manifest, manifest_sha256=""))
    return msgspec.structs.replace(manifest, manifest_sha256=hashlib.sha256(without).hexdigest())


def checked_manifest(data: bytes, unit: str) -> Manifest:
    """The manifest of a checkpoint of `unit`. Raises ValueError, with what to do, unless every byte is as written."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{DAMAGED} ({problem})") from problem
    if (manifest.format, manifest.semantics) != (FORMAT, SEMANTICS):
        raise ValueError(
            f"it has format {manifest.format} and semantics {manifest.semantics}; this version reads format {FORMAT} "
            f"and semantics {SEMANTICS}"
        )
    if msgspec.json.encode(sealed(manifest)) != data:  # strict: a field that this version doesn't know is damage
        raise ValueError(f"{DAMAGED} (it has another SHA-256 than it states)")
    if manifest.unit != unit:
        raise ValueError(f"it belongs to {manifest.unit}: move it and its state back, or delete both")
    if (found := settings_fingerprint(manifest.settings)) != manifest.fingerprint:
        raise ValueError(f"{DAMAGED} (its settings have the fingerprint {found}, not {manifest.fingerprint})")
    return manifest


def _keep_locally(path: Path, as_path: Path) -> None:
    """Rename a file so that after a crash of the machine it has the name and all its bytes, or neither."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(as_path)
    folder = os.open(as_path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_of_file(file: BinaryIO) -> list[str]:
    """The hexadecimal SHA-256 of each `HASHED_BYTES` of a file; the last piece is as long as it is. On one core."""
    return [hashlib.sha256(piece).hexdigest() for piece in iter(partial(file.read, HASHED_BYTES), b"")]


def sha256_of_pieces(data: memoryview) -> list[str]:
    """The same of data in memory, on all cores."""
    starts = range(0, len(data), HASHED_BYTES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda start: hashlib.sha256(data[start : start + HASHED_BYTES]).hexdigest(), starts))


def first_difference(found: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Number, from 1, of the first piece that differs or is missing; None if all are equal."""
    pairs = enumerate(zip_longest(found, wanted), 1)
    return next((number for number, (one, other) in pairs if one != other), None)
