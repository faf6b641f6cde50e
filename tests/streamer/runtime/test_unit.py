"""A fold with its buffer and its place in the log."""

from collections import Counter

from streamer.eventlog.base import Epoch, History, Records
from streamer.runtime.unit import Unit


class Nothing:
    """A fold of which nothing comes."""

    def __init__(self):
        self.tally = Counter()

    def step(self, stretch):  # noqa: ARG002
        return []


def test_an_empty_stretch_says_nothing_about_time():
    """A topic that moved on over offsets without records is still waited for."""
    unit = Unit("detect-0", Nothing())
    unit.add(Records.build("predictions", 0, [(0, 1000, None, b"", ())]))
    unit.add(Records.build("labels", 0, [], next_offset=5))
    assert unit.next_cut([("labels", 0)]) is None
    unit.add(Records.build("labels", 0, [(5, 500, None, b"", ())]))
    assert unit.next_cut([("labels", 0)]).ends == {"predictions": 0, "labels": 6}


def test_offsets_without_records_belong_to_the_epoch_that_ends_behind_them():
    """A stretch whose records one epoch needs is kept for the next one, which ends where it moved on to."""
    unit = Unit("detect-0", Nothing())
    unit.replay(History(0, [Epoch("detect-0", 1, {"t": 1}), Epoch("detect-0", 2, {"t": 5})], 2))
    unit.add(Records.build("t", 0, [(0, -1, None, b"", ())], next_offset=5))
    assert [unit.next_replayed().epoch.number for _ in range(2)] == [1, 2]
    assert (unit.next_replayed(), unit.number, unit.ends, unit.buffer) == (None, 2, {"t": 5}, {})
