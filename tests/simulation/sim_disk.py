"""Real checkpoints in a folder that all workers share, and what disks, other services and zombies do to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import msgspec
from sim_host import Host

from streamer.clock import Clock
from streamer.runtime.checkpoints.scheduler import CheckpointScheduler, CheckpointSettings
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest, sealed


class AtOnce:
    """A thread that has done its work when `start` returns."""

    def __init__(self, target: Callable[..., None], args: tuple[object, ...] = (), **_: object) -> None:
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def is_alive(self) -> bool:
        return False

    def join(self, _timeout_s: float | None = None) -> None:
        pass


@contextmanager
def no_waiting_for_disks() -> Iterator[None]:
    """Within it, checkpoints are written at once, and what is written is taken for safe."""
    with patch("streamer.runtime.checkpoints.writer.Thread", AtOnce), patch.object(os, "fsync"):
        yield


class Observer:
    """Looks away."""

    def on_checkpoint(self, unit, number, seconds, size):
        pass

    def on_checkpoint_failed(self, unit):
        pass

    def on_checkpoint_pause(self, seconds):
        pass


class InterruptibleScheduler(CheckpointScheduler):
    """The service's own scheduler, which may be interrupted before and after."""

    host: Host

    def _begin(self, unit):
        self.host.step()
        super()._begin(unit)
        self.host.step()


class Disk:
    """A folder with the checkpoints of one service."""

    def __init__(self, folder: Path, random: Random, interval_s: float | None) -> None:
        """`interval_s` is that between checkpoints of a unit; None: there are none."""
        self._folder, self._random, self._interval_s = folder, random, interval_s

    def store(self) -> CheckpointStore:
        return CheckpointStore(str(self._folder), "group")

    def scheduler(self, store: CheckpointStore, host: Host, clock: Clock) -> InterruptibleScheduler:
        scheduler = InterruptibleScheduler(
            store, CheckpointSettings(interval_s=self._interval_s or 1e9), clock, Observer()
        )
        scheduler.host = host
        return scheduler

    def damage(self) -> str:
        """Something happens to one of the files; says what."""
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        if not files:
            return "nothing to damage"
        path = self._random.choice(files)
        what = self._random.choice([self._lose, self._tear, self._flip, self._forge])
        what(path)
        return what.__name__

    def _lose(self, path: Path) -> None:
        path.unlink()

    def _tear(self, path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: self._random.randrange(len(data) + 1)])

    def _flip(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            path.write_bytes(data)

    def _forge(self, path: Path) -> None:
        """A checkpoint of another history: a whole one, of an epoch that was never committed here."""
        try:
            manifest = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Manifest)
        except (OSError, ValueError):
            return
        number = manifest.epoch.number + self._random.choice([-1, 0, 1, 5])
        at = manifest.epoch.at + self._random.choice([-2, -1, 0, 1, 2])
        forged = sealed(msgspec.structs.replace(manifest, epoch=_other(manifest.epoch, number, at)))
        path.with_suffix(".json").write_bytes(msgspec.json.encode(forged))


def _other(epoch, number, at):
    return replace(epoch, number=number, digest="of another history", set_aside={}, references={}, at=at)
