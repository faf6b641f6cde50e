"""Records: built row by row, read back, and split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.eventlog.base import Records

PAYLOAD = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(st.text("abc", max_size=3), PAYLOAD), max_size=2).map(tuple)
ROWS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(-1, 10**13), PAYLOAD, PAYLOAD, HEADERS),
    max_size=12,
    unique_by=lambda row: row[0],
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


def rows_of(records: Records) -> list[tuple[object, ...]]:
    """What `Records.build` was given."""
    return [
        (
            int(records.offset[i]),
            int(records.timestamp_ms[i]),
            records.key_of(i),
            records.value_of(i),
            records.headers_of(i),
        )
        for i in range(len(records))
    ]


@given(ROWS)
def test_built_records_give_their_rows_back(rows: list[tuple[int, int, bytes | None, bytes | None, tuple]]) -> None:
    """Keys, values and headers read back as given, null apart from empty; the reader then stands after the last."""
    records = Records.build("t", 3, rows)
    assert rows_of(records) == rows
    assert (records.topic, records.partition) == ("t", 3)
    assert records.next_offset == (rows[-1][0] + 1 if rows else 0)


@given(ROWS, st.integers(0, 1002))
def test_a_split_parts_at_the_offset(
    rows: list[tuple[int, int, bytes | None, bytes | None, tuple]], offset: int
) -> None:
    """Offsets below go left, others right, nothing is lost, and both share the buffer."""
    records = Records.build("t", 0, rows, next_offset=1002)
    left, right = records.split(offset)
    assert rows_of(left) == [row for row in rows if row[0] < offset]
    assert rows_of(right) == [row for row in rows if row[0] >= offset]
    assert left.data is records.data
    assert right.data is records.data
    assert (left.next_offset, right.next_offset) == (min(offset, 1002), 1002)


def test_a_stretch_may_end_beyond_its_last_record() -> None:
    """Offsets that a compaction or a transaction took are consumed too."""
    assert Records.build("t", 0, [(5, -1, None, b"x", ())], next_offset=9).next_offset == 9
    assert Records.build("t", 0, [], next_offset=4).next_offset == 4
