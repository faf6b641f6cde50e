"""Commits and what a fresh process finds of them, on a real broker; crashes at every step."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition
from kafka_kit import Place, drain

from streamer.epochs import encode_epoch
from streamer.errors import BrokerError, Doubt, GapError, UsageError
from streamer.logs.base import Epoch, Output
from streamer.logs.kafka_log import KafkaLog

pytestmark = pytest.mark.broker

Crash = Callable[[KafkaLog, pytest.MonkeyPatch], None]


def epoch(place: Place, number: int, end: int, partition: int = 0) -> Epoch:
    return Epoch(f"detect-{partition}", number, {place.events: end}, 1, f"digest {number}")


def output(place: Place, text: str) -> Output:
    return Output(place.out, b"key", text.encode(), (("h", b"1"),))


def has_run(place: Place) -> None:
    """Five events are there, and a service has folded them and published one output."""
    place.write([b"v"] * 5)
    with place.log() as log:
        log.past()
        log.commit([output(place, "one")], [epoch(place, 1, 5)])


def test_commits_are_found_again(kafka_broker: Any) -> None:
    """A fresh process finds every epoch of every unit, and reads again from where the first one began."""
    place = Place(kafka_broker, 2)
    for partition in range(2):
        place.write([b"v%d" % i for i in range(10)], partition=partition)
    written = [epoch(place, 1, 4), epoch(place, 1, 10, 1), epoch(place, 2, 9)]
    with place.log() as log:
        assert {unit: (list(past.epochs), past.committed) for unit, past in log.past().items()} == {
            "decide": ([], 0),
            "detect-0": ([], 0),
            "detect-1": ([], 0),
        }
        log.commit([output(place, "a")], written[:2])
        log.commit([], written[2:])
    with place.log() as log:
        past = log.past()
        assert list(past["detect-0"].epochs) == [written[0], written[2]]
        assert (past["detect-0"].committed, past["detect-1"].committed, past["decide"].committed) == (2, 1, 0)
        rows = drain(log, {(place.events, 0): 10, (place.events, 1): 10})
        assert [row[0] for row in rows[place.events, 0]] == list(range(10))
        log.commit([], [epoch(place, 3, 10)])
    (record,) = place.read(place.out)
    assert (record.key, record.value, record.headers) == (b"key", b"a", [("h", b"1")])


def crash_before_outputs(log: KafkaLog, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._committer, "_publish", fails_at(log._committer._publish, 2))


def crash_inside_outputs(log: KafkaLog, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._committer, "_send", fails_at(log._committer._send, 3))


def crash_before_offsets(log: KafkaLog, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._committer, "_commit_offsets", fails_at(log._committer._commit_offsets, 1))


def crash_before_epochs(log: KafkaLog, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log._committer, "_publish", fails_at(log._committer._publish, 1))


def fails_at(call: Callable[..., Any], turn: int) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def failing(*arguments: Any) -> Any:
        if next(calls) == turn:
            raise ConnectionError("cut")
        return call(*arguments)

    return failing


@pytest.mark.parametrize(
    ("crash", "step", "epochs", "committed", "outputs"),
    [
        (crash_before_epochs, "epochs", 1, 1, ["one"]),
        (crash_before_outputs, "outputs", 2, 1, ["one"]),
        (crash_inside_outputs, "outputs", 2, 1, ["one", "two"]),
        (crash_before_offsets, "offsets", 2, 1, ["one", "two", "three"]),
    ],
)
def test_crash_between_the_steps(
    kafka_broker: Any, crash: Crash, step: str, epochs: int, committed: int, outputs: list[str]
) -> None:
    """Wherever a commit breaks off, a fresh process learns which outputs are surely out, and repeats the rest."""
    place = Place(kafka_broker)
    place.write([b"v"] * 10)
    with place.log() as log, pytest.MonkeyPatch.context() as patch:
        log.past()
        log.commit([output(place, "one")], [epoch(place, 1, 5)])
        crash(log, patch)
        with pytest.raises(Doubt, match=f"step '{step}' failed"):
            log.commit([output(place, "two"), output(place, "three")], [epoch(place, 2, 10)])
    with place.log() as log:
        past = log.past()["detect-0"]
        assert (len(past.epochs), past.committed) == (epochs, committed)
        assert [r.value.decode() for r in place.read(place.out)] == outputs
        log.commit([output(place, "two"), output(place, "three")], [epoch(place, 2, 10)])
    assert {r.value.decode() for r in place.read(place.out)} == {"one", "two", "three"}
    with place.log() as log:
        assert log.past()["detect-0"].committed == 2
    assert len([r for r in place.read(place.epochs) if b'"number":2' in r.value]) == 1


def test_second_process_of_a_group_ends_without_publishing(kafka_broker: Any) -> None:
    """Of two processes for one group the one that is second with an epoch is in doubt, and publishes nothing."""
    place = Place(kafka_broker)
    place.write([b"v"] * 10)
    with place.log() as old, place.log() as new:
        old.past()
        new.past()
        new.commit([output(place, "new")], [epoch(place, 1, 5)])
        with pytest.raises(Doubt, match="another process works for the same group"):
            old.commit([output(place, "old")], [epoch(place, 1, 7), epoch(place, 2, 8)])
    with place.log() as log:
        assert [e.ends[place.events] for e in log.past()["detect-0"].epochs] == [5]
    assert [r.value for r in place.read(place.out)] == [b"new"]


def test_start_latest_is_kept(kafka_broker: Any) -> None:
    """Where a service began at the end is kept before it reads, so a crash before any commit loses nothing."""
    place = Place(kafka_broker)
    place.write([b"old"] * 5)
    with place.log(start="latest") as log:
        log.past()
    place.write([b"new"] * 3)
    with place.log(start="latest") as log:
        log.past()
        rows = drain(log, {(place.events, 0): 8})
    assert [row[0] for row in rows[place.events, 0]] == [5, 6, 7]


def test_new_partitions_begin_at_their_beginning(kafka_broker: Any) -> None:
    """A topic that grew while the service was down is read from its new partition's first record, `latest` or not."""
    place = Place(kafka_broker)
    with place.log(start="latest") as log:
        log.past()
    with place.admin() as admin:
        admin.create_partitions({place.events: 2})
    time.sleep(0.5)
    place.write([b"v"] * 4, partition=1)
    with place.log(start="latest") as log:
        assert "detect-1" in log.past()
        assert len(drain(log, {(place.events, 1): 4})[place.events, 1]) == 4


def test_gap_after_delete_records(kafka_broker: Any) -> None:
    """Records deleted since the service began are a gap: topic, partition and how many are gone are said."""
    place = Place(kafka_broker)
    has_run(place)
    with place.admin() as admin:
        admin.delete_records({TopicPartition(place.events, 0): 3})
    with (
        place.log() as log,
        pytest.raises(GapError, match=rf"{place.events}-0 begins at offset 3 .* 3 of them are gone"),
    ):
        log.past()


def test_topic_created_again_while_stopped(kafka_broker: Any) -> None:
    """A topic deleted and created again between two runs is known by its id, however many records it holds."""
    place = Place(kafka_broker)
    has_run(place)
    with place.admin() as admin:
        admin.delete_topics([place.events])
    time.sleep(0.5)
    place.broker.create_topics({place.events: 1})
    place.write([b"other"] * 9)
    with place.log() as log, pytest.raises(GapError, match="deleted and created again"):
        log.past()


def test_epochs_topic_of_another_group_is_refused(kafka_broker: Any) -> None:
    """Two groups can't share an epochs topic; the second is told at its start."""
    place = Place(kafka_broker)
    with place.log() as log:
        log.past()
    with place.log(group_id=f"other-{place.tag}") as log, pytest.raises(UsageError, match="every group needs"):
        log.past()


def test_lost_epochs_topic_is_a_gap(kafka_broker: Any) -> None:
    """Committed offsets without epochs mean that the epochs were lost, and nobody guesses."""
    place = Place(kafka_broker)
    has_run(place)
    fresh = f"epochs2-{place.tag}"
    kafka_broker.create_topics({fresh: 1})
    with place.log(epochs_topic=fresh) as log, pytest.raises(GapError, match=r"up to offset 5.*epochs were lost"):
        log.past()


def test_gap_in_the_numbers(kafka_broker: Any) -> None:
    """An epochs topic that lost records at its beginning is a gap."""
    place = Place(kafka_broker)
    with place.log() as log:
        log.past()
        for number in (1, 2, 3):
            log.commit([], [epoch(place, number, 0)])
    place.write([encode_epoch(epoch(place, 5, 0))], place.epochs)
    with place.log() as log, pytest.raises(GapError, match="lacks epoch 4 of detect-0 before its epoch 5"):
        log.past()


def test_lost_offsets_repeat_rather_than_lose(kafka_broker: Any) -> None:
    """When the group's committed offsets expired, every epoch counts as unpublished."""
    place = Place(kafka_broker)
    has_run(place)
    with place.admin() as admin:
        admin.delete_groups([place.settings.group_id])
    with place.log() as log:
        past = log.past()["detect-0"]
        assert (len(past.epochs), past.committed) == (1, 0)


def test_outputs_of_every_shape(kafka_broker: Any) -> None:
    """Null keys, null values, both at once, empty bytes and headers are published as they are."""
    place = Place(kafka_broker)
    shapes: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]] = [
        (None, None, (("reason", b"tombstone"),)),
        (b"k", None, ()),
        (None, b"v", (("a", b""), ("a", b"\xff"))),
        (b"", b"", ()),
    ]
    with place.log() as log:
        log.past()
        log.commit([Output(place.out, *shape) for shape in shapes], [epoch(place, 1, 0)])
    assert [(r.key, r.value, tuple(r.headers)) for r in place.read(place.out)] == shapes


@pytest.mark.parametrize("size", [3 << 20, 20 << 20])
def test_output_too_large_is_named(kafka_broker: Any, size: int) -> None:
    """An output beyond the topic's limit, or our own, is a clear error with its size and what to do, not a doubt."""
    place = Place(kafka_broker)
    noise = random.Random(1).randbytes(size)
    with place.log() as log:
        log.past()
        with pytest.raises(
            BrokerError, match=rf"An output of {size:,} bytes for topic {place.out} .*max.message.bytes"
        ):
            log.commit([Output(place.out, None, noise)], [epoch(place, 1, 0)])


def test_foreign_records_in_the_epochs_topic(kafka_broker: Any) -> None:
    """A record that is no epoch is named by offset and topic."""
    place = Place(kafka_broker)
    place.write([msgspec.json.encode({"hello": 1})], place.epochs)
    with place.log() as log, pytest.raises(UsageError, match=f"Record 0 of topic {place.epochs} is no epoch"):
        log.past()
