"""The service's folds, with a probe: a fingerprint of everything that was folded, in its order and as it was cut.

The outputs of a real fold hardly change when a record is lost or folded twice. The probe's do, at every epoch and in
all that follow, so whatever goes wrong with the records shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from sim_process import Crash

from streamer.app.folds import ConfiguredFolds
from streamer.config import Config
from streamer.eventlog.base import Output, Records
from streamer.runtime.fold import Fold
from streamer.runtime.snapshot import Snapshot

PROBE_TOPIC = "probe"
MAGIC = b"kills the process"


class Probe:
    """Around one fold."""

    def __init__(self, unit: str, fold: Any, deadly: bool) -> None:
        self._unit, self._deadly = unit.encode(), deadly
        self._step, self._dump, self._load = fold.step, fold.dump, fold.load
        self._chain = b""
        fold.step, fold.dump, fold.load = self.step, self.dump, self.load

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        rows = sorted(
            (records.topic, int(records.offset[i]), records.value_of(i) or b"")
            for records in stretch
            for i in range(len(records))
        )
        if self._deadly and any(MAGIC in value for _, _, value in rows):
            raise Crash
        outputs = self._step(stretch)
        self._chain = blake2b(repr((self._chain, rows)).encode(), digest_size=16).digest()
        return [*outputs, Output(PROBE_TOPIC, self._unit, self._chain)]

    def dump(self) -> Snapshot:
        snapshot = self._dump()
        return replace(snapshot, meta={**snapshot.meta, PROBE_TOPIC: self._chain.hex()})

    def load(self, snapshot: Snapshot, *more: Any) -> None:
        self._chain = bytes.fromhex(snapshot.meta[PROBE_TOPIC])
        self._load(snapshot, *more)


class ProbedFolds(ConfiguredFolds):
    """Folds with probes; the process dies when they meet a magic record, if they are deadly."""

    def __init__(self, config: Config, deadly: bool) -> None:
        super().__init__(config)
        self.is_deadly = deadly

    def fresh(self, unit: str, settings: str) -> Fold:
        fold = super().fresh(unit, settings)
        Probe(unit, fold, self.is_deadly)
        return fold
