"""The parent as a worker sees it: one socket, on which the worker tells its progress and learns of the parent's end.

Only the parent holds the other end, so when it goes, by SIGKILL too, the worker reads an end of file here, and stops.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from typing import Final

from streamer.clock import Clock
from streamer.errors import InDoubtError, UsageError

PULSE_S: Final = 1.0
PULSE = b"."

log = logging.getLogger(__name__)


class ParentLink:
    """Tells the parent of progress, and sets `stop` when the parent is gone.

    `fd` is the worker's end of the socket. A worker that can't stop within `grace_s` after its parent's end ends at
    once, as a process that nobody looks after must not go on. Raises `UsageError` when `fd` is no socket.
    """

    def __init__(self, fd: int, stop: threading.Event, grace_s: float, clock: Clock) -> None:
        try:
            self._socket = socket.socket(fileno=fd)
        except OSError as error:
            raise UsageError(f"--progress-fd {fd} is for `driftline run` itself: {error.strerror or error}") from None
        self._socket.set_inheritable(False)
        self._stop = stop
        self._grace_s = grace_s
        self._clock = clock
        self._next_pulse_s = clock.monotonic_s()
        threading.Thread(target=self._watch, name="parent-link", daemon=True).start()

    def progressed(self) -> None:
        """Tell the parent, at most once in `PULSE_S`. Never waits: a parent that reads nothing has been told enough."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_pulse_s:
            return
        self._next_pulse_s = now_s + PULSE_S
        with suppress(OSError):
            self._socket.send(PULSE, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with suppress(OSError):  # the parent went without reading the last pulse
            while self._socket.recv(1):
                pass
        log.warning("the parent process is gone; stopping")
        self._stop.set()
        threading.Event().wait(self._grace_s)
        os._exit(InDoubtError.exit_code)
