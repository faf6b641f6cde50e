"""A fold with its buffer and its place in the log."""

from collections import Counter

from streamer.eventlog.base import Epoch, History, Records
from streamer.runtime.unit import Unit


class Nothing:
    """A fold of which nothing comes."""

    joins_epochs = True

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


def stretch(topic, first, *times_ms):
    return Records.build(topic, 0, [(first + i, ms, None, b"", ()) for i, ms in enumerate(times_ms)])


def test_an_open_epoch_grows_where_a_replay_of_the_whole_keeps_the_order():
    """One topic has one order. Of several, all later records must be later than all before, by times that increase."""

    def grows(before, later):
        unit = Unit("detect-0", Nothing())
        for records in before:
            unit.add(records)
        folded = unit.fold_live(unit.next_cut([]))
        for records in later:
            unit.add(records)
        return unit.continue_live(folded, unit.next_cut([]))

    one = grows([stretch("a", 0, 5, 3)], [stretch("a", 2, 4)])
    assert (one.epoch.number, one.epoch.ends, one.records) == (1, {"a": 3}, 3)
    assert grows([stretch("a", 0, 1, 5)], [stretch("b", 0, 6, 7)]).epoch.ends == {"a": 2, "b": 2}
    assert grows([stretch("a", 0, 1, 5)], [stretch("b", 0, 5)]) is None
    assert grows([stretch("a", 0, 1, 5)], [stretch("b", 0, 7, 6)]) is None
    assert grows([stretch("a", 0, 5, 1)], [stretch("b", 0, 7)]) is None
    assert grows([stretch("a", 0, -1, 5)], [stretch("b", 0, 7)]) is None


def test_an_epoch_that_is_continued_is_one_epoch():
    """The next one follows it, and the records of both parts are counted as one."""
    unit = Unit("detect-0", Nothing())
    unit.add(stretch("a", 0, 1, 2))
    folded = unit.fold_live(unit.next_cut([]))
    for first in (2, 3):
        unit.add(stretch("a", first, first))
        folded = unit.continue_live(folded, unit.next_cut([]))
    assert (folded.epoch.number, folded.epoch.ends, folded.records, unit.number) == (1, {"a": 4}, 4, 1)
    unit.add(stretch("a", 4, 9))
    assert unit.next_cut([]).number == 2
