"""A worker's process: started again and again, signalled, and gone when its tester is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

# Asks Linux for a SIGKILL when its parent dies, and becomes the command, under the same pid.
LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def itself(pid: int) -> int | None:
    """For a command that does the work itself: the process that was started."""
    return pid


def only_child(pid: int) -> int | None:
    """For a command that supervises: its child, the last started if there are several; None while there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[-1]) if children else None


class WorkerProcess:
    """`command` with its output added to `log_file`; signals go to the process that `victim` finds from its pid."""

    def __init__(
        self,
        command: list[str],
        log_file: Path,
        victim: Callable[[int], int | None] = itself,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._log_file, self._victim = command, log_file, victim
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the command while it runs."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the command runs, be it frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; from a thread that lives as long as the worker may, as Linux ends the worker with that thread."""
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def hurt(self, number: signal.Signals) -> int | None:
        """The pid of the process that got the signal, if there was one."""
        pid = self._victim(self._process.pid) if self._process is not None and self.running else None
        return pid if pid is not None and send(pid, number) else None

    def ended(self) -> int | None:
        """The exit code, once, when it has ended; its children are killed then."""
        if self._process is None or self._process.poll() is None:
            return None
        code = self._process.returncode
        self.kill_all()
        return code

    def kill_all(self) -> None:
        """Kill the command and everything that it has started, frozen or not."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def send(pid: int, number: signal.Signals) -> bool:
    """Whether there was a process to signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
