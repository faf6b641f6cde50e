"""A process that never outlives this one: `Supervised`, and the script between the two.

The script is this very file, with no imports of ours:

    python -I -S process_guard.py FOLDER COMMAND…

It prints the pid of the command on its standard output, then reads signal numbers, one a line, from its standard input
and passes them on. When that input ends (the requester closed it or died, by SIGKILL too), the command is killed
and FOLDER removed. Both outputs of the command go to standard error. The guard ends when the command ends. If
the guard itself is killed, Linux kills the command (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

STOP_TIMEOUT_S = 20
PR_SET_PDEATHSIG = 1
ORPHAN_CHECK_S = 1.0
LIBC = ctypes.CDLL(None)

# Whoever holds it ends the process; the other waits for that.
the_end = threading.Lock()


def main(folder: str, command: list[str]) -> int:
    """Run `command` until it ends, gets a stop signal or loses its requester; returns its exit code."""
    asker = os.getppid()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # The main thread starts the command and stays: PR_SET_PDEATHSIG is about the thread that forked, not its process.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_die_with_parent)  # noqa: S603
    print(child.pid, flush=True)
    for watch in (_obey, _watch_for_orphanhood):
        threading.Thread(target=watch, args=(child, asker, folder), daemon=True).start()
    code = child.wait()
    the_end.acquire()
    return code


def _die_with_parent() -> None:
    """In the child, before the command runs: restore signals, and let Linux kill it with its parent."""
    for default in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(default, signal.SIG_DFL)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _obey(child: subprocess.Popen[bytes], _asker: int, folder: str) -> None:
    for line in sys.stdin:
        child.send_signal(int(line))
    _end(child, folder)


def _watch_for_orphanhood(child: subprocess.Popen[bytes], asker: int, folder: str) -> None:
    """A forked child of the requester keeps the input open after its death; the parent's pid changes all the same."""
    while os.getppid() == asker:
        threading.Event().wait(ORPHAN_CHECK_S)
    _end(child, folder)


def _end(child: subprocess.Popen[bytes], folder: str) -> None:
    the_end.acquire()
    child.kill()
    child.wait()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


class Supervised:
    """`command`, started at once, with its output added to `log_file`.

    When this process dies, however it dies, the command is killed and `folder` is removed.
    """

    def __init__(self, command: list[str], folder: Path, log_file: Path) -> None:
        script = [sys.executable, "-I", "-S", __file__, str(folder), *command]
        pipe = subprocess.PIPE
        with log_file.open("ab") as log:
            # A session of its own, so that Ctrl-C in a terminal reaches this process alone, which stops it in order.
            self._process = subprocess.Popen(  # noqa: S603
                script, stdin=pipe, stdout=pipe, stderr=log, text=True, start_new_session=True
            )
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self.pid = int(self._answers.readline() or 0) if self._answers else 0

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command; to one that has ended, nothing."""
        if self._orders is not None:
            with suppress(BrokenPipeError):
                self._orders.write(f"{int(number)}\n")
                self._orders.flush()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the command ended within the timeout."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends the command, and if it is still there after `STOP_TIMEOUT_S`, SIGKILL."""
        self.send(number)
        if not self.wait(STOP_TIMEOUT_S):
            self.send(signal.SIGKILL)
            self.wait()
        for pipe in (self._orders, self._answers):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


if __name__ == "__main__":
    # Not `sys.exit`: the thread that waits for input must not delay the end.
    os._exit(main(sys.argv[1], sys.argv[2:]) & 0xFF)
