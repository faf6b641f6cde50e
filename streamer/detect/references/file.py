"""The file of training references, written by `driftline reference build` and named by `references.file`.

It is Parquet with one row for each column of a version of a model, so any tool can show it. Numbers are `values`, a
sorted sample; categories are `names` and `counts`. Each row holds the digest that alerts name; reading checks it. The
metadata holds the version of this layout under `driftline.reference`, and a digest of all rows, so that no damage goes
unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.reference import CategoryReference, Reference, digest_of
from streamer.errors import UsageError
from streamer.eventlog.recordings.places import place_of

FORMAT: Final = b"2"
FORMAT_KEY: Final = b"driftline.reference"
SEAL_KEY: Final = b"driftline.reference.digest"
OWN_COLUMNS: Final = {"digest", "n_seen", "n_missing", "values", "counts"}  # of no training data together
ROWS_PER_GROUP: Final = 4096
SCHEMA: Final = pa.schema(
    [
        ("model_id", pa.string()),
        ("model_version", pa.string()),  # "": for every version without its own reference
        ("column", pa.string()),
        ("n_missing", pa.int64()),
        ("digest", pa.string()),
        ("n_seen", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("values", pa.large_list(pa.float64())),
        ("names", pa.list_(pa.string())),  # null for numbers
        ("counts", pa.list_(pa.int64())),
    ],
    metadata={FORMAT_KEY: FORMAT},
)

# What reading a damaged file may raise, beside the errors of Arrow.
DAMAGED: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, MemoryError)

Key = tuple[str, str, str]
AnyReference = Reference | CategoryReference


def is_reference_file(where: str) -> bool:
    """Whether this is a reference file. Raises `UsageError` for another version of the layout, or no Parquet."""
    system, path = place_of(where)
    try:
        with system.open_input_file(path) as file:
            schema = pq.read_schema(file)
            metadata, names = schema.metadata or {}, schema.names
    except (*DAMAGED, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be read: {problem}") from problem
    version = metadata.get(FORMAT_KEY)
    if version is None and len(OWN_COLUMNS.intersection(names)) > 1:
        raise UsageError(f"{where}: the training reference is damaged: it has lost its format. Build it again")
    if version not in (None, FORMAT):
        raise UsageError(
            f"{where}: the training reference has format {version.decode(errors='replace')}, but this version reads "
            f"{FORMAT.decode()}; build it again with this version of driftline"
        )
    return version is not None


def write_references(where: str, references: Mapping[Key, AnyReference]) -> None:
    """Write references in order of keys, for `read_references`. Raises `UsageError` when the write fails."""
    system, path = place_of(where)
    rows = iter(sorted(references.items(), key=lambda entry: entry[0]))
    seal = Seal()
    try:
        with (
            system.open_output_stream(path) as sink,
            pq.ParquetWriter(
                sink,
                SCHEMA,
                compression="zstd",
                compression_level=1,
                use_dictionary=["model_id", "model_version", "column", "names.list.element"],
                column_encoding={"values.list.element": "BYTE_STREAM_SPLIT"},
            ) as writer,
        ):
            while batch := list(islice(rows, ROWS_PER_GROUP)):
                for entry in batch:
                    seal.add(*entry)
                writer.write_table(pa.Table.from_pylist([_row(*entry) for entry in batch], SCHEMA))
            writer.add_key_value_metadata({SEAL_KEY: seal.digest.encode()})
    except (OSError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be written: {problem}") from problem


def read_references(where: str, size_max: int, digest: str = "") -> dict[Key, AnyReference]:
    """All references, with samples thinned to `size_max` values.

    Raises `UsageError` for a damaged file, and for one with another digest than this, if one is given.
    """
    system, path = place_of(where)
    try:
        with system.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            table, stated = parquet.read(), (parquet.metadata.metadata or {}).get(SEAL_KEY, b"")
        if digest and stated.decode(errors="replace") != digest:
            raise ValueError(f"its digest is {stated.decode(errors='replace')}, not {digest}")
        seal, found = Seal(), dict[Key, AnyReference]()
        for batch in table.to_batches():
            for key, one in _references(batch):
                seal.add(key, one)
                found[key] = one.no_larger_than(size_max) if isinstance(one, Reference) else one
        if seal.digest.encode() != stated:
            raise ValueError(f"its digest is {seal.digest}, not {stated.decode(errors='replace')}: the file is damaged")
        return found
    except (*DAMAGED, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be read: {problem}. Build it again") from problem


class Seal:
    """A digest of references in order, with their keys and counts. The digests of the rows stand for the samples."""

    def __init__(self) -> None:
        self._state = blake2b(digest_size=16)

    def add(self, key: Key, one: AnyReference) -> None:
        """Take in the next reference."""
        edges = (one.low, one.high) if isinstance(one, Reference) else ()
        self._state.update(msgspec.json.encode((*key, one.digest, one.n_seen, one.n_missing, *edges)) + b"\n")

    @property
    def digest(self) -> str:
        """32 hex digits."""
        return self._state.hexdigest()


def digest_of_all(references: Mapping[Key, AnyReference]) -> str:
    """The digest of the file that `write_references` makes of these: 32 hex digits."""
    seal = Seal()
    for key, one in sorted(references.items(), key=lambda entry: entry[0]):
        seal.add(key, one)
    return seal.digest


def _row(key: Key, one: AnyReference) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(("model_id", "model_version", "column"), key, strict=True))
    row |= {"n_missing": one.n_missing, "digest": one.digest, "n_seen": one.n_seen}
    if isinstance(one, Reference):
        return row | {"low": one.low, "high": one.high, "values": one.values}
    return row | {"values": [], "names": one.names, "counts": one.counts}


def _references(batch: pa.RecordBatch) -> Iterator[tuple[Key, AnyReference]]:
    """The references of a batch. Raises ValueError for one that differs from its digest."""
    columns = {name: batch.column(name) for name in SCHEMA.names}
    keys = zip(*(columns[name].to_pylist() for name in ("model_id", "model_version", "column")), strict=True)
    lists = columns["values"]
    flat = np.ascontiguousarray(lists.values.to_numpy(), np.float64)
    flat.flags.writeable = False
    edges = lists.offsets.to_numpy().tolist()
    plain = [columns[name].to_pylist() for name in ("digest", "n_seen", "low", "high", "n_missing", "names", "counts")]
    facts: Iterable[tuple[Any, ...]] = zip(*plain, strict=True)
    for i, (key, (digest, n_seen, low, high, n_missing, names, counts)) in enumerate(zip(keys, facts, strict=True)):
        one: AnyReference
        if names is None:
            values = flat[edges[i] : edges[i + 1]]
            one = Reference(values, n_seen, digest_of(values), low, high, n_missing)
        else:
            one = CategoryReference.of(dict(zip(names, counts, strict=True)), n_missing)
        if one.digest != digest:
            raise ValueError(f"the digest of {' / '.join(key)} is {one.digest}, not {digest}: the file is damaged")
        yield key, one
