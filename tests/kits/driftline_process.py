"""`driftline run` as a process of its own, on topics of its own, with a client that is not ours around it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DRIFTLINE = [sys.executable, "-m", "streamer.cli"]
PATIENCE_S = 120
SOON_S = 15.0  # on a machine with a core to spare; see `soon_s`
OUTPUTS = ("alerts", "incidents", "requests", "control", "watermarks", "decisions", "profiles", "epochs")


def driftline(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run([*DRIFTLINE, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == expect, f"exit code {done.returncode}: {done.stderr}"
    return done


def create_topic(bootstrap: str, name: str, partitions: int, **settings: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, -1, config=settings)]).values():
        made.result(PATIENCE_S)


def messages(bootstrap: str, topic: str) -> list[Message]:
    """All that a read_committed reader sees in a topic."""
    group = {"group.id": f"reader-{uuid.uuid4().hex}", "enable.auto.commit": False}
    of_what_is_committed = {"isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": bootstrap, **group, **of_what_is_committed})
    found = []
    for partition in consumer.list_topics(topic, PATIENCE_S).topics[topic].partitions:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while (message := consumer.poll(PATIENCE_S)) is not None:
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                break
            found.append(message)
    consumer.close()
    return found


@dataclass
class Place:
    """Output topics, a group and a config file of one test; and a topic of events, unless another place's is given."""

    bootstrap: str
    folder: Path
    events: str = ""
    partitions: int = 4
    labels: str = ""  # the topic of labels; made, if it is named
    records_max: int = 20_000
    extra: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # of the topics that are made
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self) -> None:
        if not self.events:
            self.events = f"bus.predictions.{self.tag}"
            create_topic(self.bootstrap, self.events, self.partitions, **self.settings)
        if self.labels:
            create_topic(self.bootstrap, self.labels, self.partitions, **self.settings)
        self.outputs = {what: f"driftline.{what}.{self.tag}" for what in OUTPUTS}
        self.config = self.folder / "driftline.yaml"
        topics = "".join(f"  {topic}: {{format: json}}\n" for topic in (self.events, self.labels) if topic)
        outputs = "".join(f"  {what}: {topic}\n" for what, topic in self.outputs.items())
        self.config.write_text(
            f"kafka: {{bootstrap: '{self.bootstrap}', group: driftline-{self.tag}}}\n"
            f"topics:\n{topics}outputs:\n{outputs}"
            f"commit: {{interval_s: 0.2, records_max: {self.records_max}}}\nmetrics: {{port: 0}}\n{self.extra}"
        )
        driftline("topics", "--config", str(self.config), "--create")

    def produce(self, values: dict[int, list[bytes]], keys: dict[int, list[bytes]] | None = None) -> None:
        """Values of each partition, in order."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "compression.type": "lz4"})
        for partition, stretch in values.items():
            for i, value in enumerate(stretch):
                key = keys[partition][i] if keys else None
                while True:
                    try:
                        producer.produce(self.events, value, key, partition)
                        break
                    except BufferError:
                        producer.poll(0.1)
        assert producer.flush(PATIENCE_S) == 0

    def produce_at(self, topic: str, partition: int, values: list[tuple[int, bytes]]) -> None:
        """Values with their record times in ms."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "queue.buffering.max.messages": len(values) + 1})
        for time_ms, value in values:
            producer.produce(topic, value, None, partition, timestamp=time_ms)
        assert producer.flush(PATIENCE_S) == 0

    def read(self, topic: str) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
        """All that a read_committed reader sees in a topic: key, value, headers."""
        return [(m.key(), m.value(), dict(m.headers() or [])) for m in messages(self.bootstrap, topic)]

    def times(self, topic: str) -> list[int]:
        """When these records were written, in ms."""
        return [m.timestamp()[1] for m in messages(self.bootstrap, topic)]

    def end(self, topic: str) -> int:
        """How many offsets all partitions of a topic have given out."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"reader-{uuid.uuid4().hex}"})
        partitions = consumer.list_topics(topic, PATIENCE_S).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), PATIENCE_S)[1] for p in partitions]
        consumer.close()
        return sum(ends)

    def jsons(self, what: str) -> list[dict]:
        return [json.loads(value) for _, value, _ in self.read(self.outputs[what])]

    def run_to_end(self) -> None:
        """Run until everything is folded, alerts included, and stop."""
        with running(self.config) as service:
            service.wait_until_done()
            assert service.stop() == 0, "".join(service.said)


class Patience:
    """A deadline that progress moves: it ends `PATIENCE_S` after the last, however slow the machine is."""

    def __init__(self, said: Sequence[str]) -> None:
        """Lines of the log are progress, as of a worker that compiles its kernels."""
        self._said = said
        self._before: object = None
        self._deadline_s = 0.0

    def check(self, progress: object = None) -> None:
        """Raises AssertionError with the log once nothing has changed for too long."""
        now = len(self._said), progress
        if now != self._before:
            self._before, self._deadline_s = now, time.monotonic() + PATIENCE_S
        assert time.monotonic() < self._deadline_s, "".join(self._said)


class Running:
    """A service under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""  # of the metrics, once it is known
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://\S+/metrics", line):
                self.url = found[0]

    def metrics(self) -> dict[str, float]:
        """What it says of itself; nothing before it has said where."""
        assert self.process.poll() is None, "".join(self.said)
        if not self.url:
            return {}
        try:
            page = urllib.request.urlopen(self.url, timeout=5).read().decode()  # noqa: S310 - a loopback address
        except OSError:
            return {}
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")}

    def wait_until_done(self) -> None:
        """Until it is ready, has no lag and has not moved for a while."""
        patience, still, before = Patience(self.said), 0, {}
        while still < 5:
            patience.check(before)
            time.sleep(0.2)
            now = self.metrics()
            lag = [n for name, n in now.items() if name.startswith("driftline_lag_records")]
            moving = {k: n for k, n in now.items() if k.startswith(("driftline_epoch", "driftline_records_total"))}
            idle = bool(lag) and not any(lag) and now.get("driftline_ready") == 1 and moving == before
            still, before = still + 1 if idle else 0, moving

    def wait_for_records(self, topic: str, n: int) -> float:
        """Until so many records of a topic are folded; returns how many there were."""
        patience, folded = Patience(self.said), 0.0
        while folded < n:
            patience.check(folded)
            time.sleep(0.01)
            folded = self.metrics().get(f'driftline_records_total{{topic="{topic}"}}', 0.0)
        return folded

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self._reader.join()
            self.process.stderr.close()


@contextmanager
def running(config: Path, program: Sequence[str] = DRIFTLINE) -> Iterator[Running]:
    command = [*program, "run", "--no-supervise", "--config", str(config)]
    service = Running(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.stop()


def soon_s() -> float:
    """`SOON_S`, longer by as much as processes wait for a core of this machine."""
    return SOON_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def ends(*arguments: str, exit_code: int, **environment: str) -> str:
    """What a command says when it ends by itself: soon, with this exit code, in one sentence, and no traceback."""
    started_s = time.monotonic()
    done = subprocess.run([*DRIFTLINE, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
    seconds = time.monotonic() - started_s
    assert done.returncode == exit_code, done.stderr
    assert seconds < soon_s()
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)]
    print(f"exit code {done.returncode}, {seconds:.1f} s: {' / '.join(said)}")
    return "\n".join(said)


def events(n: int) -> list[bytes]:
    return [json.dumps({"model_id": "bus", "event_time": 1000 + i, "prediction": i % 7}).encode() for i in range(n)]
