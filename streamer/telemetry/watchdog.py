"""Ends a process whose loop hangs, so that a fresh one can go on.

Calls to the client have deadlines where it is known to block for ever; this is for what nobody foresaw.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from threading import Event, Thread

from streamer.errors import InDoubtError

HANGS_AFTER_S = 180.0  # far longer than any turn: reading a large state back or compiling kernels takes seconds
LOOK_EVERY_S = 5.0

log = logging.getLogger(__name__)


class Watchdog:
    """Watches from a thread of its own until it is stopped."""

    def __init__(self, idle_s: Callable[[], float], hangs_after_s: float = HANGS_AFTER_S) -> None:
        """`idle_s` says for how long the loop has not turned."""
        self._idle_s = idle_s
        self._hangs_after_s = hangs_after_s
        self._stopped = Event()
        Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(LOOK_EVERY_S, self._hangs_after_s / 4)):
            if (idle_s := self._idle_s()) > self._hangs_after_s:
                log.critical("the loop has hung for %.0f s, so this process ends; where it hangs:", idle_s)
                faulthandler.dump_traceback(sys.stderr)
                sys.stderr.flush()
                os._exit(InDoubtError.exit_code)
