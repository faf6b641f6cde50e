"""Reading from a real broker: both ways give the same records, whatever is in the topic."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from kafka import TopicPartition
from kafka_kit import POLL_S, POLLS_MAX, Place, Row, begin, drain, polls, read_by, rows_of, settle, take_over

from streamer.errors import BrokerError, GapError
from streamer.eventlog.base import RebalanceInProgress, UnitNotReady
from streamer.eventlog.kafka.clients import FETCH_WAIT_MS, new_consumer
from streamer.eventlog.kafka.fetch import poll, positions, stretches
from streamer.eventlog.kafka.log import KafkaLog

pytestmark = pytest.mark.broker


# A value that no random id, key or topic id holds by chance: `bad` alone is three hexadecimal digits.
DAMAGED = b"<this batch is damaged on purpose>"


def poll_on(log: KafkaLog) -> None:
    """As a service does that has nothing to fold."""
    for _ in range(POLLS_MAX):
        log.poll(POLL_S)
        with suppress(RebalanceInProgress):
            for unit in log.assignment() or ():
                take_over(log, unit)


def fill(place: Place, codec: str | None) -> int:
    """Plain records of all shapes, then committed and aborted transactions of two producers, interleaved; the end."""
    rng = random.Random(codec)
    with place.producer(compression_type=codec, batch_size=2000, linger_ms=5) as plain:
        for i in range(300):
            key = None if i % 3 == 0 else b"k%d" % i
            value = None if key and i % 7 == 0 else rng.randbytes(rng.randrange(60)) * rng.randrange(8)
            headers = [("h", b"x" * i), ("größe", b"")][: i % 3]
            plain.send(place.events, value, key, headers, partition=0, timestamp_ms=1000 + i)
        plain.flush(10)
    ids = {"transactional_id": f"a-{place.tag}"}, {"transactional_id": f"b-{place.tag}"}
    with (
        place.producer(compression_type=codec, **ids[0]) as first,
        place.producer(compression_type=codec, **ids[1]) as second,
    ):
        for producer in (first, second):
            producer.init_transactions()
        for turn in range(6):
            for producer in (first, second):
                producer.begin_transaction()
            for i in range(9):
                (first, second)[i % 2].send(place.events, b"%d-%d" % (turn, i), partition=0, timestamp_ms=i)
                first.flush(10), second.flush(10)
            (first.commit_transaction if turn % 2 else first.abort_transaction)()
            (second.abort_transaction if turn % 3 else second.commit_transaction)()
    return place.end_of(place.events)


def read_from(consumer: Any, tp: TopicPartition, offset: int, end: int) -> list[Row]:
    """All rows from an offset on."""
    consumer.seek(tp, offset)
    rows: list[Row] = []
    for _ in range(POLLS_MAX):
        before = positions(consumer)
        fetched = poll(consumer, 500, 100_000)
        for records in stretches(fetched, before, positions(consumer)):
            rows += rows_of(records)
        if positions(consumer)[tp.topic, tp.partition] >= end:
            return rows
    raise AssertionError(f"{tp} can't be read from {offset} to {end}")


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_raw_and_plain_reading_are_equal(kafka_broker: Any, codec: str | None) -> None:
    """Null keys, tombstones, headers, aborted transactions, every codec, and starting anywhere: equal records."""
    place = Place(kafka_broker)
    end = fill(place, codec)
    offsets = (0, *random.Random(1).sample(range(1, end), 25), end - 1)
    read = {}
    for raw in (True, False):
        with read_by(raw):
            consumer, tp = new_consumer(place.connection, None), TopicPartition(place.events, 0)
        try:
            consumer.assign([tp])
            read[raw] = [read_from(consumer, tp, offset, end) for offset in offsets]
        finally:
            consumer.close(autocommit=False)
    assert read[True] == read[False]
    assert 300 < len(read[True][0]) < 354
    for offset, rows in zip(offsets, read[True], strict=True):
        assert rows == [row for row in read[True][0] if row[0] >= offset]


def test_poll_is_bounded(kafka_broker: Any) -> None:
    """No poll brings more than `records_max`, in both ways, and nothing is lost or repeated by it."""
    place = Place(kafka_broker, 2)
    for partition in range(2):
        place.write([b"v%d" % i for i in range(1000)], partition=partition)
    for raw in (True, False):
        with read_by(raw), place.log(records_max=70) as log:
            begin(log)
            seen: dict[int, list[int]] = {0: [], 1: []}
            for found in polls(log, {(place.events, p): 1000 for p in range(2)}):
                assert sum(map(len, found)) <= 70
                assert len({r.partition for r in found}) == len(found)
                for records in found:
                    seen[records.partition] += records.offset.tolist()
            assert seen == {0: list(range(1000)), 1: list(range(1000))}


def test_many_partitions(kafka_broker: Any) -> None:
    """Sixty partitions are read to their ends, and a poll gives topics in canonical order, then partitions."""
    place = Place(kafka_broker, 60)
    with place.producer() as producer:
        for i in range(600):
            producer.send(place.events, b"%d" % i, partition=i % 60)
        producer.send(place.alerts, b"a")
        producer.flush(10)
    with place.log() as log:
        assert list(begin(log)) == sorted([f"detect-{p}" for p in range(60)] + ["decide"])
        ends = {(place.events, p): 10 for p in range(60)} | {(place.alerts, 0): 1}
        for found in polls(log, ends):
            order = [(place.settings.topics.index(r.topic), r.partition) for r in found]
            assert order == sorted(order)
        assert log.lag() == {(place.events, p): 0 for p in range(60)} | {(place.alerts, 0): 0}


def test_held_partition_waits(kafka_broker: Any) -> None:
    """A held partition gives nothing while others go on, also when the group moves; let go, it continues."""
    place = Place(kafka_broker, 2)
    for partition in range(2):
        place.write([b"v"] * 50, partition=partition)
    with place.log(records_max=10) as log:
        begin(log)
        log.hold(place.events, 0, True)
        log._membership._moved = True  # as when the group moves and both stay ours
        rows = drain(log, {(place.events, 1): 50})
        assert (place.events, 0) not in rows
        assert [found for _ in range(3) for found in log.poll(POLL_S)] == []
        assert log.lag()[place.events, 1] == 0
        log.hold(place.events, 0, False)
        rows = drain(log, {(place.events, 0): 50})
        assert [row[0] for row in rows[place.events, 0]] == list(range(50))


def test_a_trickle_is_fetched_in_portions(kafka_broker: Any) -> None:
    """Records that come one by one are gathered at the broker for a moment: each fetch costs about as much as all."""
    place = Place(kafka_broker)
    records, gap_s = 400, 0.005
    with place.log() as log, place.producer(linger_ms=0) as producer:
        begin(log)

        def trickle() -> None:
            for _ in range(records):
                producer.send(place.events, b"v", partition=0)
                time.sleep(gap_s)

        thread, began_s = threading.Thread(target=trickle), time.monotonic()
        thread.start()
        portions = sum(bool(found) for found in polls(log, {(place.events, 0): records}, polls_max=10 * records))
        thread.join()
        waits = (time.monotonic() - began_s) * 1000 / FETCH_WAIT_MS
        assert portions <= 3 * waits  # ten times as many where the broker answers at once


def test_markers_alone_move_a_partition(kafka_broker: Any) -> None:
    """Where only aborted records and markers come, an empty stretch tells that their end is reached."""
    place = Place(kafka_broker)
    with place.producer(transactional_id=place.tag) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(place.events, b"never", partition=0)
        producer.flush(10)
        producer.abort_transaction()
    for raw in (True, False):
        with read_by(raw), place.log() as log:
            begin(log)
            assert drain(log, {(place.events, 0): 2}) == {(place.events, 0): []}
            assert log.lag()[place.events, 0] == 0


@pytest.mark.parametrize("raw", [True, False])
def test_damaged_batch_stops_its_partition_only(
    kafka_broker: Any, raw: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that fails its checksum gives nothing, neither loops nor raises, and other partitions go on."""
    place = Place(kafka_broker, 2)
    for partition in range(2):
        place.write([DAMAGED if partition == 0 else b"good"] * 5, partition=partition)

    if raw:
        from streamer.eventlog.kafka import batches as kafka_batches

        monkeypatch.setattr(kafka_batches, "crc32c", lambda data: 0 if DAMAGED in bytes(data) else kafka_crc(data))
    else:
        from kafka.record.default_records import DefaultRecordBatch

        monkeypatch.setattr(DefaultRecordBatch, "validate_crc", lambda self: DAMAGED not in bytes(self._buffer))
    with read_by(raw), place.log() as log:
        begin(log)
        rows = drain(log, {(place.events, 1): 5}, 20)
        assert [row[3] for row in rows[place.events, 1]] == [b"good"] * 5
        for _ in range(5):
            assert log.poll(0.05) == []
        assert log.lag()[place.events, 0] == 5
    assert sum("can't be read" in line for line in caplog.messages) == 1


def kafka_crc(data: bytes) -> int:
    import crc32c

    return int(crc32c.crc32c(data))


def test_records_deleted_under_the_reader_are_a_gap(kafka_broker: Any) -> None:
    """When retention overtakes a held reader, poll says which offsets are gone."""
    place = Place(kafka_broker)
    place.write([b"v"] * 20)
    with place.log(records_max=5) as log:
        begin(log)
        drain(log, {(place.events, 0): 5})
        log.resume("detect-0", {place.events: 2}, {})  # so that nothing of what was fetched ahead is used
        with place.admin() as admin:
            admin.delete_records({TopicPartition(place.events, 0): 15})
        with pytest.raises(GapError, match="holds offsets 15 to 20 now, and reading stands at 2"):
            drain(log, {(place.events, 0): 20}, 20)


@pytest.mark.parametrize("again", [True, False])
def test_deleted_topic_is_a_gap(kafka_broker: Any, again: bool) -> None:
    """A topic deleted under the reader, created again at once or not, ends reading with the cause."""
    place = Place(kafka_broker)
    place.write([b"v"] * 5)
    with place.log() as log:
        begin(log)
        drain(log, {(place.events, 0): 5})
        with place.admin() as admin:
            admin.delete_topics([place.events])
        if again:
            wait_until_gone(place)
            place.broker.create_topics({place.events: 1})
        with pytest.raises(GapError, match="deleted and created again" if again else "was deleted"):
            poll_on(log)


def wait_until_gone(place: Place) -> None:
    """Return once the broker lists the topic of events no more."""
    with place.admin() as admin:
        for _ in range(POLLS_MAX):
            if place.events not in admin.list_topics():
                return
            time.sleep(POLL_S)
    raise AssertionError(f"the broker never deleted {place.events}")


def test_missing_topic_is_named(kafka_broker: Any) -> None:
    """A topic that does not exist is named, and not created by asking."""
    place = Place(kafka_broker)
    for _ in range(2):
        with (
            pytest.raises(BrokerError, match=f"Topic none-{place.tag} does not exist"),
            place.log(topics=(place.events, f"none-{place.tag}")),
        ):
            raise AssertionError("the log was made")


def test_a_unit_has_one_partition_of_a_topic(kafka_broker: Any) -> None:
    """A topic with several partitions has no one order, so a unit that would read them is refused."""
    place = Place(kafka_broker, 2)
    place.unit_of = lambda _topic, _partition: "decide"  # type: ignore[method-assign]
    with (
        place.log() as log,
        pytest.raises(BrokerError, match="several partitions, and decide reads it in one order"),
    ):
        settle(log)


def test_epochs_topic_without_a_partition_for_each_unit(kafka_broker: Any) -> None:
    """The unit that has no partition of the epochs topic waits, and the command that adds one is named."""
    place = Place(kafka_broker, 2)
    with place.admin() as admin:
        admin.create_partitions({place.events: 3})
    with place.log() as log:
        assert ["decide", "detect-0", "detect-1", "detect-2"] in (settle(log)[0] for _ in range(POLLS_MAX))
        with pytest.raises(
            UnitNotReady, match=rf"{place.epochs} has 3 partitions and detect-2 needs partition 3: `driftline topics"
        ):
            log.past("detect-2")
