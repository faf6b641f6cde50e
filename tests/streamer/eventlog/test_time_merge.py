"""Records of several partitions are taken in order of time, and a recording keeps that order."""

from __future__ import annotations

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter
from streamer.eventlog.time_merge import HELD_MAX, PATIENCE_S, ROUND_BYTES_MAX, ROUND_MAX, Taken, TimeMerge


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


def stretch(partition: int, first: int, times: list[int], topic: str = "raw") -> Records:
    return Records.build(topic, partition, [(first + i, t, None, b"%d" % t, ()) for i, t in enumerate(times)])


def times_of(taken: Taken) -> list[int]:
    return [int(taken.parts[p].timestamp_ms[i]) for p, i in zip(taken.part, taken.at, strict=True)]


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=4), st.randoms())
def test_every_record_is_taken_once_in_order_of_time(partitions, chance):
    """However records arrive, all are taken, each partition in its order, and none before an earlier one of others."""
    todo = {p: sorted(times) for p, times in enumerate(partitions)}
    sent = dict.fromkeys(todo, 0)
    waiting, found, places = TimeMerge(Hands(), lambda *_: None), [], []
    while any(sent[p] < len(todo[p]) for p in todo):
        p = chance.choice([p for p in todo if sent[p] < len(todo[p])])
        n = chance.randint(1, len(todo[p]) - sent[p])
        waiting.add(stretch(p, sent[p], todo[p][sent[p] : sent[p] + n]))
        sent[p] += n
        while (taken := waiting.take([("raw", q) for q in todo if sent[q] < len(todo[q])])) is not None:
            found += times_of(taken)
            places += [
                (taken.parts[k].partition, int(taken.parts[k].offset[i]))
                for k, i in zip(taken.part, taken.at, strict=True)
            ]
    assert found == sorted(t for times in todo.values() for t in times)
    for p, times in todo.items():
        assert [offset for q, offset in places if q == p] == list(range(len(times)))


def test_a_partition_that_gives_nothing_is_awaited_for_a_while():
    """Others wait for one with more records, but not for ever."""
    clock = Hands()
    waiting = TimeMerge(clock, lambda *_: None)
    waiting.add(stretch(0, 0, [1, 2]))
    lagging = [("raw", 1)]
    assert waiting.take(lagging) is None
    clock.now_s = PATIENCE_S - 0.1
    assert waiting.take(lagging) is None
    clock.now_s = PATIENCE_S
    assert times_of(waiting.take(lagging)) == [1, 2]


def test_a_partition_far_ahead_pauses():
    """One whose records wait in great numbers is not read until they are fewer; rounds are bounded."""
    held = []
    waiting = TimeMerge(Hands(), lambda spot, now: held.append((spot[1], now)))
    waiting.add(stretch(0, 0, list(range(HELD_MAX + 10))))
    assert held == [(0, True)]
    assert len(waiting.take([]).part) == ROUND_MAX
    assert held == [(0, True), (0, False)]


def test_large_records_are_taken_in_smaller_rounds():
    """A round keeps to its bytes, but takes one record at least."""
    size = ROUND_BYTES_MAX // 2
    large = [(0, 1, None, bytes(size), ()), (1, 2, None, bytes(size), ()), (2, 3, None, bytes(2 * size + 1), ())]
    merge = TimeMerge(Hands(), lambda *_: None)
    merge.add(Records.build("raw", 0, large))
    assert [times_of(merge.take([])) for _ in range(2)] == [[1, 2], [3]]
    assert merge.take([]) is None


def test_a_recording_has_the_common_order(tmp_path):
    """Rows of two topics are written in the order of their times, byte for byte."""
    merge = TimeMerge(Hands(), lambda *_: None)
    merge.add(stretch(0, 5, [1, 4, 6], "labels"))
    merge.add(Records.build("events", 1, [(9, 2, b"k", None, (("h", b"x"),)), (12, 5, None, b"five", ())]))
    with RecordingWriter(tmp_path / "out.parquet") as writer:
        writer.write_merged(merge.take([]))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["topic"], row["partition"], row["offset"], row["timestamp_ms"]) for row in rows] == [
        ("labels", 0, 5, 1), ("events", 1, 9, 2), ("labels", 0, 6, 4), ("events", 1, 12, 5), ("labels", 0, 7, 6),
    ]  # fmt: skip
    assert [row["value"] for row in rows] == [b"1", None, b"4", b"five", b"6"]
    assert (rows[1]["key"], rows[1]["headers"]) == (b"k", [{"name": "h", "value": b"x"}])
