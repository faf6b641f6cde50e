"""The loop over the Kafka log, broken off at random steps of its commits and started again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import pytest
from kafka_kit import Place

from streamer.clock import SystemClock
from streamer.epochs import Units
from streamer.errors import Doubt
from streamer.logs.base import Epoch, Output, Records
from streamer.service import CommitSettings, Service

pytestmark = pytest.mark.broker

EVENTS = 400


class Chain:
    """A fold whose outputs depend on all records before them and on their order."""

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

    def dump(self) -> bytes:
        return b""

    def load(self, data: bytes) -> None: ...


class Watch:
    """Stops the loop once the units have folded everything."""

    def __init__(self, ends: dict[str, int]) -> None:
        self._ends = ends
        self.done = False

    def turned(self, service: Service) -> None:
        reached = {name: sum(unit.ends.values()) for name, unit in service.units.items()}
        self.done = not service.recovering and all(reached.get(name, 0) >= end for name, end in self._ends.items())

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None: ...


def flaky(call: Any, fuse: Iterator[bool]) -> Any:
    """The call, until the fuse blows."""

    def step(*arguments: Any) -> Any:
        if next(fuse):
            raise ConnectionError("cut")
        return call(*arguments)

    return step


def attempt(place: Place, rng: random.Random, watch: Watch) -> bool:
    """Run a fresh process until all is folded, or until a step of a commit fails; whether it failed."""
    reading = {"records_max": 60, "raw_batches": bool(rng.getrandbits(1))}
    with place.log(**reading) as log, pytest.MonkeyPatch.context() as patch:
        fuse = chain(repeat(False, rng.randrange(3, 40)), repeat(True))
        for name in ("_publish", "_send", "_commit_offsets"):
            patch.setattr(log._committer, name, flaky(getattr(log._committer, name), fuse))
        units = Units(frozenset({place.alerts}))

        def fold_of(unit: str) -> Chain:
            return Chain(place.out if unit == "decide" else place.alerts)

        service = Service(log, units, fold_of, CommitSettings(interval_s=0), SystemClock(), watch)
        try:
            service.run(lambda: watch.done)
        except Doubt:
            return True
    return False


def test_broken_off_anywhere_gives_the_same_outputs(kafka_broker: Any) -> None:
    """However often commits break off, each partition's outputs are those of one fold in order; repeats are equal."""
    place = Place(kafka_broker, 2)
    rng = random.Random(11)
    written = [[b"%d" % rng.randrange(10**6) for _ in range(EVENTS)] for _ in range(2)]
    for partition, values in enumerate(written):
        place.write(values, partition=partition, batch_size=300)
    watch, failures = Watch({"detect-0": EVENTS, "detect-1": EVENTS}), 0
    while attempt(place, rng, watch):
        failures += 1
        assert failures < 60
    assert failures > 3
    found: dict[bytes, set[bytes]] = {}
    for record in place.read(place.alerts):
        found.setdefault(record.key, set()).add(record.value)
    assert all(len(values) == 1 for values in found.values())
    golden = set()
    for partition, values in enumerate(written):
        rows = [(i, 0, None, value, ()) for i, value in enumerate(values)]
        golden |= {(o.key, o.value) for o in Chain("").step([Records.build(place.events, partition, rows)])}
    assert {(key, *values) for key, values in found.items()} == golden
