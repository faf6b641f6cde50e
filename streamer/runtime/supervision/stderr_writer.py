"""Standard error, shared by all workers and their parent; writing to it never blocks.

A paused terminal or a full pipe must not stop the parent, and through it the workers. So a thread writes, and lines
wait for it in a bounded queue. A full queue drops whole lines and counts them.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Final

from streamer.clock import SystemClock
from streamer.logs import json_line, wants_json

WAITING_BYTES_MAX: Final = 4 * 2**20
WRITE_BYTES_MAX: Final = 65_536
LAST_WRITE_TIMEOUT_S: Final = 5.0


class StderrWriter:
    """Writes lines to a file descriptor, each whole and in the order in which they came."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="stderr-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Add a line, without its line break. Never waits; drops the line if the queue is full."""
        with self._changed:
            if self._bytes + len(line) + 1 > WAITING_BYTES_MAX:
                self._dropped += 1
                return
            self._report_dropped()
            self._append(line)
            self._changed.notify()

    def write_message(self, text: str) -> None:
        """Add a message of the parent, of one line or more; one object where logs are JSON."""
        if wants_json():
            self.write(json_line("info", "supervision", text, SystemClock().now_s()).encode("utf-8", "replace"))
            return
        for line in f"driftline: {text}".splitlines():
            self.write(line.encode("utf-8", "replace"))

    def close(self) -> None:
        """Write the waiting lines and end; gives up after `LAST_WRITE_TIMEOUT_S` if the reader blocks."""
        with self._changed:
            self._report_dropped()
            self._closing = True
            self._changed.notify()
        self._thread.join(LAST_WRITE_TIMEOUT_S)

    def _append(self, line: bytes) -> None:
        self._waiting.append(line + b"\n")
        self._bytes += len(line) + 1

    def _report_dropped(self) -> None:
        if self._dropped:
            self._append(b"driftline: %d lines dropped here, because standard error was not read" % self._dropped)
            self._dropped = 0

    def _write_all(self) -> None:
        is_open = True
        while (data := self._next()) is not None:
            # The service runs on without a reader; its lines are discarded.
            is_open = is_open and _write(self._fd, data)

    def _next(self) -> bytes | None:
        """The next lines as one piece; waits for them. None when all lines are written after `close`."""
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
    """Write all of `data`, however long that takes; False when the descriptor is closed."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # another program has made the terminal non-blocking
            select.select([], [fd], [])
        except OSError:
            return False
    return True


def named_line(process: str, line: bytes) -> bytes:
    """A line of one of several processes, such as "worker 3" or "ui": a field of an object, or before the text.

    "" is the only process, whose line stays as it is.
    """
    if not process:
        return line
    if line.startswith(b'{"') and wants_json():
        kind, _, number = process.partition(" ")
        field = f'"{kind}": {number}' if number else f'"process": "{kind}"'
        return b"{%s, " % field.encode() + line[1:]
    return process.encode() + b": " + line
