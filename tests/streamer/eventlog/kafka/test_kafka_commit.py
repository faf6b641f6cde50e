"""Commits and what a fresh process finds of them, on a real broker; crashes at every step."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from kafka_kit import POLL_S, POLLS_MAX, Place, begin, drain, settle, take_over

from streamer.codecs.base import Reason
from streamer.contracts.dead_letters import PREFIX, dead_letter, fitted
from streamer.errors import BrokerError, GapError, InDoubtError
from streamer.eventlog.base import Output, RebalanceInProgress, Records
from streamer.eventlog.history import Attempt, SettingsNote
from streamer.eventlog.kafka import log as kafka_log
from streamer.eventlog.kafka.log import KafkaLog

pytestmark = pytest.mark.broker

BOTH = pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])


@contextmanager
def running(place: Place, **changes: Any) -> Iterator[KafkaLog]:
    """A log that has taken its units over."""
    with place.log(**changes) as log:
        begin(log)
        yield log


def past_of(log: KafkaLog, unit: str = "detect-0") -> Any:
    settle(log)
    return take_over(log, unit)


@BOTH
def test_commits_are_found_again(kafka_broker: Any, delivery: str) -> None:
    """A fresh process finds every epoch of every unit with its place, and reads on from where it is asked to."""
    place = Place(kafka_broker, 2)
    for partition in range(2):
        place.write([b"v%d" % i for i in range(10)], partition=partition)
    with running(place, delivery=delivery) as log:
        first = log.commit([place.output("a")], [place.epoch(1, 4), place.epoch(1, 10, 1)])
        (second,) = log.commit([], [place.epoch(2, 9)])
    with place.log(delivery=delivery) as log:
        settle(log)
        past = log.past("detect-0")
        assert past is not None
        assert (past.epochs, past.committed) == ([first[0], second], 2)
        assert [epoch.at for epoch in past.epochs] == [first[0].at, second.at]
        since = log.past("detect-0", first[0])
        assert since is not None
        assert (since.base, since.epochs, since.last) == (1, [second], 2)
        assert log.past("detect-0", place.epoch(1, 5)) is None
        log.resume("detect-0", {place.events: 9}, {})
        log.resume("detect-1", {place.events: 10}, {})
        rows = drain(log, {(place.events, 0): 10})
        assert [row[0] for row in rows[place.events, 0]] == [9]
        log.commit([], [place.epoch(3, 10)])
    (record,) = place.read(place.out)
    assert (record.key, record.value, record.headers) == (b"key", b"a", [("h", b"1"), place.owner])


def fails_at(call: Callable[..., Any], turn: int) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def failing(*arguments: Any) -> Any:
        if next(calls) == turn:
            raise ConnectionError("cut")
        return call(*arguments)

    return failing


STEPS = {  # step of the commit -> the call that fails, and whether all of it is there afterwards
    "begin": ("begin_transaction", False),
    "outputs": ("flush", False),
    "offsets": ("send_offsets_to_transaction", False),
    "commit": ("commit_transaction", False),
    "witness": ("", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_commit_that_breaks_off_is_there_or_it_is_not(kafka_broker: Any, step: str) -> None:
    """Whichever step fails, readers see all of it or nothing, and the next process finds out which and goes on."""
    place = Place(kafka_broker)
    place.write([b"v"] * 10)
    call, is_kept = STEPS[step]
    with running(place) as log, pytest.MonkeyPatch.context() as patch:
        log.commit([place.output("one")], [place.epoch(1, 5)])
        owner = log._producer if call else log
        patch.setattr(owner, call or "committed", fails_at(getattr(owner, call or "committed"), 1))
        with pytest.raises(InDoubtError, match=f"step '{step}' failed"):
            log.commit([place.output("two"), place.output("three")], [place.epoch(2, 10)])
    with place.log() as log:
        past = past_of(log)
        assert (len(past.epochs), past.committed) == (1 + is_kept, 1 + is_kept)
        assert place.outputs() == (["one", "two", "three"] if is_kept else ["one"])
        if not is_kept:
            log.commit([place.output("two"), place.output("three")], [place.epoch(2, 10)])
    assert place.outputs() == ["one", "two", "three"]
    assert place.committed()[place.events, 0] == 10


@pytest.mark.parametrize(
    ("call", "turn", "step", "epochs", "outputs"),
    [
        ("publish_entries", 1, "epochs", 1, ["one"]),
        ("publish", 1, "outputs", 2, ["one"]),
        ("_send", 3, "outputs", 2, ["one", "two"]),
        ("", 1, "offsets", 2, ["one", "two", "three"]),
    ],
)
def test_at_least_once_repeats_what_is_not_proven(
    kafka_broker: Any, call: str, turn: int, step: str, epochs: int, outputs: list[str]
) -> None:
    """Wherever a commit breaks off, a fresh process learns which outputs are surely out, and repeats the rest."""
    place = Place(kafka_broker)
    place.write([b"v"] * 10)
    with running(place, delivery="at_least_once") as log, pytest.MonkeyPatch.context() as patch:
        log.commit([place.output("one")], [place.epoch(1, 5)])
        owner = log._committer._sender if call else log
        name = call or "commit_offsets"
        patch.setattr(owner, name, fails_at(getattr(owner, name), turn))
        with pytest.raises(InDoubtError, match=f"step '{step}' failed"):
            log.commit([place.output("two"), place.output("three")], [place.epoch(2, 10)])
    with place.log(delivery="at_least_once") as log:
        past = past_of(log)
        assert (len(past.epochs), past.committed) == (epochs, 1)
        assert place.outputs() == outputs
        log.commit([place.output("two"), place.output("three")], [place.epoch(2, 10)])
    assert set(place.outputs()) == {"one", "two", "three"}
    with place.log(delivery="at_least_once") as log:
        assert past_of(log).committed == 2


def test_the_next_of_a_number_fences_the_one_before(kafka_broker: Any) -> None:
    """A process whose place was taken is in doubt with its next commit, and nothing of that is ever seen."""
    place = Place(kafka_broker)
    place.write([b"v"] * 10)
    with running(place) as old:
        old.commit([place.output("old")], [place.epoch(1, 5)])
        with running(place) as new:
            with pytest.raises((InDoubtError, RebalanceInProgress)):
                old.commit([place.output("zombie")], [place.epoch(2, 7)])
            new.commit([place.output("new")], [place.epoch(2, 8)])
    assert place.outputs() == ["old", "new"]
    with place.log() as log:
        assert [epoch.ends[place.events] for epoch in past_of(log).epochs] == [5, 8]


def test_a_member_whose_units_moved_can_neither_commit_nor_note(kafka_broker: Any) -> None:
    """While another takes a unit over nothing is sent; afterwards units that stayed go on, and the other is gone."""
    place = Place(kafka_broker, 2)
    with running(place) as one, place.log(worker=1) as other:
        one.commit([place.output("both")], [place.epoch(1, 0), place.epoch(1, 0, 1)])
        mine, theirs = settle(one, other)
        assert (mine, theirs) == (["decide", "detect-0"], ["detect-1"])
        with pytest.raises(RebalanceInProgress):
            one.commit([place.output("moved")], [place.epoch(2, 0, 1)])
        with pytest.raises(RebalanceInProgress):
            one.past("detect-1")
        take_over(other, "detect-1")
        for unit in mine:
            take_over(one, unit)
        one.commit([place.output("stayed")], [place.epoch(2, 0)])
        other.commit([place.output("taken over")], [place.epoch(2, 0, 1)])
    assert sorted(place.outputs()) == ["both", "stayed", "taken over"]


def test_nothing_is_committed_in_the_middle_of_a_rebalance(kafka_broker: Any) -> None:
    """The client carries the new generation then, and still the old partitions: the broker would take both."""
    place = Place(kafka_broker, 2)
    with running(place) as one, place.log(worker=1) as other:
        one.commit([place.output("before")], [place.epoch(1, 0), place.epoch(1, 0, 1)])
        for _ in range(POLLS_MAX):
            other.poll(POLL_S / 3)
            one.poll(POLL_S / 3)
            if one._membership.moved:
                break
        before = place.committed()
        with pytest.raises(RebalanceInProgress):
            one.commit([place.output("meanwhile")], [place.epoch(2, 0), place.epoch(2, 0, 1)])
        assert place.committed() == before
    assert place.outputs() == ["before"]


@BOTH
def test_notes_are_kept_between_epochs(kafka_broker: Any, delivery: str) -> None:
    """What a process notes, the next one finds in its order; an attempt without an epoch stands."""
    place = Place(kafka_broker)
    with running(place, delivery=delivery) as log:
        log.note("detect-0", [SettingsNote("detect-0", "f1", "{}"), Attempt("detect-0", 9)])
        log.commit([], [place.epoch(1, 0)])
        log.note("detect-0", [Attempt("detect-0", 7)])
    with place.log(delivery=delivery) as log:
        past = past_of(log)
        assert (past.settings, past.starts) == ({"f1": "{}"}, {place.events: 0})
        assert [attempt.records for attempt in past.attempts] == [7]
        log.clear_attempts({"detect-0": 0})
    with place.log(delivery=delivery) as log:
        assert past_of(log).attempts == []


def test_offsets_that_expired_are_known_from_the_history(kafka_broker: Any) -> None:
    """Brokers forget a group that was away for long; work goes on where the history says, and nothing is repeated."""
    place = Place(kafka_broker)
    place.write([b"v"] * 5)
    with running(place) as log:
        log.commit([place.output("one")], [place.epoch(1, 5)])
    with place.admin() as admin:
        admin.delete_groups([place.settings.group_id])
    with place.log() as log:
        assert past_of(log).committed == 1
        log.commit([place.output("two")], [place.epoch(2, 5)])
    assert place.outputs() == ["one", "two"]


def test_offsets_that_were_set_back_are_refused(kafka_broker: Any) -> None:
    """History and offsets can't both be true, and nobody guesses."""
    place = Place(kafka_broker)
    place.write([b"v"] * 5)
    with running(place) as log:
        log.commit([], [place.epoch(1, 5)])
        log.commit_offsets({(place.events, 0): 2})
    with (
        place.log() as log,
        pytest.raises(GapError, match=rf"offset of {place.events} was set back to 2, but .* before 5 are"),
    ):
        past_of(log)


def test_offsets_set_back_are_noticed_by_a_process_that_has_a_checkpoint(kafka_broker: Any) -> None:
    """An orderly stop leaves nothing behind its last checkpoint; that epoch itself says what is folded."""
    place = Place(kafka_broker)
    place.write([b"v"] * 5)
    with running(place) as log:
        (last,) = log.commit([], [place.epoch(1, 5)])
        log.commit_offsets({(place.events, 0): 2})
    with place.log() as log:
        settle(log)
        with pytest.raises(GapError, match=rf"offset of {place.events} was set back to 2, .* before 5 "):
            log.past("detect-0", last)


@BOTH
def test_outputs_of_every_shape(kafka_broker: Any, delivery: str) -> None:
    """Null keys, null values, both at once, empty bytes and headers are published as they are, with the group."""
    place = Place(kafka_broker)
    shapes: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]] = [
        (None, None, (("reason", b"tombstone"),)),
        (b"k", None, ()),
        (None, b"v", (("a", b""), ("a", b"\xff"))),
        (b"", b"", ()),
    ]
    with running(place, delivery=delivery) as log:
        log.commit([Output(place.out, *shape) for shape in shapes], [place.epoch(1, 0)])
    owned = [(key, value, (*headers, place.owner)) for key, value, headers in shapes]
    assert [(r.key, r.value, tuple(r.headers)) for r in place.read(place.out)] == owned


@pytest.mark.parametrize("size", [3 << 20, 20 << 20])
def test_output_too_large_is_named(kafka_broker: Any, size: int) -> None:
    """An output beyond the topic's limit, or our own, is a clear error with its size and what to do, not a doubt."""
    place = Place(kafka_broker)
    noise = random.Random(1).randbytes(size)
    with (
        running(place) as log,
        pytest.raises(BrokerError, match=rf"An output of {size:,} bytes for topic {place.out} .*max.message.bytes"),
    ):
        log.commit([Output(place.out, None, noise)], [place.epoch(1, 0)])


LIMIT = 50_000
RANDOM = random.Random(2)  # bytes that no codec makes smaller, the same in each run


class CutLog(KafkaLog):
    """The log as the service makes it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, fitted)


def letter(place: Place, value: bytes, key: bytes = b"key") -> Output:
    records = Records.build(place.events, 0, [(7, 1000, key, value, (("trace", b"1"),))])
    return dead_letter(records, 0, Reason.NOT_JSON, "no JSON", place.out)


def limit(place: Place, bytes_max: int) -> None:
    """Lower what the topic of outputs takes, and wait until the broker says so: it learns of it a little later."""
    topic = ConfigResource(ConfigResourceType.TOPIC, place.out, {"max.message.bytes": str(bytes_max)})
    asked = ConfigResource(ConfigResourceType.TOPIC, place.out, ["max.message.bytes"])
    with place.admin() as admin:
        admin.alter_configs([topic])
        for _ in range(POLLS_MAX):
            said_now = admin.describe_configs([asked], config_filter="all")["topic"][place.out]
            if said_now["max.message.bytes"]["value"] == str(bytes_max):
                return
            time.sleep(POLL_S)
    raise AssertionError(f"the broker never took {bytes_max} as the limit of {place.out}")


def said(headers: Any) -> dict[str, bytes]:
    return {name.removeprefix(PREFIX): text for name, text in headers if name.startswith(PREFIX)}


@pytest.mark.parametrize("may_describe", [True, False])
@BOTH
def test_a_dead_letter_is_cut_to_what_its_topic_takes(
    kafka_broker: Any, delivery: str, may_describe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the broker says what that is, or refuses what is larger; what was not too large is whole."""
    if not may_describe:
        monkeypatch.setattr(kafka_log, "message_bytes_max", lambda *_: {})
    place = Place(kafka_broker)
    limit(place, LIMIT)
    values = [b"small", RANDOM.randbytes(LIMIT - 200), RANDOM.randbytes(800_000), b"small again"]
    with place.log(CutLog, delivery=delivery) as log:
        begin(log)
        log.commit([letter(place, value) for value in values], [place.epoch(1, 4)])
        log.commit([letter(place, b"later")], [place.epoch(2, 5)])
    found = [(record.value, said(record.headers)) for record in place.read(place.out)]
    if delivery == "at_least_once" and not may_describe:  # what went with the refused one may have been written before
        found = [one for i, one in enumerate(found) if one not in found[:i]]
    assert [value for value, _ in found if value.startswith((b"small", b"later"))] == [values[0], values[3], b"later"]
    cut = [(value, ours) for value, ours in found if "cut.from.bytes" in ours]
    assert [int(ours["cut.from.bytes"]) for _, ours in cut] == [len(values[1]), len(values[2])]
    for (value, ours), whole in zip(cut, values[1:3], strict=True):
        assert whole.startswith(value)
        assert len(value) > LIMIT / 2
        assert (ours["offset"], ours["reason"]) == (b"7", b"not_json")


def test_what_can_not_be_cut_is_refused_in_a_sentence(kafka_broker: Any) -> None:
    """An alert is no dead letter: a topic that does not take it is to be mended."""
    place = Place(kafka_broker)
    limit(place, LIMIT)
    with place.log(CutLog) as log:
        begin(log)
        with pytest.raises(BrokerError, match="is refused, because it is too large"):
            log.commit([Output(place.out, b"k", RANDOM.randbytes(LIMIT))], [place.epoch(1, 4)])
