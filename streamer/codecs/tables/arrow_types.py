"""Tables of Arrow with the few types that events have: numbers, booleans and texts."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from streamer.codecs.field_paths import Path

TIME: Final = b"driftline.time"  # in the metadata of a column that was one of times


def with_plain_types(table: pa.Table, zone: tzinfo = UTC) -> pa.Table:
    """The table with times in ms since 1970, decimals as doubles, dates as texts, and dictionaries as their values.

    Raises errors of Arrow.
    """
    for i, field in enumerate(table.schema):
        column = _plain(table.column(i), field.type, zone)
        if column is not None:
            named = pa.field(
                field.name, column.type, metadata={TIME: b"ms"} if pa.types.is_timestamp(field.type) else None
            )
            table = table.set_column(i, named, column)
    return table


def is_time(table: pa.Table, path: Path) -> bool:
    """Whether a column was one of times, and now has ms since 1970."""
    name = path[1] if len(path) == 2 else None
    field = table.schema.field(name) if isinstance(name, str) and name in table.column_names else None
    return field is not None and TIME in (field.metadata or {})


def _plain(column: pa.ChunkedArray, kind: pa.DataType, zone: tzinfo) -> pa.ChunkedArray | None:
    """The column with a plain type; None: it has one."""
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        return column if (inner := _plain(column, kind.value_type, zone)) is None else inner
    if pa.types.is_timestamp(kind):
        if kind.tz is None and zone is not UTC:
            column = pc.assume_timezone(column, str(zone), ambiguous="earliest", nonexistent="earliest")
        return column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_time32(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind):
        return column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    return None
