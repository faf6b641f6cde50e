"""Scenes in which kafka-python alone loses records or never comes back; `trap_kit.play` runs them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer
from trap_kit import PRODUCER, Faults, Scene, begin, future_outcome, outcome_of

TRANSACTION_TIMEOUT_MS = 1_500
BLOCKED_AFTER_RETURN_S = 8.0


def expired_output(scene: Scene, faults: Faults) -> dict[str, Any]:
    """One of two outputs of a transaction does not reach the broker within the delivery timeout."""
    member, producer = scene.member(), scene.producer()
    producer.begin_transaction()
    futures = [producer.send(scene.output, b"sent")]
    producer.flush(5)
    faults.proxy(refuse=True)
    faults.cut()
    futures.append(producer.send(scene.output, b"expired"))
    time.sleep(PRODUCER["delivery_timeout_ms"] / 1000 + 0.7)
    faults.proxy(refuse=False)
    calls = [
        outcome_of(lambda: producer.send_offsets_to_transaction(scene.offsets(10), member.group_metadata()), 10),
        outcome_of(producer.commit_transaction, 10),
    ]
    return {
        "futures": [future_outcome(future) for future in futures],
        "calls": calls,
        "visible": scene.visible(),
        "committed_offset": scene.committed_offset(),
    }


def timed_out_transaction(scene: Scene, faults: Faults) -> dict[str, Any]:
    """The broker ends a transaction that takes too long; then one more output and a commit, without and with flush."""
    metadata = scene.member().group_metadata()
    producers = {
        name: scene.producer(
            f"{scene.group}-{name}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=5_000,
            delivery_timeout_ms=20_000,
        )
        for name in ("careless", "careful")
    }
    for name, producer in producers.items():
        producer.begin_transaction()
        producer.send(scene.output, f"{name} early".encode())
        producer.flush(5)
        producer.send_offsets_to_transaction(scene.offsets(10), metadata)
    time.sleep(TRANSACTION_TIMEOUT_MS / 1000 + 2.0)  # until the broker has looked, which it does every second
    faults.proxy(delay_s=0.2)
    late = {name: producer.send(scene.output, f"{name} late".encode()) for name, producer in producers.items()}
    commit = outcome_of(producers["careless"].commit_transaction, 10)
    producers["careful"].flush(10)
    faults.proxy(delay_s=0.0)
    return {
        "commit_without_flush": commit,
        "future_after_flush": future_outcome(late["careful"]),
        "visible": scene.visible(),
        "committed_offset": scene.committed_offset(),
    }


def rebalance_between_polls(scene: Scene, faults: Faults) -> dict[str, Any]:
    """A second member joins while the first works; the first polls once without waiting, and goes on working."""
    first = scene.member()
    before, old = first.group_metadata().generation_id, first.assignment()
    second = KafkaConsumer(
        scene.source,
        bootstrap_servers=scene.bootstrap,
        group_id=scene.group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    threading.Thread(target=lambda: [second.poll(100) for _ in iter(int, 1)], daemon=True).start()
    time.sleep(1.0)
    first.poll(0)
    deadline = time.monotonic() + 10
    while not second.assignment() and time.monotonic() < deadline:
        time.sleep(0.01)
    metadata, assignment = first.group_metadata(), first.assignment()
    (lost, *_) = sorted(second.assignment() & old)
    producer = scene.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(scene.offsets(2, lost.partition), metadata)
    producer.commit_transaction()
    return {
        "generations": [before, metadata.generation_id],
        "state": str(metadata.state),
        "assignment_is_old": assignment == old,
        "owners_of_lost": [lost in assignment, lost in second.assignment()],
        "committed_offset": scene.committed_offset(lost.partition),
    }


def runnable_s() -> float:
    """How long the threads of this process have had a core or waited for one: a busy machine does not shorten it."""
    stats = [path.read_text().split() for path in Path("/proc/self/task").glob("*/schedstat")]
    return sum(int(on_core_ns) + int(waiting_ns) for on_core_ns, waiting_ns, _ in stats) / 1e9


def broken_record(scene: Scene, faults: Faults) -> dict[str, Any]:
    """A deserializer of the client's raises on one record of a fetch; the caller catches that and polls again."""

    def digit_but_not_five(value: bytes) -> int:
        if value == b"5":
            raise ValueError("five")
        return int(value)

    consumer = KafkaConsumer(
        bootstrap_servers=scene.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        value_deserializer=digit_but_not_five,
    )
    consumer.assign(scene.spots)
    first = outcome_of(lambda: read_until_error(consumer), 5)
    runnable, wall = runnable_s(), time.monotonic()
    second = outcome_of(lambda: consumer.poll(500), 3)
    return {
        "polls": [first, second],
        "cores_wanted": (runnable_s() - runnable) / (time.monotonic() - wall),
    }


def read_until_error(consumer: KafkaConsumer) -> None:
    while True:
        consumer.poll(500)


def dead_coordinator(scene: Scene, faults: Faults) -> dict[str, Any]:
    """The broker dies before a commit, and before offsets are sent, and comes back; then fresh producers."""
    metadata = scene.member().group_metadata()
    patient = {"request_timeout_ms": 3_000, "delivery_timeout_ms": 20_000}
    producers = {name: scene.producer(f"{scene.group}-{name}", **patient) for name in ("commit", "offsets")}
    for name, producer in producers.items():
        producer.begin_transaction()
        producer.send(scene.output, name.encode())
        producer.flush(5)
    producers["commit"].send_offsets_to_transaction(scene.offsets(10), metadata)
    faults.broker("kill")
    calls = {
        "commit": begin(producers["commit"].commit_transaction),
        "offsets": begin(lambda: producers["offsets"].send_offsets_to_transaction(scene.offsets(10), metadata)),
    }
    faults.broker("start")
    time.sleep(BLOCKED_AFTER_RETURN_S)
    outcomes = {name: outcome(0) for name, outcome in calls.items()}
    fresh = {name: outcome_of(lambda: recover(scene, name), 10) for name in calls}  # noqa: B023 - called at once
    return {
        "calls": outcomes,
        "fresh": fresh,
        "visible": scene.visible(),
        "committed_offset": scene.committed_offset(),
    }


def recover(scene: Scene, name: str) -> None:
    """A producer of the same id, that ends what its predecessor left, and a transaction of its own."""
    producer = scene.producer(f"{scene.group}-{name}", max_block_ms=8_000)
    producer.begin_transaction()
    producer.send(scene.output, f"fresh {name}".encode())
    producer.flush(5)
    producer.commit_transaction()
