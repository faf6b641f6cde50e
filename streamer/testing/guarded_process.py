"""A process that never outlives this one; it runs under `process_guard.py`."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from streamer.testing import process_guard as supervisor

STOP_TIMEOUT_S = 20


class Supervised:
    """`command`, started at once, with its output added to `log_file`.

    When this process dies, however it dies, the command is killed and `folder` is removed.
    """

    def __init__(self, command: list[str], folder: Path, log_file: Path) -> None:
        script = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), *command]
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
