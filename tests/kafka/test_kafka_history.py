"""What the epochs topic says of the past; no broker needed."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.epochs import encode_epoch
from streamer.errors import GapError, UsageError
from streamer.logs.base import Epoch, Records
from streamer.logs.kafka_history import Bounds, History, Start

UNITS = {("p", 0): "detect-0", ("f", 0): "detect-0", ("p", 1): "detect-1", ("alerts", 0): "decide"}
BOUNDS = {spot: Bounds(0, 100) for spot in UNITS}
IDS = {"p": "id-p", "f": "id-f", "alerts": "id-a"}
STARTS = [
    Start("detect-0", {"p": 3, "f": 0}, {"p": "id-p", "f": "id-f"}, "g"),
    Start("detect-1", {"p": 0}, {"p": "id-p"}, "g"),
    Start("decide", {"alerts": 0}, {"alerts": "id-a"}, "g"),
]


def history(*records: Start | Epoch) -> History:
    values = [encode_epoch(r) if isinstance(r, Epoch) else msgspec.json.encode(r) for r in records]
    read = History("g", "epochs")
    read.add(Records.build("epochs", 0, [(i, 0, None, value, ()) for i, value in enumerate(values)]))
    return read


def epoch(number: int, unit: str = "detect-0", digest: str = "", **ends: int) -> Epoch:
    return Epoch(unit, number, ends, 0, digest)


def test_first_record_of_a_number_counts() -> None:
    """What a process that had been replaced wrote later is ignored, epochs and starts alike."""
    read = history(*STARTS, epoch(1, digest="right", p=5), epoch(1, digest="late", p=9), epoch(2, p=7),
                   Start("detect-0", {"p": 77}, {"p": "other"}, "g"))  # fmt: skip
    assert [e.digest for e in read.epochs["detect-0"]] == ["right", ""]
    assert read.starts["detect-0"] == {"p": 3, "f": 0}
    assert read.topic_ids == IDS
    assert read.last() == {"detect-0": 2}


@pytest.mark.parametrize(
    "records",
    [(*STARTS, epoch(2, p=5)), (*STARTS, epoch(1, p=5), epoch(3, p=6)), (epoch(1, p=5),)],
    ids=["first", "middle", "start"],
)
def test_missing_numbers_are_a_gap(records: tuple[Start | Epoch, ...]) -> None:
    """An epoch without the one before it, or without its start, says that the epochs topic lost records."""
    with pytest.raises(GapError, match="Topic epochs lacks epoch"):
        history(*records)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b'{"unit":1,"number":0,"ends":{}}', b'{"number": 0}'])
def test_other_records_are_refused(value: bytes | None) -> None:
    """Anything but epochs and starts in the topic is named with its offset."""
    with pytest.raises(UsageError, match="Record 41 of topic epochs is no epoch"):
        History("g", "epochs").add(Records.build("epochs", 0, [(41, 0, None, value, ())]))


def test_starts_for_what_was_never_read() -> None:
    """A new topic begins where the settings say, a new partition of a known one at its beginning."""
    bounds = {spot: Bounds(10, 20) for spot in UNITS}
    fresh = History("g", "epochs")
    assert fresh.begin(UNITS, bounds, IDS, latest=True) == [
        Start("decide", {"alerts": 20}, {"alerts": "id-a"}, "g"),
        Start("detect-0", {"p": 20, "f": 20}, {"p": "id-p", "f": "id-f"}, "g"),
        Start("detect-1", {"p": 20}, {"p": "id-p"}, "g"),
    ]
    assert {end for s in fresh.begin(UNITS, bounds, IDS, latest=False) for end in s.ends.values()} == {10}
    grown = history(Start("detect-0", {"p": 3}, {"p": "id-p"}, "g"))
    assert [(s.unit, s.ends) for s in grown.begin(UNITS, bounds, IDS, latest=True)] == [
        ("decide", {"alerts": 20}),
        ("detect-0", {"f": 20}),
        ("detect-1", {"p": 10}),
    ]
    assert history(*STARTS).begin(UNITS, bounds, IDS, latest=True) == []


@pytest.mark.parametrize(
    ("spot", "bounds", "said"),
    [
        (("p", 0), Bounds(4, 100), r"p-0 begins at offset 4 now.*since offset 3: 1 of them are gone"),
        (("p", 0), Bounds(3, 49), r"p-0 ends at offset 49.*up to offset 50: the topic was truncated"),
        (("p", 1), Bounds(1, 100), r"p-1 begins at offset 1 now"),
        (("alerts", 0), Bounds(2000, 5000), r"alerts-0 begins at offset 2000 now.*2,000 of them"),
    ],
)
def test_lost_records_are_a_gap(spot: tuple[str, int], bounds: Bounds, said: str) -> None:
    """Records gone at either end of a partition are a gap as soon as a unit's state needs them, and only then."""
    read = history(*STARTS, epoch(1, p=50))
    read.check(UNITS, BOUNDS | {("p", 0): Bounds(3, 50)}, IDS)
    with pytest.raises(GapError, match=said):
        read.check(UNITS, BOUNDS | {spot: bounds}, IDS)


def test_topic_of_another_id_is_a_gap() -> None:
    """The same name with another id is another topic; a broker without ids proves nothing."""
    read = history(*STARTS)
    read.check(UNITS, BOUNDS, IDS | {"p": ""})
    with pytest.raises(GapError, match=r"Topic f was deleted and created again \(its id was id-f and is new\)"):
        read.check(UNITS, BOUNDS, IDS | {"f": "new"})


def test_topic_no_longer_read_is_refused() -> None:
    """A state can't be made again from a topic that the config does not name any more."""
    units = {spot: unit for spot, unit in UNITS.items() if spot[0] != "f"}
    with pytest.raises(UsageError, match="detect-0 is made from topic f among others"):
        history(*STARTS).check(units, BOUNDS, IDS)


def test_published_up_to_the_committed_offsets() -> None:
    """An epoch counts as published when the group's committed offsets reach all of its ends."""
    read = history(*STARTS, epoch(1, p=5), epoch(2, p=5, f=4), epoch(3, p=9, f=4))

    def committed(**offsets: int) -> int:
        return read.past(UNITS, {(topic, 0): offset for topic, offset in offsets.items()})["detect-0"].committed

    assert [committed(), committed(p=4), committed(p=5), committed(p=9), committed(p=5, f=4)] == [0, 0, 1, 1, 2]
    assert (committed(p=9, f=4), committed(p=50, f=50)) == (3, 3)
    assert {unit: len(past.epochs) for unit, past in read.past(UNITS, {}).items()} == {
        "decide": 0, "detect-0": 3, "detect-1": 0,
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8), st.integers(0, 8))
def test_commits_prove_exactly_what_they_followed(steps: list[tuple[int, int]], done: int) -> None:
    """Whatever ends the epochs have, offsets committed after epoch n prove n, and none that reaches further."""
    steps = [(p, f) for p, f in steps if p or f]
    ends = list(itertools.accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1])))
    read = history(*STARTS, *(epoch(i + 1, p=p, f=f) for i, (p, f) in enumerate(ends)))
    done = min(done, len(ends))
    committed = {("p", 0): ends[done - 1][0], ("f", 0): ends[done - 1][1]} if done else {}
    assert read.past(UNITS, committed)["detect-0"].committed == done
