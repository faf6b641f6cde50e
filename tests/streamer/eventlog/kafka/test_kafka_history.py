"""Whether a history, the group's offsets and the topics can all be true; no broker needed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import GapError, UsageError
from streamer.eventlog.base import Epoch, History, Start
from streamer.eventlog.kafka.commit import AtLeastOnce, ExactlyOnce, published
from streamer.eventlog.kafka.unit_history import (
    HistoryBounds,
    check_bounds,
    check_topic_id,
    check_topics,
    partition_of_history,
)


def epoch(number: int, **ends: int) -> Epoch:
    return Epoch("detect-0", number, ends)


def past(*epochs: Epoch, base: int = 0, **starts: int) -> History:
    one = History(base)
    one.take(Start("detect-0", starts, dict.fromkeys(starts, "id")))
    assert all(one.take(entry) for entry in epochs)
    return one


class NoSender:
    """What a committer needs before it commits anything."""

    producer = None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def exactly_once() -> ExactlyOnce:
    sender: Any = NoSender()
    sender.producer = NoSender()
    return ExactlyOnce(sender, sender)


def at_least_once() -> AtLeastOnce:
    sender: Any = NoSender()
    return AtLeastOnce(sender, sender)


def test_every_unit_has_a_partition_of_its_own() -> None:
    """The first belongs to decide, the others to the partitions of the events in order."""
    units = ["decide", *(f"detect-{p}" for p in range(12))]
    assert [partition_of_history(unit) for unit in units] == list(range(13))


@pytest.mark.parametrize(
    ("offset", "bounds", "said"),
    [
        (3, HistoryBounds(4, 100), r"p-1 begins at offset 4 now, and offset 3 is to be read next: 1 records are gone"),
        (0, HistoryBounds(2000, 5000), r"2,000 records are gone"),
        (
            50,
            HistoryBounds(0, 49),
            r"p-1 ends at offset 49, and was read up to offset 50 before: the topic was truncated",
        ),
    ],
)
def test_lost_records_are_a_gap(offset: int, bounds: HistoryBounds, said: str) -> None:
    """Records gone at either end of a partition are a gap as soon as they are to be read, and only then."""
    with pytest.raises(GapError, match=said):
        check_bounds("p", 1, offset, bounds)
    check_bounds("p", 1, bounds.begin, bounds)
    check_bounds("p", 1, bounds.end, bounds)


def test_topic_of_another_id_is_a_gap() -> None:
    """The same name with another id is another topic; a broker without ids proves nothing."""
    for known, now in (("a", "a"), ("a", ""), ("", "b"), ("", "")):
        check_topic_id("f", known, now)
    with pytest.raises(GapError, match=r"Topic f was deleted and created again \(its id was id-f and is new\)"):
        check_topic_id("f", "id-f", "new")


def test_a_topic_that_is_no_longer_read_must_have_been_folded_to_its_end() -> None:
    """An epoch that has folded records of it can't be folded again without it; epochs after it don't mind."""
    reported = past(epoch(1, p=5), epoch(2, p=5, f=4), epoch(3, p=9, f=4), p=0, f=0)
    check_topics("detect-0", reported.starts, reported, {"p", "f"})
    with pytest.raises(UsageError, match=r"last epochs of detect-0 are made from topic f .*stopped in order"):
        check_topics("detect-0", reported.starts, reported, {"p"})
    behind = past(epoch(3, p=9, f=4), base=2)
    check_topics("detect-0", {"p": 5, "f": 4}, behind, {"p"})
    with pytest.raises(UsageError, match="topic f"):
        check_topics("detect-0", {"p": 5, "f": 3}, behind, {"p"})


def test_published_up_to_the_committed_offsets() -> None:
    """An epoch counts as published when the group's committed offsets reach all of its ends."""
    reported = past(epoch(1, p=5), epoch(2, p=5, f=4), epoch(3, p=9, f=4), p=0)
    found = [published(reported, at) for at in ({}, {"p": 4}, {"p": 5}, {"p": 9}, {"p": 5, "f": 4}, {"p": 9, "f": 4})]
    assert found == [0, 0, 1, 1, 2, 3]
    behind = past(epoch(8, p=12), base=7)
    assert [published(behind, at) for at in ({}, {"p": 11}, {"p": 12}, {"p": 50})] == [7, 7, 8, 8]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8), st.integers(0, 8))
def test_commits_prove_exactly_what_they_followed(steps: list[tuple[int, int]], done: int) -> None:
    """Whatever ends the epochs have, offsets committed after epoch n prove n, and none that reaches further."""
    steps = [(p, f) for p, f in steps if p or f]
    ends = list(itertools.accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1])))
    reported = past(*(epoch(i + 1, p=p, f=f) for i, (p, f) in enumerate(ends)), p=0, f=0)
    done = min(done, len(ends))
    committed = {"p": ends[done - 1][0], "f": ends[done - 1][1]} if done else {}
    assert at_least_once().proven(1, reported, 0, committed) == committed
    assert reported.committed == done


def test_exactly_once_believes_the_history() -> None:
    """What is in the history is published; offsets that the brokers forgot are what it says."""
    reported = past(epoch(1, p=5), epoch(2, p=7), p=3, f=1)
    assert exactly_once().proven(1, reported, 0, {}) == {"p": 7, "f": 1}
    assert exactly_once().proven(1, reported, 0, {"p": 7, "f": 1}) == {"p": 7, "f": 1}
    assert reported.committed == 2


def test_exactly_once_does_not_go_back() -> None:
    """Offsets that somebody set back can't be followed, as what comes behind them is published already."""
    reported = past(epoch(1, p=5), epoch(2, p=7), p=3)
    with pytest.raises(
        GapError, match=r"offset of p was set back to 5, but by the epochs all records before 7 .*Set it to 7 again"
    ):
        exactly_once().proven(1, reported, 0, {"p": 5})
