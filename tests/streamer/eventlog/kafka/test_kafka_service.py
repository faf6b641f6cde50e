"""The loop over the Kafka log, broken off at random steps of its commits and started again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import pytest
from kafka_kit import Place, read_by

from streamer.clock import SystemClock
from streamer.errors import InDoubtError
from streamer.eventlog.base import Output, Records
from streamer.eventlog.units import Units
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.runtime.snapshot import Snapshot

pytestmark = pytest.mark.broker

EVENTS = 400


class Chain:
    """A fold whose outputs depend on all records before them and on their order."""

    joins_epochs = True

    def __init__(self, topic: str) -> None:
        self.tally: Counter[tuple[str, ...]] = Counter()
        self._topic = topic
        self._chain = 0

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        outputs = []
        for records in stretch:
            for i in range(len(records)):
                value = records.value_of(i) or b""
                self._chain = (self._chain * 31 + int.from_bytes(value, "big")) % 1_000_003
                name = b"%s-%d-%d" % (records.topic.encode(), records.partition, records.offset[i])
                if self._chain % 3 == 0:
                    outputs.append(Output(self._topic, name, b"%d" % self._chain))
        return outputs

    def new_references(self) -> dict[str, dict[str, str]]:
        return {}

    def dump(self) -> Snapshot:
        return Snapshot({}, {})

    def load(self, snapshot: Snapshot) -> None: ...


class Watch(Observer):
    """Stops the loop once the units have folded everything."""

    def __init__(self, ends: dict[str, int]) -> None:
        self._ends = ends
        self.done = False

    def on_turn(self, service: Service) -> None:
        reached = {name: sum(unit.ends.values()) for name, unit in service.units.items()}
        self.done = not service.recovering and all(reached.get(name, 0) >= end for name, end in self._ends.items())


class Chains:
    """Makes folds; there is one kind of settings."""

    settings, fingerprint = "{}", "these"

    def __init__(self, place: Place) -> None:
        self._place = place

    def fresh(self, unit: str, settings: str) -> Any:  # noqa: ARG002
        return Chain(self._place.out if unit == "decide" else self._place.alerts)


def flaky(call: Any, fuse: Iterator[bool]) -> Any:
    """The call, until the fuse blows."""

    def step(*arguments: Any) -> Any:
        if next(fuse):
            raise ConnectionError("cut")
        return call(*arguments)

    return step


def attempt(place: Place, rng: random.Random, watch: Watch, delivery: str) -> bool:
    """Run a fresh process until all is folded, or until a step of a commit fails; whether it failed."""
    raw = bool(rng.getrandbits(1))
    with read_by(raw), place.log(records_max=60, delivery=delivery) as log, pytest.MonkeyPatch.context() as patch:
        fuse = chain(repeat(False, rng.randrange(20, 120)), repeat(True))
        for owner, name in ((log._committer._sender, "_send"), (log._producer, "flush"), (log, "commit_offsets")):
            patch.setattr(owner, name, flaky(getattr(owner, name), fuse))
        for name in ("send_offsets_to_transaction", "commit_transaction"):
            patch.setattr(log._producer, name, flaky(getattr(log._producer, name), fuse))
        nothing = NoCheckpoints()
        recovery = Recovery(log, Chains(place), nothing)
        settings = CommitSettings(interval_s=0)
        service = Service(Units(frozenset({place.alerts})), recovery, settings, SystemClock(), watch, nothing)
        try:
            service.run(lambda: watch.done)
        except InDoubtError:
            return True
    return False


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_broken_off_anywhere_gives_the_same_outputs(kafka_broker: Any, delivery: str) -> None:
    """However often commits break off, outputs are those of one fold in order, once each; repeats are equal."""
    place = Place(kafka_broker, 2)
    rng = random.Random(11)
    written = [[b"%d" % rng.randrange(10**6) for _ in range(EVENTS)] for _ in range(2)]
    for partition, values in enumerate(written):
        place.write(values, partition=partition, batch_size=300)
    watch, failures = Watch({"detect-0": EVENTS, "detect-1": EVENTS}), 0
    while attempt(place, rng, watch, delivery):
        failures += 1
        assert failures < 60
    assert failures > 3
    found = Counter((record.key, record.value) for record in place.read(place.alerts))
    golden = set()
    for partition, values in enumerate(written):
        rows = [(i, 0, None, value, ()) for i, value in enumerate(values)]
        golden |= {(o.key, o.value) for o in Chain("").step([Records.build(place.events, partition, rows)])}
    assert found.keys() == golden
    if delivery == "exactly_once":
        assert max(found.values()) == 1
