"""The parent from the worker's side: one socket that carries progress to the parent and shows the parent's end.

Only the parent holds the other end. When the parent ends, by SIGKILL too, the worker reads an end of file and stops.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Final

from streamer.clock import Clock
from streamer.errors import InDoubtError, UsageError
from streamer.logs import log_of

HEARTBEAT_S: Final = 1.0
HEARTBEAT = b"."

log = log_of("supervision")


class ParentLink:
    """Reports progress to the parent, and sets `stop` when the parent is gone.

    `fd` is the worker's end of the socket. A worker that has not stopped `grace_s` after its parent's end exits at
    once: it must not run unsupervised. Raises `UsageError` when `fd` is no socket.
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
        self._next_heartbeat_s = clock.monotonic_s()
        threading.Thread(target=self._watch, name="parent-link", daemon=True).start()

    def progressed(self) -> None:
        """Send a heartbeat, at most once in `HEARTBEAT_S`. Never waits: a full socket drops it."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_heartbeat_s:
            return
        self._next_heartbeat_s = now_s + HEARTBEAT_S
        with suppress(OSError):
            self._socket.send(HEARTBEAT, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with suppress(OSError):  # the parent ended without reading the last heartbeat
            while self._socket.recv(1):
                pass
        log.warning("the parent process is gone; stopping")
        self._stop.set()
        threading.Event().wait(self._grace_s)
        os._exit(InDoubtError.exit_code)
