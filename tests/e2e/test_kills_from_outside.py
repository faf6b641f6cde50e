"""Workers that are killed while they fold, again and again, by somebody who means no record: on a real broker."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from driftline_process import Place, Running, events, running

pytestmark = [pytest.mark.broker, pytest.mark.slow]

KILLS_MAX = 20
NOTED_S = 0.1  # until the transaction of the attempt is over; the fold behind it takes longer
SLOWLY = [sys.executable, str(Path(__file__).with_name("slow_folds.py"))]


def next_attempt(reader: Consumer, service: Running) -> dict[str, Any]:
    """What the worker says next that it is about to fold; it is in the log before it folds."""
    for _ in range(1200):
        if (message := reader.poll(0.1)) is not None and message.error() is None:
            entry = json.loads(message.value())
            if entry.get("note") == "attempt":
                return dict(entry)
        assert service.process.poll() is None, "".join(service.said)
    raise AssertionError("".join(service.said))


def test_no_record_is_set_aside(kafka_broker: Any, tmp_path: Path) -> None:
    """The one that stood alone is tried in a copy of the process, kills nobody, and is folded with the others."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    place.produce({0: events(8)})
    reader = Consumer(
        {"bootstrap.servers": place.bootstrap, "group.id": f"eye-{place.tag}", "isolation.level": "read_uncommitted"}
    )
    reader.assign([TopicPartition(place.outputs["epochs"], 1, 0)])
    attempts: list[tuple[int, bool]] = []
    while attempts[-2:] != [(1, True)] * 2:  # the second after a trial that acquitted the record
        assert len(attempts) < KILLS_MAX
        with running(place.config, SLOWLY) as service:
            one = next_attempt(reader, service)
            attempts.append((one["records"], one["cautious"]))
            time.sleep(NOTED_S)
            service.kill()
    reader.close()
    with running(place.config) as service:
        service.wait_for_records(place.events, 8)
        service.wait_until_done()
        assert service.stop() == 0
    assert "kills no process" in "".join(service.said)
    assert place.read(f"{place.events}-dlt") == []
