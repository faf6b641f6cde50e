"""The file of training references, written by `driftline reference build` and named by `references.file`.

It is Parquet with one row for each column of a version of a model, so any tool can show it. Numbers are `values`, a
sorted sample; categories are `names` and `counts`. Each row holds the digest that alerts name; reading checks it. The
metadata of the schema holds the version of this layout under `driftline.reference`.
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

Key = tuple[str, str, str]
AnyReference = Reference | CategoryReference


def place_of(where: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path of a path or URL. Raises `UsageError`."""
    try:
        return fs.FileSystem.from_uri(where) if "://" in where else (fs.LocalFileSystem(), where)
    except (ValueError, OSError, pa.ArrowException) as problem:
        raise UsageError(
            f"{where} is no valid path or URL: {problem}. Give a path, or a URL of s3, gs or abfs"
        ) from None


def is_reference_file(where: str) -> bool:
    """Whether this is a reference file. Raises `UsageError` for another version of the layout, or no Parquet."""
    system, path = place_of(where)
    try:
        with system.open_input_file(path) as file:
            metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training reference can't be read: {problem}") from problem
    version = metadata.get(FORMAT_KEY)
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
    """All references, with samples thinned to `size_max` values. Raises `UsageError` for a damaged file."""
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
