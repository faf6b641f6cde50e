"""The store of `references.url`: a training reference for each version of each model, named by its digest.

    <url>/<model>/<version>.<digest>.parquet

Model and version are percent-encoded. A file never changes, and each has the layout of `references/file.py`. A live
fold loads what the catalog lists, and its epoch notes the digest. A replay loads by these notes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Thread
from typing import Final
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

import pyarrow as pa
from pyarrow import fs

from streamer.detect.references.file import (
    AnyReference,
    Key,
    digest_of_all,
    read_references,
    write_references,
)
from streamer.errors import GapError, UsageError
from streamer.eventlog.recordings.places import place_of
from streamer.logs import log_of

REFRESH_S: Final = 10.0  # between two looks at the store
VERSIONS_MAX: Final = 4  # of a model, the newest ones: what a fold that is new to the model loads
SUFFIX: Final = ".parquet"

Digests = Mapping[str, Mapping[str, str]]  # model -> version -> digest

log = log_of("references")


class VersionReferences:
    """The references of one version of a model, shared by all folds of the process that use them."""

    def __init__(self, by_series: Mapping[Key, AnyReference], digest: str) -> None:
        self.by_series, self.digest = by_series, digest


class ReferenceStore:
    """The references under one URL, thinned to `size_max` values a column."""

    def __init__(self, url: str, size_max: int, every_model: bool = False) -> None:
        """every_model: whether a fold loads the references of models that it has not seen, as a replay does."""
        self._url, self._size_max = url.rstrip("/"), size_max
        self.every_model = every_model
        self.catalog: Digests = {}  # the newest `VERSIONS_MAX` of each model
        self.changes = 0  # of the catalog
        self._unusable: set[str] = set()
        self._loaded: WeakValueDictionary[str, VersionReferences] = WeakValueDictionary()
        self._stop = Event()

    def add(self, model: str, version: str, references: Mapping[Key, AnyReference]) -> str:
        """Store the references of a version, and return their digest. The first ones of a version stay.

        Raises `UsageError` for a version without a name, and where the store can't be written.
        """
        if not version:
            raise UsageError(f"the reference of {model} needs the version of the model")
        folder, digest = self._folder(model), digest_of_all(references)
        system, path = place_of(folder)
        known = self._listed(system, path, is_recursive=False)
        if found := known.get(model, {}).get(version):
            return found
        name = f"{quote(version, safe='')}.{digest}{SUFFIX}"
        try:
            system.create_dir(path)
            if isinstance(system, fs.LocalFileSystem):  # which shows files that are not whole
                write_references(f"{folder}/{name}.part", references)
                system.move(f"{path}/{name}.part", f"{path}/{name}")
            else:
                write_references(f"{folder}/{name}", references)
        except (OSError, pa.ArrowException) as problem:
            raise UsageError(f"{folder}: the training reference can't be written: {problem}") from problem
        return digest

    def has(self, model: str, version: str) -> bool:
        """Whether the store holds references of a version. Raises `UsageError` where it can't be read."""
        system, path = place_of(self._folder(model))
        return version in self._listed(system, path, is_recursive=False).get(model, {})

    def refresh(self) -> None:
        """Bring the catalog up to date. Raises `UsageError` where the store can't be read."""
        system, path = place_of(self._url)
        found = self._listed(system, path, is_recursive=True)
        newest = {model: dict([*versions.items()][-VERSIONS_MAX:]) for model, versions in found.items()}
        if newest != self.catalog:
            self.catalog = newest
            self.changes += 1

    def watch(self) -> None:
        """Refresh the catalog from now on, beside the caller, until `close`. Raises `UsageError` as `refresh` does."""
        self.refresh()
        Thread(target=self._watch, name="references", daemon=True).start()

    def close(self) -> None:
        """Refresh the catalog no more."""
        self._stop.set()

    def usable(self, model: str, version: str, digest: str) -> VersionReferences | None:
        """The references of a version; None, with one log line, where they can't be used."""
        try:
            return None if digest in self._unusable else self.load(model, version, digest)
        except GapError as problem:
            self._unusable.add(digest)
            log.error("%s %s keeps the baseline of its first values: %s", model, version, problem)
            return None

    def load(self, model: str, version: str, digest: str) -> VersionReferences:
        """The references of a version that have this digest. Raises `GapError` where they are not there."""
        if (known := self._loaded.get(digest)) is not None:
            return known
        where = f"{self._folder(model)}/{quote(version, safe='')}.{digest}{SUFFIX}"
        try:
            found = VersionReferences(read_references(where, self._size_max, digest), digest)
        except UsageError as problem:
            raise GapError(f"{problem} The state rests on this file: restore it") from problem
        self._loaded[digest] = found
        return found

    def _watch(self) -> None:
        failure = ""
        while not self._stop.wait(REFRESH_S):
            try:
                self.refresh()
                failure = ""
            except UsageError as problem:
                if str(problem) != failure:
                    failure = str(problem)
                    log.warning("new training references are not found: %s", failure)

    def _listed(self, system: fs.FileSystem, path: str, is_recursive: bool) -> dict[str, dict[str, str]]:
        """The digests below a folder, the oldest version first; a folder that is not there holds none."""
        try:
            files = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=is_recursive))
        except (OSError, pa.ArrowException) as problem:
            raise UsageError(f"{self._url}: the training references can't be listed: {problem}") from problem
        found: dict[str, dict[str, str]] = {}
        for one in sorted(files, key=lambda one: (one.mtime_ns or 0, one.path)):
            version, _, digest = one.base_name.removesuffix(SUFFIX).rpartition(".")
            if one.type is fs.FileType.File and version and one.base_name.endswith(SUFFIX):
                model = unquote(one.path.rsplit("/", 2)[-2])
                found.setdefault(model, {}).setdefault(unquote(version), digest)
        return found

    def _folder(self, model: str) -> str:
        return f"{self._url}/{quote(model, safe='')}"
