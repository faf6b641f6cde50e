"""Arrow tables give the events of the same rows as JSON, and the fast path those of the plain one."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from codec_oracle import NOON_MS, columns_of, decode, records_of, tables_of
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.codecs.arrow_codec import ArrowCodec, ArrowSettings
from streamer.codecs.base import Reason
from streamer.codecs.field_paths import FieldMap
from streamer.events import Names


def ipc(table: pa.Table, kind=pa.ipc.new_stream, **options) -> bytes:
    out = io.BytesIO()
    with kind(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def flat(n=3, first=0, **changed) -> pa.Table:
    rows = range(first, first + n)
    return pa.table({
        "model_id": [f"bus-{i % 2}" for i in rows],
        "prediction_id": [str(i) for i in rows],
        "event_time": pa.array([NOON_MS + i for i in rows], pa.timestamp("ms", "UTC")),
        "headway_s": [1.5 * i for i in rows],
        "weather": [("rain", "sun", None)[i % 3] for i in rows],
        "prediction": [0.5 * i for i in rows],
        **changed,
    })  # fmt: skip


def documents(n=3, first=0) -> list[dict]:
    return [
        {
            "model_id": f"bus-{i % 2}", "prediction_id": str(i), "event_time": NOON_MS + i,
            "features": {"headway_s": 1.5 * i, "weather": ("rain", "sun", None)[i % 3]}, "prediction": 0.5 * i,
        }
        for i in range(first, first + n)
    ]  # fmt: skip


def both(*values, names=None, **changed):
    """The batch, the dead letters and the names of the codec; the plain path must give the same."""
    found = []
    for is_plain in (False, True):
        codec, known = ArrowCodec(ArrowSettings(**changed)), Names.fresh(*(names or ()))
        if is_plain:
            codec._columns._able = False
        batch, dead = codec.decode(records_of(values), known)
        found.append((columns_of(batch), batch.dropped, dead.index, dead.reason, tables_of(known)))
    assert found[0] == found[1]
    return batch, dead, known


def is_fast(value: bytes, **changed) -> bool:
    codec = ArrowCodec(ArrowSettings(**changed))
    codec.plain = lambda *_: pytest.fail("the plain path was taken")  # type: ignore[method-assign]
    return len(codec.decode(records_of([value]), Names.fresh())[0]) > 0


def same_as_json(batch, names, *rows) -> bool:
    expected = Names.fresh()
    wanted, dead = decode(*rows, names=expected)
    assert not len(dead), dead.detail
    return columns_of(batch) == columns_of(wanted) and tables_of(names) == tables_of(expected)


@pytest.mark.parametrize("kind", [pa.ipc.new_stream, pa.ipc.new_file])
def test_rows_are_events(kind):
    """Each row of each table is an event, with its place; columns that are no other fields are features."""
    batch, dead, names = both(ipc(flat(), kind), ipc(flat(4, 3), kind))
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, documents(), documents(4, 3))
    assert batch.row.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert is_fast(ipc(flat()))


def test_features_may_be_a_structure():
    """A column `features` has the features as its members; a mapped path may lead into any structure."""
    table = flat().select(["model_id", "prediction_id", "event_time", "prediction"])
    inner = pa.array([one["features"] for one in documents()])
    batch, _, names = both(ipc(table.append_column("features", inner)))
    assert same_as_json(batch, names, documents())
    assert is_fast(ipc(table.append_column("features", inner)))
    fields = FieldMap(features="$.in")
    batch, _, names = both(ipc(table.append_column("in", inner)), fields=fields)
    assert same_as_json(batch, names, documents())


TYPES = {
    "decimals": pa.array([Decimal("1.25"), None, Decimal("3")], pa.decimal128(9, 2)),
    "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "dates": pa.array([date(2026, 3, 2)] * 3),
    "booleans": pa.array([True, None, False]),
    "whole numbers": pa.array([2**63 + 5, 1, None], pa.uint64()),
    "half floats": pa.array(np.array([1, 2, np.nan], np.float16)),
    "infinite": pa.array([np.inf, -np.inf, 1.0]),
    "large strings": pa.array(["a", None, "c"], pa.large_string()),
    "views": pa.array(["a", None, "c"], pa.string_view()),
    "nothing": pa.nulls(3),
    "times": pa.array([1, 2, None], pa.timestamp("us")),
    "spans": pa.array([1, 2, None], pa.duration("s")),
    "lists": pa.array([[1], [2], None]),
    "bytes": pa.array([b"a", b"b", None]),
    "empty texts": pa.array(["", "b", None]),
    "long texts": pa.array(["x" * 300, "b", None]),
    "structures": pa.array([{"a": 1}, {"a": 2}, None]),
}


@pytest.mark.parametrize("column", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(
    "name", ["headway_s", "prediction", "label", "model_version", "prediction_id", "model_id", "event_time"]
)
def test_every_type_gives_the_same_on_both_paths(column, name):
    """Whatever a column holds, in whatever place, the fast path gives what the plain path gives."""
    both(ipc(flat().drop_columns([name] if name in flat().column_names else []).append_column(name, column)))


def test_full_tables_and_many_rows_are_the_same_on_both_paths():
    """Limits on names, values and rows hold alike."""
    value = ipc(flat(5))
    for names in ((1, 9, 9), (9, 3, 9), (9, 9, 2), (9, 9, 9)):
        both(value, value, names=names)
    for limits in ({"values_max": 2}, {"rows_max": 4}, {"skew_max_s": 0}):
        _, dead, _ = both(value, **limits)
        assert dead.index == [0]


def test_times_without_a_zone_are_in_that_of_the_topic():
    """A column of local times is read in `time_zone`, the first of two equal ones; others are as they say."""
    local = datetime(2026, 11, 1, 1, 30)  # noqa: DTZ001 - that is the point
    table = flat(1).set_column(2, "event_time", pa.array([local], pa.timestamp("us")))
    batch, _, _ = both(ipc(table), time_zone="America/Vancouver")
    assert batch.event_time_ms.tolist() == [int(datetime(2026, 11, 1, 8, 30, tzinfo=UTC).timestamp() * 1000)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_table_gives_the_same_on_both_paths(data):
    """Tables of drawn rows, several in a stretch, with constants and mapped columns."""
    cells = {
        "model_id": st.sampled_from(["a", "b", "", None]), "model_version": st.sampled_from(["1", None]),
        "prediction_id": st.text(max_size=9) | st.none(),
        "event_time": st.integers(NOON_MS - 9, NOON_MS + 9) | st.none(), "x": st.floats(width=32) | st.none(),
        "c": st.sampled_from(["rain", "sun", "snow", None]), "d": st.sampled_from(["sun", "fog"]),
        "prediction": st.floats() | st.none(), "label": st.sampled_from(["late", "1", None]),
    }  # fmt: skip
    names = data.draw(st.lists(st.sampled_from(list(cells)), unique=True, min_size=1))
    kinds = {"event_time": pa.int64(), "x": pa.float64(), "prediction": pa.float64()}
    values = []
    for _ in range(data.draw(st.integers(1, 3))):
        n = data.draw(st.integers(0, 4))
        columns = {name: [data.draw(cells[name]) for _ in range(n)] for name in names}
        values.append(ipc(pa.table({k: pa.array(v, kinds.get(k, pa.string())) for k, v in columns.items()})))
    fields = data.draw(st.sampled_from([FieldMap(), FieldMap(model_id="=m"), FieldMap(features="$", label="$.c")]))
    both(*values, fields=fields)


def test_a_damaged_table_never_ends_the_process():
    """Flipped, cut and repeated bytes give dead letters or events, and both paths agree."""
    rng = np.random.default_rng(5)
    value = ipc(flat(20))
    for _ in range(400):
        hurt = bytearray(value)
        for at in rng.integers(0, len(hurt), rng.integers(1, 4)):
            hurt[at] = rng.integers(0, 256)
        both(value, bytes(hurt[: rng.integers(1, len(hurt))] if rng.random() < 0.3 else hurt))


BAD = [
    (b"\xff\xff\xff\xff\x00\x00", Reason.NOT_ARROW, "no table of Arrow"),
    (ipc(flat(0)), Reason.NOT_ARROW, "no rows"),
    (ipc(flat(2).append_column("event_time", [[1, 2]])), Reason.NOT_ARROW, "two of its columns have one name"),
    (b'{"model_id": "m"}', Reason.NOT_ARROW, "no table"),
    (b"\x1f\x8b\x08\x00", Reason.OTHER_FORMAT, "gzip"),
    (ipc(flat(9)), Reason.TOO_MANY_ROWS, "9 rows"),
    (None, Reason.NULL_VALUE, "tombstone"),
]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=[str(r) for _, r, _ in BAD])
def test_a_bad_record_has_its_reason(value, reason, words):
    """A value that is no such table is a dead letter; its neighbours are read."""
    batch, dead, _ = both(ipc(flat()), value, ipc(flat()), rows_max=8)
    assert (len(batch), dead.index, dead.reason) == (6, [1], [reason])
    assert words in dead.detail[0]


def test_a_table_that_unpacks_to_gigabytes_is_refused():
    """Compressed buffers are opened only if they state a bearable size."""
    small = ipc(flat(100), compression="zstd")
    assert not len(both(small)[1])
    bomb = ipc(pa.table({"model_id": ["m"] * 10, "x": pa.array([["a" * 9_000_000]] * 10)}), compression="zstd")
    assert len(bomb) < 1 << 20
    assert both(bomb)[1].detail[0].startswith("the table has more than 64 MiB unpacked")
