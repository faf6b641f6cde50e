"""The file of training references: what `driftline reference build` writes, and what `references.file` reads.

Parquet, one row a column of a version of a model, so that any tool can look into it. Numbers are kept as `values`, a
sorted sample; categories as `names` and `counts`. Each row holds the digest that alerts name, and reading checks it.
The key `driftline.reference` in the schema's metadata says which version of this layout it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from detectors.reference import CategoryReference, Reference, digest_of
from streamer.errors import UsageError

FORMAT: Final = b"1"
FORMAT_KEY: Final = b"driftline.reference"
ROWS_PER_GROUP: Final = 4096
SCHEMA: Final = pa.schema(
    [
        ("model_id", pa.string()),
        ("model_version", pa.string()),  # "": of every version that has none of its own
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

Key = tuple[str, str, str]
AnyReference = Reference | CategoryReference


def place_of(where: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path of a path or URL. Raises `UsageError`."""
    try:
        return fs.FileSystem.from_uri(where) if "://" in where else (fs.LocalFileSystem(), where)
    except (ValueError, OSError, pa.ArrowException) as problem:
        raise UsageError(f"{where} is no place for files: {problem}. Give a path, or a URL of s3, gs or abfs") from None


def is_reference_file(where: str) -> bool:
    """Whether this is a file of ours. Raises `UsageError` if it is of another version, or no Parquet."""
    system, path = place_of(where)
    try:
        with system.open_input_file(path) as file:
            metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be read: {problem}") from problem
    version = metadata.get(FORMAT_KEY)
    if version not in (None, FORMAT):
        raise UsageError(
            f"{where}: a training reference of format {version.decode(errors='replace')}, and this version reads "
            f"{FORMAT.decode()}: build it again with this version of driftline"
        )
    return version is not None


def write_references(where: str, references: Mapping[Key, AnyReference]) -> None:
    """Write a file that `read_references` gives back, in order of keys. Raises `UsageError` if it can't be written."""
    system, path = place_of(where)
    rows = iter(sorted(references.items(), key=lambda entry: entry[0]))
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
                writer.write_table(pa.Table.from_pylist([_row(*entry) for entry in batch], SCHEMA))
    except (OSError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be written: {problem}") from problem


def read_references(where: str, size_max: int) -> dict[Key, AnyReference]:
    """All there is, samples thinned to `size_max` values. Raises `UsageError` if it is not as it was written."""
    system, path = place_of(where)
    try:
        with system.open_input_file(path) as file:
            table = pq.read_table(file)
        return {
            key: one.no_larger_than(size_max) if isinstance(one, Reference) else one
            for batch in table.to_batches()
            for key, one in _references(batch)
        }
    except (OSError, ValueError, KeyError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be read: {problem}. Build it again") from problem


def _row(key: Key, one: AnyReference) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(("model_id", "model_version", "column"), key, strict=True))
    row |= {"n_missing": one.n_missing, "digest": one.digest, "n_seen": one.n_seen}
    if isinstance(one, Reference):
        return row | {"low": one.low, "high": one.high, "values": one.values}
    return row | {"values": [], "names": one.names, "counts": one.counts}


def _references(batch: pa.RecordBatch) -> Iterator[tuple[Key, AnyReference]]:
    """The references of a batch. ValueError for one that does not give its digest."""
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
            raise ValueError(f"the digest of {' / '.join(key)} is {one.digest} and must be {digest}: it is damaged")
        yield key, one
