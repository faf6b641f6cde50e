"""Batches of a few kilobytes that want all the memory there is, through the real service on a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from driftline_process import PATIENCE_S, Place, create_topic, events, running

from streamer.contracts.dead_letters import PREFIX
from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]

RSS_BYTES_MAX = 900 << 20
BATCH_BYTES = 200 * 990_000  # inflated


def produce_batch(place: Place, values: list[bytes | None], codec: str) -> None:
    """All values in one batch, however large it is before compression."""
    producer = Producer(
        {
            "bootstrap.servers": place.bootstrap,
            "compression.type": codec,
            "batch.size": 1_000_000_000,
            "batch.num.messages": len(values),
            "linger.ms": 200_000,
            "message.max.bytes": 900_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    failed: list[KafkaError] = []
    for value in values:
        producer.produce(place.events, value, None, 0, on_delivery=lambda error, _: error and failed.append(error))
    deadline_s = time.monotonic() + PATIENCE_S
    while len(producer):  # it is sent once it is full; a flush may send a part of it before
        assert time.monotonic() < deadline_s
        producer.poll(0.1)
    assert not failed, failed[0]


def resident_bytes(pid: int) -> int:
    """The most that the process has ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def letters_of(place: Place, n: int) -> list[tuple[dict[str, bytes], bytes | None]]:
    """The dead letters, once there are so many: the markers of a transaction reach its partitions one by one."""
    deadline_s = time.monotonic() + PATIENCE_S
    while len(found := place.read(f"{place.events}-dlt")) < n and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return [(dict(headers), value) for _, value, headers in found]


@pytest.fixture
def broker() -> Iterator[Broker]:
    """One of its own: the heap of a broker that has run many topics may lack room to check a batch of 200 MB.

    Then the broker answers "unknown error" (an OutOfMemoryError in its log), and the batch is not delivered.
    """
    with Broker() as started:
        yield started


def test_no_batch_takes_more_memory_than_there_is(broker: Broker, tmp_path: Path) -> None:
    """Each bomb is one dead letter with its offsets; events around them are folded; memory stays bounded."""
    name = f"bus.bombs.{tmp_path.name}"
    create_topic(broker.bootstrap, name, 1, **{"max.message.bytes": "20000000"})
    place = Place(broker.bootstrap, tmp_path, name, partitions=1)
    event = b'{"model_id": "bus", "event_time": 1000, "prediction": 1, "pad": "%s"}' % (b"0" * 990_000)
    place.produce({0: events(100)})
    with running(place.config) as service:
        service.wait_for_records(place.events, 100)
        before = resident_bytes(service.process.pid)
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            produce_batch(place, [event] * 200, codec)
        for _ in range(12):
            produce_batch(place, [event] * 60, "zstd")  # just small enough to be opened
        produce_batch(place, [None] * 1_000_000, "zstd")
        place.produce({0: events(100)})
        service.wait_for_records(place.events, 200 + 12 * 60)
        service.wait_until_done()
        after = resident_bytes(service.process.pid)
        letters = letters_of(place, 5)
        counted = service.metrics()[f'driftline_dead_letters_total{{reason="batch_too_large",topic="{place.events}"}}']
        assert service.stop() == 0
    print(f"resident before {before >> 20} MB, after {after >> 20} MB")
    said = [{k.removeprefix(PREFIX): v.decode() for k, v in headers.items()} for headers, _ in letters]
    spans = [(int(one["offset"]), int(one["batch.last.offset"]), int(one["batch.records"])) for one in said]
    assert spans == [(100, 299, 200), (300, 499, 200), (500, 699, 200), (700, 899, 200), (1620, 1_001_619, 1_000_000)]
    assert counted == 5
    assert after < RSS_BYTES_MAX
