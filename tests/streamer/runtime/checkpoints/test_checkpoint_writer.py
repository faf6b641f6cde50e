"""Writing a checkpoint beside the fold: a moment's picture, by a child that leaves nothing behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import settings_fingerprint
from streamer.runtime.checkpoints.scheduler import FORKS_FROM_SERIES, CheckpointScheduler, CheckpointSettings
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.checkpoints.writer import CheckpointWriter
from streamer.runtime.snapshot import Snapshot
from streamer.runtime.unit import Unit

FINGERPRINT = settings_fingerprint("{}")
MANIFEST = Manifest("detect-0", Epoch("detect-0", 3, {"t": 9}, at=5), {"t": 0}, {}, "{}", FINGERPRINT, "test")


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(str(tmp_path / "kept"), "group")


def write(store, dump, forks=True, **options):
    writer = CheckpointWriter(store, MANIFEST, dump, forks=forks, **options)
    assert writer.wait(60)
    return writer


@pytest.mark.parametrize("forks", [True, False])
def test_what_happens_afterwards_is_not_in_it(store, forks):
    """The fold goes on at once and changes every value; what is kept is the moment at which it began."""
    live = np.arange(100_000.0)
    writer = CheckpointWriter(store, MANIFEST, lambda: Snapshot({"n": 1}, {"x": live}), forks=forks)
    live[:] = -1
    assert writer.wait(60)
    assert writer.problem is None
    (kept,) = store.newest_first("detect-0")
    np.testing.assert_array_equal(kept.read().arrays["x"], np.arange(100_000.0))


def test_the_dump_is_made_by_the_child(store):
    """However long it takes, the fold does not wait for it."""

    def slow():
        time.sleep(1.0)
        return Snapshot({"pid": os.getpid()}, {})

    began_s = time.monotonic()
    writer = CheckpointWriter(store, MANIFEST, slow, forks=True)
    assert time.monotonic() - began_s < 0.5
    assert writer.wait(60)
    (kept,) = store.newest_first("detect-0")
    assert kept.read().meta["pid"] != os.getpid()


def test_the_child_holds_nothing_that_is_ours(store):
    """It closes what it has inherited: a connection ends when we end it, though the child still writes."""
    ours, theirs = socket.socketpair()
    writer = CheckpointWriter(store, MANIFEST, lambda: time.sleep(3) or Snapshot({}, {}), forks=True)
    theirs.settimeout(2)
    ours.close()
    assert theirs.recv(1) == b""
    theirs.close()
    assert not writer.done
    assert writer.wait(60)


def children():
    """Processes of this one that run, or have ended and were not waited for; other tests' are among them."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def test_no_child_is_left_behind(store):
    """Each one is waited for, whatever becomes of it."""
    before = children()
    for dump in (lambda: Snapshot({}, {}), lambda: 1 / 0, lambda: os.kill(os.getpid(), 9)):
        write(store, dump)
    assert children() == before


@pytest.mark.parametrize(
    "dump", [lambda: 1 / 0, lambda: os.kill(os.getpid(), 9), lambda: os._exit(3)], ids=["raises", "is killed", "exits"]
)
def test_a_child_that_fails_keeps_nothing(store, tmp_path, dump):
    """The problem is reported, and no file stays."""
    writer = write(store, dump)
    assert "the process that wrote" in writer.problem
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_child_that_hangs_is_killed(store):
    """At the deadline, and the checkpoint has failed."""
    began_s = time.monotonic()
    writer = write(store, lambda: time.sleep(600), timeout_s=0.3)
    assert time.monotonic() - began_s < 30
    assert "ended with -9" in writer.problem


def test_a_full_disk_fails_a_checkpoint_and_nothing_else(tmp_path):
    """Where files may not grow, it fails; once they may, the next is kept; the one before was there all along."""
    script = f"""
import resource, signal
import numpy as np
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.checkpoints.writer import CheckpointWriter
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import settings_fingerprint
from streamer.runtime.snapshot import Snapshot
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = CheckpointStore({str(tmp_path)!r}, "g")
def write(number, forks):
    manifest = Manifest("u", Epoch("u", number, {{}}, at=1), {{}}, {{}}, "", settings_fingerprint(""), "")
    writer = CheckpointWriter(store, manifest, lambda: Snapshot({{}}, {{"x": np.ones(1_000_000)}}), forks=forks)
    writer.wait(60)
    return writer.problem
assert write(1, True) is None
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
for forks in (True, False):
    assert write(2, forks), "a file that can't be written must be reported"
    assert [one.epoch.number for one in store.newest_first("u")] == [1]
    assert next(store.newest_first("u")).read() is not None
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert write(3, True) is None
assert [one.epoch.number for one in store.newest_first("u")] == [3, 1]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


class Told:
    """Hears of checkpoints."""

    def __init__(self):
        self.said = []

    def on_checkpoint(self, unit, number, seconds, size):  # noqa: ARG002
        self.said.append(("kept", unit, number))

    def on_checkpoint_failed(self, unit):
        self.said.append(("failed", unit))

    def on_checkpoint_pause(self, seconds):
        assert seconds < 5


class Large:
    """A fold of so many series."""

    models = 1

    def __init__(self, series, dump=None):
        self.series = series
        self.dump = dump or (lambda: Snapshot({"pid": os.getpid()}, {}))


def unit_of(fold):
    unit = Unit("detect-0", fold, FINGERPRINT, 3, {"t": 9}, MANIFEST.epoch)
    unit.texts = {FINGERPRINT: "{}"}
    return {"detect-0": unit}


@pytest.mark.parametrize(("series", "forks"), [(FORKS_FROM_SERIES - 1, False), (FORKS_FROM_SERIES, True)])
def test_only_large_states_are_worth_a_fork(store, series, forks):
    """A small one is copied at once."""
    scheduler = CheckpointScheduler(store, CheckpointSettings(), ManualClock(), Told())
    scheduler.finish(unit_of(Large(series)))
    (kept,) = store.newest_first("detect-0")
    assert (kept.read().meta["pid"] != os.getpid()) == forks


def test_a_checkpoint_that_failed_is_tried_again(store, tmp_path):
    """An interval later; the service goes on meanwhile, and learns of both."""
    reported, clock = Told(), ManualClock()
    scheduler = CheckpointScheduler(store, CheckpointSettings(interval_s=60), clock, reported)
    fails = [True]

    def dump():
        if fails[0]:
            raise OSError("no room")
        return Snapshot({}, {})

    units = unit_of(Large(1, dump))
    scheduler.on_turn(units)
    clock.advance(61)
    scheduler.on_turn(units)
    scheduler.on_turn(units)
    assert reported.said == [("failed", "detect-0")]
    fails[0] = False
    clock.advance(61)
    scheduler.on_turn(units)
    scheduler._writer.wait(60)
    scheduler.on_turn(units)
    assert reported.said == [("failed", "detect-0"), ("kept", "detect-0", 3)]


def test_a_unit_that_is_not_settled_is_not_kept(store):
    """While its script is not done, or its last epoch is not in the log, its state stands for nothing."""
    for change in ({"replay_plan": [MANIFEST.epoch]}, {"number": 4}, {"last": None}):
        units = unit_of(Large(1))
        for name, value in change.items():
            setattr(units["detect-0"], name, value)
        CheckpointScheduler(store, CheckpointSettings(), ManualClock(), Told()).finish(units)
        assert list(store.newest_first("detect-0")) == []
