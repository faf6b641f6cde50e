"""Checkpoints on a simulated disk that all workers share, and what disks and zombies do to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from sim_host import Host

from streamer.logs.base import Epoch
from streamer.snapshot import Snapshot
from streamer.unit import Unit


@dataclass(slots=True)
class KeptCheckpoint:
    """See `streamer.recovery.Checkpoint`."""

    epoch: Epoch
    starts: dict[str, int]
    topic_ids: dict[str, str]
    settings: str
    fingerprint: str
    state: bytes | Snapshot | None  # None: torn

    def read(self) -> bytes | Snapshot | None:
        return self.state


@dataclass
class Disk:
    """What has been kept, of each unit, oldest first."""

    random: Random
    often: float = 0.0  # the share of moments at which a unit is kept
    faults: float = 0.0  # the share of checkpoints that are torn or lost
    kept: dict[str, list[KeptCheckpoint]] = field(default_factory=dict)

    def mounted(self, host: Host) -> MountedDisk:
        return MountedDisk(self, host)

    def keep(self, unit: Unit) -> None:
        outcome = self.random.random() / self.faults if self.faults else 1.0
        kept = self.kept.setdefault(unit.name, [])
        if outcome < 0.2:
            return  # the disk is full
        if outcome < 0.4 and kept:
            del kept[self.random.randrange(len(kept))]
            return
        text, epoch = unit.texts[unit.settings], unit.last
        if outcome < 0.7:
            number, at = epoch.number + self.random.choice([0, 1]), epoch.at + self.random.choice([0, 1, 2])
            epoch = replace(epoch, number=number, at=at, digest="of a process that was replaced")
        state = None if 0.7 <= outcome < 1 else unit.fold.dump()
        kept.append(KeptCheckpoint(epoch, dict(unit.starts), dict(unit.topic_ids), text, unit.settings, state))


@dataclass
class MountedDisk:
    """The disk as one process sees it: `Checkpoints` and `Keeper`."""

    disk: Disk
    host: Host

    def newest_first(self, unit: str) -> Iterator[KeptCheckpoint]:
        kept = self.disk.kept.get(unit, [])
        return iter(sorted(kept, key=lambda one: -one.epoch.number))

    def turned(self, units: Mapping[str, Unit]) -> None:
        for _, unit in sorted(units.items()):
            if self.disk.random.random() < self.disk.often:
                self._keep(unit)

    def finish(self, units: Mapping[str, Unit]) -> None:
        for _, unit in sorted(units.items()):
            self._keep(unit)

    def _keep(self, unit: Unit) -> None:
        kept = self.disk.kept.get(unit.name)
        if unit.last is not None and unit.last.number == unit.number and not (kept and kept[-1].epoch == unit.last):
            self.host.step()
            self.disk.keep(unit)
            self.host.step()
