"""What tests of the Kafka client's traps share: a scene to play in, faults to order, and a process to play it in.

A client that is caught in a trap can't be closed: it blocks, spins, or leaves threads and sockets behind. So each scene
is played by a function in a process of its own, which is thrown away, while the broker stays here:

    result = play("client_traps:expired_output", broker)

calls `expired_output(scene, faults)` there, obeys what it orders by `faults`, and returns the JSON object it returns.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing.kafka import Broker

RECORDS = 10
SETTLE_TIMEOUT_S = 10.0
STILL_BLOCKED = "still blocked"
# Small, so that what takes minutes with the defaults takes seconds.
PRODUCER = {
    "acks": "all",
    "linger_ms": 0,
    "retry_backoff_ms": 50,
    "request_timeout_ms": 1_000,
    "delivery_timeout_ms": 2_000,
    "transaction_timeout_ms": 60_000,
}
CONSUMER = {
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "session_timeout_ms": 6_000,
    "heartbeat_interval_ms": 300,
    "retry_backoff_ms": 50,
}


@dataclass
class Scene:
    """One test's topics and group: `RECORDS` records of 0, 1, … in `source`, one after the other over its partitions.

    Transactional producers reach the broker through its proxy, everything else goes around it.
    """

    bootstrap: str
    proxied_bootstrap: str
    partitions: int = 1
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    def __post_init__(self) -> None:
        self.source, self.output, self.group = (f"{name}-{self.tag}" for name in ("source", "output", "group"))
        self.spots = [TopicPartition(self.source, number) for number in range(self.partitions)]
        connection = KafkaConnection(bootstrap=(self.bootstrap,))
        kafka_admin.create_topics(connection, {self.source: self.partitions, self.output: 1})
        with_records = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        for i in range(RECORDS):
            with_records.send(self.source, b"%d" % i, partition=i % self.partitions)
        with_records.close(10)

    def producer(self, transactional_id: str = "", **changes: Any) -> KafkaProducer:
        """A transactional producer, ready to begin; its id is the group's unless named otherwise."""
        arguments = {**PRODUCER, "transactional_id": transactional_id or self.group, **changes}
        producer = KafkaProducer(bootstrap_servers=self.proxied_bootstrap, **arguments)
        producer.init_transactions()
        return producer

    def member(self, **changes: Any) -> KafkaConsumer:
        """A consumer of the group that has its assignment, and has read nothing yet."""
        consumer = KafkaConsumer(
            self.source, bootstrap_servers=self.bootstrap, group_id=self.group, **{**CONSUMER, **changes}
        )
        while not consumer.assignment():
            consumer.poll(100, update_offsets=False)
        return consumer

    def offsets(self, offset: int, partition: int = 0) -> dict[TopicPartition, OffsetAndMetadata]:
        """What to send to a transaction to commit that much of the source."""
        return {self.spots[partition]: OffsetAndMetadata(offset, "", -1)}

    def visible(self, topic: str = "") -> list[str]:
        """What a reader of committed records finds in a topic, `output` unless named otherwise.

        Waits until no transaction is open there.
        """
        return self._values(topic or self.output, "read_committed")

    def written(self, topic: str = "") -> list[str]:
        """What was ever written to it, in aborted and open transactions too."""
        return self._values(topic or self.output, "read_uncommitted")

    def committed_offset(self, partition: int = 0) -> int | None:
        """How far the group has come in the source."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group, **CONSUMER)
        try:
            offset: int | None = consumer.committed(self.spots[partition])
            return offset
        finally:
            consumer.close(autocommit=False)

    def _values(self, topic: str, isolation_level: str) -> list[str]:
        spot, values = TopicPartition(topic, 0), []
        end = self._end(spot, "read_uncommitted")
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while isolation_level == "read_committed" and self._end(spot, isolation_level) < end:
            assert time.monotonic() < deadline, f"a transaction is still open on {topic}"
            time.sleep(0.05)
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level=isolation_level)
        try:
            consumer.assign([spot])
            consumer.seek_to_beginning(spot)
            while consumer.position(spot) < end:
                assert time.monotonic() < deadline, f"{topic} could not be read to its end"
                values += [record.value.decode() for record in consumer.poll(200).get(spot, [])]
            return values
        finally:
            consumer.close(autocommit=False)

    def _end(self, spot: TopicPartition, isolation_level: str) -> int:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level=isolation_level)
        try:
            end: int = consumer.end_offsets([spot])[spot]
            return end
        finally:
            consumer.close(autocommit=False)


class Faults:
    """The orders that a scene gives for the broker and the proxy before it; each returns when it is carried out."""

    def broker(self, action: str) -> None:
        """`kill`, `start`, `pause` or `resume`."""
        _order({"broker": action})

    def proxy(self, **knobs: float) -> None:
        """Set knobs of the proxy: `refuse=True`, `delay_s=0.2`."""
        _order({"proxy": knobs})

    def cut(self) -> None:
        """Drop all connections through the proxy."""
        _order({"cut": True})


def outcome_of(call: Callable[[], object], limit_s: float) -> str:
    """`returned`, the name of what it raised, or `STILL_BLOCKED` after so long; then its thread is left behind."""
    return begin(call)(limit_s)


def begin(call: Callable[[], object]) -> Callable[[float], str]:
    """Run it in a thread of its own; the answer tells after so many seconds what `outcome_of` would."""
    outcomes: list[str] = []

    def run() -> None:
        try:
            call()
            outcomes.append("returned")
        except Exception as error:
            outcomes.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome(limit_s: float) -> str:
        thread.join(limit_s)
        return outcomes[0] if outcomes else STILL_BLOCKED

    return outcome


def future_outcome(future: Any) -> str:
    """`succeeded`, `pending`, or the name of its error."""
    if not future.is_done:
        return "pending"
    return "succeeded" if future.succeeded() else type(future.exception).__name__


def play(where: str, broker: Broker, timeout_s: float = 60.0, partitions: int = 1) -> dict[str, Any]:
    """What the scene `module:function` returns; the broker runs and its proxy is whole again afterwards."""
    command = [sys.executable, __file__, where, broker.bootstrap, broker.proxied_bootstrap, str(partitions)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as player:
        assert player.stdin is not None
        assert player.stdout is not None
        limit = threading.Timer(timeout_s, player.kill)
        limit.start()
        try:
            for line in player.stdout:
                said = json.loads(line)
                if "result" in said:
                    return dict(said["result"])
                _obey(said, broker)
                player.stdin.write("done\n")
                player.stdin.flush()
            raise AssertionError(f"{where} ended without a result; what it wrote is above")
        finally:
            limit.cancel()
            player.kill()
            broker.resume()
            broker.proxy.heal()
            broker.proxy.cut()
            broker.start()


def _obey(order: dict[str, Any], broker: Broker) -> None:
    if action := order.get("broker"):
        getattr(broker, action)()
    for knob, value in order.get("proxy", {}).items():
        setattr(broker.proxy, knob, value)
    if order.get("cut"):
        broker.proxy.cut()


def _order(order: dict[str, Any]) -> None:
    print(json.dumps(order), flush=True)
    assert sys.stdin.readline() == "done\n"


def main(where: str, bootstrap: str, proxied_bootstrap: str, partitions: str) -> None:
    module, function = where.split(":")
    scene = Scene(bootstrap, proxied_bootstrap, int(partitions))
    result = getattr(importlib.import_module(module), function)(scene, Faults())
    print(json.dumps({"result": result}), flush=True)
    # Not `sys.exit`: threads of trapped clients would hold up the end.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
