"""The fleet through a real Kafka broker: `driftline run` in a process of its own, with another client around it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from examples.demo.findings import Findings
from examples.demo.fleet import PARTITIONS
from examples.demo.stream import Stream
from examples.demo.watch import HERE
from streamer.errors import BrokerError
from streamer.testing.kafka import Broker

CONFIG = HERE / "fleet.yaml"
COMMAND = (sys.executable, "-m", "streamer.cli")
PATIENCE_S = 120.0  # without any progress
AT_ONCE = 20_000  # records produced at once
STILL_LOOKS = 5  # looks at the metrics that must show no change and no lag

Step = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]


def watch_live(streams: tuple[Stream, Stream], step: Step) -> tuple[int, Findings]:
    """Produce the streams to a fresh broker, then let `driftline run` read them. Returns its alarm count and outputs.

    All is there before the service starts, so labels and predictions are folded in order of time, as in a replay.

    Raises `BrokerError` when the broker does not start, or the service ends or stalls.
    """
    with Broker() as broker:
        with step("starting Kafka and creating topics"):
            broker.create_topics({stream.topic: PARTITIONS for stream in streams})
            environ = {**os.environ, "DRIFTLINE_KAFKA__BOOTSTRAP": broker.bootstrap, "DRIFTLINE_METRICS__PORT": "0"}
            topics = [*COMMAND, "topics", "--config", str(CONFIG), "--create"]
            made = subprocess.run(topics, env=environ, capture_output=True, text=True, check=False)
            if made.returncode != 0:
                raise BrokerError(f"`driftline topics --create` failed: {made.stderr.strip()}")
        records = sum(map(len, streams))
        with step(f"producing {records:,} records") as progress:
            _produce(broker.bootstrap, streams, progress)
        with _running(environ) as service:
            with step(f"folding {records:,} records with `driftline run`") as progress:
                service.wait_until_done(records, progress)
            alarms = service.total("driftline_alarms_total")
        findings = Findings()
        with step("reading the outputs"):
            for topic in (findings.topics.alerts, findings.topics.incidents, findings.topics.requests):
                for value in _values(broker.bootstrap, topic):
                    findings.add(topic, value)
    return alarms, findings


class _Service:
    """`driftline run` under way."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._process = process
        self._log = log

    def said(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8")

    def metrics(self) -> dict[str, float]:
        """Its metrics; empty before it has logged their address."""
        if self._process.poll() is not None:
            raise BrokerError(f"`driftline run` ended with exit code {self._process.returncode}:\n{self.said()}")
        found = re.search(r"http://\S+/metrics", self.said())
        if found is None:
            return {}
        with urllib.request.urlopen(found[0], timeout=10) as answer:  # noqa: S310 -- its own address, just read
            lines = answer.read().decode().splitlines()
        return {name: float(n) for name, n in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def total(self, metric: str) -> int:
        return int(sum(n for name, n in self.metrics().items() if name.startswith(metric + "{")))

    def wait_until_done(self, records: int, progress: Callable[[int, int | None], None]) -> None:
        """Wait until these are folded, and until there is no change for a while: alerts have become incidents then."""
        still: list[tuple[int, int]] = []

        def look() -> tuple[int, int]:
            still.append((self.total("driftline_lag_records"), self.total("driftline_records_total")))
            progress(min(still[-1][1], records), records)
            return still[-1]

        self._wait(look, lambda now: now[0] == 0 and now[1] >= records and still[-STILL_LOOKS:] == [now] * STILL_LOOKS)

    def _wait(self, look: Callable[[], Any], enough: Callable[[Any], bool]) -> None:
        deadline_s, before = time.monotonic() + PATIENCE_S, None
        while not enough(now := look()):
            if now != before:
                deadline_s, before = time.monotonic() + PATIENCE_S, now
            if time.monotonic() > deadline_s:
                raise BrokerError(f"`driftline run` made no progress for {PATIENCE_S:.0f} s:\n{self.said()}")
            time.sleep(0.1)


@contextmanager
def _running(environ: Mapping[str, str]) -> Iterator[_Service]:
    with tempfile.NamedTemporaryFile(prefix="driftline-", suffix=".log") as log:
        command = [*COMMAND, "run", "--config", str(CONFIG)]
        process = subprocess.Popen(command, env=dict(environ), stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _Service(process, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _produce(bootstrap: str, streams: tuple[Stream, Stream], progress: Callable[[int, int | None], None]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    sent, records = 0, sum(map(len, streams))
    for stream in streams:
        for start in range(0, len(stream), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(stream)))
            _send(producer, stream, rows)
            sent += len(rows)
            progress(sent, records)


def _send(producer: Producer, stream: Stream, rows: range) -> None:
    times, partitions = stream.time_ms.tolist(), stream.partition.tolist()
    for i in rows:
        while True:
            try:
                producer.produce(stream.topic, stream.values[i], stream.keys[i], partitions[i], timestamp=times[i])
                break
            except BufferError:  # the queue is full: wait
                producer.poll(0.1)
    if producer.flush(PATIENCE_S):
        raise BrokerError(f"The broker did not take the records of {stream.topic} within {PATIENCE_S:.0f} s.")


def _values(bootstrap: str, topic: str) -> Iterator[bytes | None]:
    """All values of a topic, partition by partition."""
    # What is committed, up to where a partition ends: its last offset may be a transaction's marker and no record.
    how = {"group.id": "demo-reader", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": bootstrap, **how})
    try:
        for partition in consumer.list_topics(topic, PATIENCE_S).topics[topic].partitions:
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (message := consumer.poll(PATIENCE_S)) is not None:
                if message.error() is None:
                    yield message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    break
                else:
                    raise BrokerError(f"{topic} can't be read: {message.error()}")
            else:
                raise BrokerError(f"{topic} can't be read: no record arrived for {PATIENCE_S:.0f} s")
    finally:
        consumer.close()
