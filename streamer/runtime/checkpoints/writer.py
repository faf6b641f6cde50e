"""Writes a checkpoint while the fold continues.

A child process writes a large state: `fork` gives it a frozen view of all memory within milliseconds, and the kernel
copies pages only as the fold changes them. A small state is copied at once, which is quicker than a fork. Either way a
thread does the rest: it waits for the child, hashes the file and passes it to the store.

A fork of a process with threads is safe here, because the child uses nothing that a thread could hold. It closes its
inherited descriptors, makes the snapshot, writes one file through Arrow and leaves by `_exit`: no log, no lock, no
network. Only the writer's own thread uses Arrow, and it is idle then. A child that hangs all the same is killed.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pyarrow as pa

from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.snapshot import Snapshot

CHILD_TIMEOUT_S: Final = 300.0
LOOK_EVERY_S: Final = 0.02
FIRST_OF_OURS: Final = 3  # file descriptors below are standard input and outputs
FDS_MAX: Final = 65_536


class CheckpointWriter:
    """One checkpoint being written."""

    def __init__(
        self,
        store: CheckpointStore,
        manifest: Manifest,
        dump: Callable[[], Snapshot],
        *,
        forks: bool,
        timeout_s: float = CHILD_TIMEOUT_S,
    ) -> None:
        """Start. After this returns the fold may continue: the checkpoint holds none of its further changes.

        `forks`: use a child process, for states that take long to copy. Raises OSError when it can't start.
        """
        self.unit = manifest.unit
        self.number = manifest.epoch.number
        self.problem: str | None = None  # why it failed, once it is done
        self.size = 0  # in bytes, once it is stored
        spool = store.spool(manifest.unit)
        try:
            finish = _forked(spool, dump, timeout_s) if forks else _copied(spool, dump)
        except BaseException:
            spool.unlink(missing_ok=True)
            raise
        self._thread = Thread(target=self._run, args=(store, manifest, spool, finish), name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it is stored or has failed."""
        return not self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s`; whether it is done."""
        self._thread.join(max(timeout_s, 0))
        return self.done

    def _run(self, store: CheckpointStore, manifest: Manifest, spool: Path, finish: Callable[[], None]) -> None:
        try:
            finish()
            self.size = store.publish(spool, manifest).bytes
        except Exception as problem:  # the service continues with its older checkpoints
            self.problem = f"{type(problem).__name__}: {problem}"
        finally:
            with suppress(OSError):
                spool.unlink(missing_ok=True)


def _copied(spool: Path, dump: Callable[[], Snapshot]) -> Callable[[], None]:
    data = dump().to_bytes()

    def finish() -> None:
        spool.write_bytes(data)

    return finish


def _forked(spool: Path, dump: Callable[[], Snapshot], timeout_s: float) -> Callable[[], None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads and fork, from Python 3.12 on; see above
        child = os.fork()
    if child == 0:
        _write_and_leave(spool, dump)

    def finish() -> None:
        status = _end_of(child, timeout_s)
        if status != 0:
            raise OSError(f"the process that wrote {spool} ended with {status}: is the disk full?")

    return finish


def _write_and_leave(spool: Path, dump: Callable[[], Snapshot]) -> Any:
    """The whole life of the child."""
    code = 1
    try:
        gc.disable()  # a collection writes to every object, and so copies all memory
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.closerange(FIRST_OF_OURS, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], FDS_MAX))
        with pa.OSFile(str(spool), "wb") as sink:
            dump().write(sink)
        code = 0
    finally:
        os._exit(code)


def _end_of(child: int, timeout_s: float) -> int:
    """The exit code of the child; one that exceeds `timeout_s` is killed."""
    waited_s = 0.0
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        time.sleep(LOOK_EVERY_S)
        waited_s += LOOK_EVERY_S
        if waited_s > timeout_s:
            os.kill(child, signal.SIGKILL)
            found = os.waitpid(child, 0)
            break
    return os.waitstatus_to_exitcode(found[1])
