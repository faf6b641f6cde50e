"""Standard error, shared by all workers and their parent, without ever waiting for whoever reads it.

A terminal that was paused, or a full pipe, must not hold up the parent, and through it the workers. So a thread writes,
and lines wait for it in a bounded queue. When the queue is full, whole lines are left out and counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Final

WAITING_BYTES_MAX: Final = 4 * 2**20
WRITE_BYTES_MAX: Final = 65_536
LAST_WRITE_TIMEOUT_S: Final = 5.0


class Outlet:
    """Writes lines to a file descriptor, each whole and in the order in which they came."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._left_out = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="outlet", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Add a line, without its line break. Never waits for the reader; with too many lines waiting, drops it."""
        with self._changed:
            if self._bytes + len(line) + 1 > WAITING_BYTES_MAX:
                self._left_out += 1
                return
            self._tell_what_was_left_out()
            self._append(line)
            self._changed.notify()

    def say(self, text: str) -> None:
        """Add a text of our own, of one line or more."""
        for line in f"driftline: {text}".splitlines():
            self.write(line.encode("utf-8", "replace"))

    def close(self) -> None:
        """Write what waits and end; gives up after `LAST_WRITE_TIMEOUT_S` if nobody reads."""
        with self._changed:
            self._tell_what_was_left_out()
            self._closing = True
            self._changed.notify()
        self._thread.join(LAST_WRITE_TIMEOUT_S)

    def _append(self, line: bytes) -> None:
        self._waiting.append(line + b"\n")
        self._bytes += len(line) + 1

    def _tell_what_was_left_out(self) -> None:
        if self._left_out:
            self._append(b"driftline: lines left out here, as nobody read them: %d" % self._left_out)
            self._left_out = 0

    def _write_all(self) -> None:
        somebody_reads = True
        while (data := self._next()) is not None:
            # Without a reader there is still a service to run: what is said is taken and forgotten.
            somebody_reads = somebody_reads and _write(self._fd, data)

    def _next(self) -> bytes | None:
        """The next lines as one piece; waits for them. None when all is written and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            taken: list[bytes] = []
            size = 0
            while self._waiting and (not taken or size + len(self._waiting[0]) <= WRITE_BYTES_MAX):
                taken.append(self._waiting.popleft())
                size += len(taken[-1])
            self._bytes -= size
            return b"".join(taken) or None


def _write(fd: int, data: bytes) -> bool:
    """Write all of it, however long that takes; False when there is nobody to read it."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # another program has made the terminal non-blocking
            select.select([], [fd], [])
        except OSError:
            return False
    return True
