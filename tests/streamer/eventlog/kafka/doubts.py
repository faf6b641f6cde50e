"""Commits that go wrong at a real broker; `python doubts.py` plays each and prints what came of it, as JSON.

In a process of its own, because kafka-python leaves sockets and threads behind where brokers die.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka_kit import Place, begin

from streamer.errors import InDoubtError
from streamer.eventlog.kafka import clients as kafka_clients
from streamer.eventlog.kafka.log import KafkaLog
from streamer.testing.kafka import Broker

DEADLINE_S = 5.0
DELIVERY_TIMEOUT_MS = 1_000
TRANSACTION_TIMEOUT_MS = 1_500
STARTS_MAX = 4

Fault = Callable[[KafkaLog, Broker], None]


def coordinator_dies_before(step: str) -> Fault:
    """The broker is killed when this call of the client is about to be made."""

    def arm(log: KafkaLog, broker: Broker) -> None:
        call = getattr(log._producer, step)

        def after_a_kill(*arguments: Any) -> Any:
            broker.kill()
            return call(*arguments)

        setattr(log._producer, step, after_a_kill)

    return arm


def an_output_expires(log: KafkaLog, broker: Broker) -> None:
    """The first output is in the log, and what comes after it can't be delivered in time."""
    producer = log._producer
    send, flush = producer.send, producer.flush
    producer._accumulator.config["delivery_timeout_ms"] = DELIVERY_TIMEOUT_MS
    producer.config["request_timeout_ms"] = DELIVERY_TIMEOUT_MS
    sent: list[Any] = []

    def send_and_freeze(*arguments: Any) -> Any:
        sent.append(send(*arguments))
        if len(sent) == 1:
            flush(5)
            broker.pause()
        return sent[-1]

    def flush_and_thaw(timeout_s: float) -> None:
        time.sleep(DELIVERY_TIMEOUT_MS / 1000 + 0.5)
        broker.resume()
        flush(timeout_s)

    producer.send, producer.flush = send_and_freeze, flush_and_thaw


def broker_ends_the_transaction(log: KafkaLog, broker: Broker) -> None:
    """It takes longer than its time-out, of which the client hears only when it commits."""
    commit = log._producer.commit_transaction

    def commit_late() -> None:
        time.sleep(TRANSACTION_TIMEOUT_MS / 1000 + 2.0)  # the broker looks once a second
        commit()

    log._producer.commit_transaction = commit_late


def success_is_claimed(log: KafkaLog, broker: Broker) -> None:
    """The client says that it has committed, and the broker has aborted."""
    log._producer.commit_transaction = log._producer.abort_transaction


FAULTS: dict[str, Fault] = {
    "the coordinator dies before offsets are sent": coordinator_dies_before("send_offsets_to_transaction"),
    "the coordinator dies before the commit": coordinator_dies_before("commit_transaction"),
    "an output expires": an_output_expires,
    "the broker ends the transaction": broker_ends_the_transaction,
    "success is claimed": success_is_claimed,
}


def go_on(place: Place) -> int:
    """What the next process finds, once it has made good what is missing; in doubt it is followed by another."""
    for _ in range(STARTS_MAX):
        with suppress(InDoubtError), place.log() as log:
            found = begin(log)["detect-0"].last
            if found < 2:
                log.commit([place.output("two"), place.output("three")], [place.epoch(2, 6)])
            return found
    raise AssertionError(f"in doubt {STARTS_MAX} times")


def play(broker: Broker, arm: Fault) -> dict[str, Any]:
    """One commit that goes well, one under the fault, and what a fresh process finds and makes of it."""
    place = Place(broker)
    place.write([b"v"] * 9)
    said, took_s = "", 0.0
    with place.log(commit_deadline_s=DEADLINE_S) as log:
        begin(log)
        log.commit([place.output("one")], [place.epoch(1, 3)])
        arm(log, broker)
        began_s = time.monotonic()
        try:
            log.commit([place.output("two"), place.output("three")], [place.epoch(2, 6)])
        except InDoubtError as doubt:
            said, took_s = str(doubt), time.monotonic() - began_s
    broker.resume()
    broker.start()
    found = go_on(place)
    at = place.committed()[place.events, 0]
    return {"said": said, "took_s": took_s, "found": found, "outputs": place.outputs(), "committed": at}


def main() -> None:
    kafka_clients.transaction_timeout_s = lambda _deadline_s: TRANSACTION_TIMEOUT_MS / 1000
    with Broker() as broker:
        print(json.dumps({name: play(broker, arm) for name, arm in FAULTS.items()}))


if __name__ == "__main__":
    sys.exit(main())
