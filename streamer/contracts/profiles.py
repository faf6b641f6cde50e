"""Profiles of columns on their topic: Arrow batches, one message for each closed interval of a unit.

A message is one Arrow IPC stream with one batch, a row for each series; a long one is cut into several. Its key is the
unit, the interval and the number of the part, so that compaction keeps each. The stream has the columns of `SCHEMA` and
is not compressed, because the topic is: the same bytes on every machine. `read_profiles` gives them with what follows
from them, the columns of `READ`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from detectors.profile.bank import Summaries
from detectors.profile.layout import SLOTS
from detectors.profile.summary import DECILES, KS, MEAN, PSI, QUANTILE, SD, chance_of
from streamer.eventlog.base import Output

ROWS_MAX: Final = 4096  # of a message: about 500 KB before compression
STEPS: Final = 32  # of the interquartile range, to which percentiles are rounded
PERCENTILES: Final = ("p05", "p25", "p50", "p75", "p95")
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
_SHARES: Final = pa.list_(pa.uint8(), DECILES)
WHOLE: Final = 250  # of shares: a byte each, so that they compress

SCHEMA: Final = pa.schema(
    [
        ("model_id", _TEXT),  # or source:<name>
        ("model_version", _TEXT),  # "" if events name none
        ("segment", _TEXT),  # "" for the whole model
        ("topic", _TEXT),
        ("column", _TEXT),
        ("is_number", pa.bool_()),  # else categories, or nothing but missing and faulty values
        ("intervals", pa.uint16()),  # that the values come from: more than 1 where one had too few
        ("count", pa.uint32()),  # numbers or categories
        ("missing", pa.uint32()),
        ("faults", pa.uint32()),  # values of the wrong type
        ("mean", pa.float64()),
        ("sd", pa.float32()),
        *((name, pa.float64()) for name in PERCENTILES),
        ("cells", _SHARES),  # in 250ths: between the deciles of the reference, or of each category
        ("categories", pa.list_(_TEXT, SLOTS)),
        ("compared", pa.uint8()),  # cells behind psi and ks; 0: without a reference
        ("size", pa.uint8()),  # 8 log2 of the values of the reference
        ("trained", pa.bool_()),  # whether it is training data, or else the column's first interval
        ("psi", pa.float16()),
        ("ks", pa.float16()),
    ]
)
DERIVED: Final = (
    ("unit", pa.string()), ("start", pa.timestamp("ms", "UTC")), ("end", pa.timestamp("ms", "UTC")),
    ("n_reference", pa.float64()), ("psi_chance", pa.float64()), ("ks_chance", pa.float64()),
)  # fmt: skip
READ: Final = pa.schema([*DERIVED[:3], *(field for field in SCHEMA if field.name != "size"), *DERIVED[3:]])


def profile_outputs(
    unit: str, interval: int, length_s: int, names: Mapping[str, Sequence[str]], found: Summaries, topic: str,
    trained: np.ndarray[Any, Any], categories: Sequence[Sequence[str | None]],
) -> Iterator[Output]:  # fmt: skip
    """The messages of an interval that a unit has closed.

    `names`: the texts of the first five columns [k]; `trained` [k]: whether the reference is training data;
    `categories` [k]: those of `found.ids`, None for none.
    """
    columns = _columns(interval, names, found, trained, categories)
    about = {"unit": unit, "interval": str(interval), "length_s": str(length_s)}
    schema = SCHEMA.with_metadata(about)
    for part, first in enumerate(range(0, len(found.row), ROWS_MAX)):
        sink = pa.BufferOutputStream()
        cut = [_encoded(column[first : first + ROWS_MAX], field) for column, field in zip(columns, SCHEMA, strict=True)]
        with pa.ipc.new_stream(sink, schema) as stream:
            stream.write_batch(pa.RecordBatch.from_arrays(cut, schema=schema))
        key = f"{unit}/{interval * length_s}/{length_s}/{part}".encode()
        yield Output(topic, key, sink.getvalue().to_pybytes())


def read_profiles(data: bytes) -> pa.Table:
    """The profiles of a message, with the columns of `READ`. Raises errors of Arrow and ValueError for other bytes."""
    table = pa.ipc.open_stream(data).read_all()
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if not table.schema.equals(SCHEMA) or not {"unit", "interval", "length_s"} <= about.keys():
        raise ValueError("the message is no profile of this version: its columns differ from the documented ones")
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    length_ms, interval = int(about["length_s"]) * 1000, int(about["interval"])
    n, spans = columns["count"].to_numpy().astype(float), columns["intervals"].to_numpy().astype(np.int64)
    size = np.where(columns["size"].to_numpy() > 0, 2.0 ** (columns["size"].to_numpy() / 8.0), np.nan)
    compared = columns["compared"].to_numpy().astype(np.int64)
    psi, ks = chance_of(n, size, compared, columns["is_number"].to_numpy(zero_copy_only=False))
    columns |= {
        "unit": pa.array([about["unit"]] * len(n), pa.string()),
        "start": pa.array((interval - spans + 1) * length_ms, pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "end": pa.array(np.full(len(n), (interval + 1) * length_ms), pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "n_reference": _numbers(size, pa.float64()),
        "psi_chance": _numbers(psi, pa.float64()),
        "ks_chance": _numbers(ks, pa.float64()),
    }
    return pa.Table.from_arrays([columns[field.name] for field in READ], schema=READ)


def profile_objects(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of `read_profiles` as JSON-able objects: times in RFC 3339, cells as shares, no empty members."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    cells, named = columns.pop("cells").flatten().to_numpy() / WHOLE, columns.pop("categories").flatten().to_pylist()
    lists = {name: _plain(name, column) for name, column in columns.items()}
    for i, row in enumerate(zip(*lists.values(), strict=True)):
        found = {name: value for name, value in zip(lists, row, strict=True) if value is not None}
        found["kind"] = "number" if found.pop("is_number") else "category"
        names = [name for name in named[i * SLOTS : (i + 1) * SLOTS] if name is not None]
        shares = cells[i * DECILES : (i + 1) * DECILES].tolist()
        if names:
            found["categories"] = dict(zip(names, shares, strict=False))
        elif found["compared"]:
            found["cells"] = shares
        yield found


_SHORT: Final = ("sd", "psi", "ks", "n_reference", "psi_chance", "ks_chance")  # four digits are enough


def _plain(name: str, column: Any) -> list[Any]:
    """A column of `READ` as values of JSON."""
    if name in ("start", "end"):
        known = {at: at.isoformat().replace("+00:00", "Z") for at in column.unique().to_pylist()}
        return [known[at] for at in column.to_pylist()]
    if pa.types.is_dictionary(column.type):
        names = column.dictionary.to_pylist()
        return [names[index] for index in column.indices.to_numpy().tolist()]
    is_plain = column.null_count == 0 and not pa.types.is_string(column.type)
    values = column.to_numpy(zero_copy_only=False).tolist() if is_plain else column.to_pylist()
    return [None if value is None else float(f"{value:.4g}") for value in values] if name in _SHORT else list(values)


def _columns(
    interval: int, names: Mapping[str, Sequence[str]], found: Summaries, trained: Any, categories: Any
) -> list[Any]:
    stats = found.stats
    return [
        *(names[field.name] for field in SCHEMA if field.name in names),
        found.is_number,
        np.clip(interval - found.start + 1, 1, 65_535),
        found.values, found.missing, found.faults,
        _rounded(stats[:, MEAN], stats[:, SD] / np.sqrt(np.maximum(found.values, 1)) / 4),
        _rounded(stats[:, SD], stats[:, SD] / 128),
        *(_rounded(stats[:, QUANTILE + j], _step_of(stats)) for j in range(len(PERCENTILES))),
        np.rint(found.cells / (1000 / WHOLE)).astype(np.uint8), categories, found.compared, found.size, trained,
        _to_a_byte(stats[:, PSI]), _to_a_byte(stats[:, KS]),
    ]  # fmt: skip


def _step_of(stats: Any) -> Any:
    """What percentiles are rounded to; 0 where the middle half of the values is one."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (stats[:, QUANTILE + 3] - stats[:, QUANTILE + 1]) / STEPS


def _rounded(values: Any, step: Any) -> Any:
    """Values to the next lower power of two of a step each, so that they compress; as they are where it is 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.ldexp(1.0, np.frexp(np.where(np.isfinite(step) & (step > 0), step, 1.0))[1] - 1)
        rounded = np.rint(values / power) * power
    return np.where((step > 0) & np.isfinite(rounded), rounded, values)


def _to_a_byte(values: Any) -> Any:
    """Values to eight significant bits, so that they compress."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


def _encoded(column: Any, field: pa.Field) -> pa.Array:
    if field.type == _TEXT:
        return pa.array(column, pa.string()).dictionary_encode()
    if field.type == _SHARES:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), DECILES)
    if pa.types.is_fixed_size_list(field.type):
        flat: Iterable[str | None] = (name for row in column for name in row)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.string()).dictionary_encode(), SLOTS)
    if pa.types.is_floating(field.type):
        return _numbers(column, field.type)
    return pa.array(column).cast(field.type)


def _numbers(values: Any, kind: pa.DataType) -> pa.Array:
    """Numbers, null where they are not finite."""
    with np.errstate(over="ignore"):
        values = np.asarray(values).astype(kind.to_pandas_dtype())
    finite = np.isfinite(values)
    return pa.array(np.where(finite, values, 0), kind, mask=None if finite.all() else ~finite)
