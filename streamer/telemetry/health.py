"""The health of the loop: liveness and readiness for supervisors, and a watchdog that ends a process that hangs.

Calls of the Kafka client that can block for ever have deadlines; the watchdog covers all other hangs.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from threading import Event, Thread

from streamer.clock import Clock
from streamer.errors import InDoubtError
from streamer.logs import log_of

STALLED_AFTER_S = 60.0  # without a turn of the loop, the process counts as dead ...
STUCK_AFTER_S = 300.0  # ... and without a folded record while records wait
HANGS_AFTER_S = 180.0  # far longer than any turn: reading a large state back or compiling kernels takes seconds
LOOK_EVERY_S = 5.0

log = log_of("telemetry")


class Health:
    """The time of the loop's last turn and of its last progress."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn_s = clock.monotonic_s()
        self._progress_s = self._turn_s
        self.is_ready = False  # state is recovered and live records are folded
        self.faults: dict[str, str] = {}  # topic -> why none of its records is understood

    def turned(self) -> None:
        """Record a turn of the loop; due at least every few seconds, during recovery too."""
        self._turn_s = self._clock.monotonic_s()

    def progressed(self) -> None:
        """Record that records were folded since the last call, or that none wait."""
        self._progress_s = self._clock.monotonic_s()

    def idle_s(self) -> float:
        """Seconds since the loop's last turn."""
        return self._clock.monotonic_s() - self._turn_s

    def liveness(self) -> tuple[bool, str]:
        """Whether the loop is alive, and a line with the reason."""
        if (idle_s := self.idle_s()) > STALLED_AFTER_S:
            return False, f"stalled: the loop has not turned for {idle_s:.0f} s (limit {STALLED_AFTER_S:.0f} s)"
        if (stuck_s := self._clock.monotonic_s() - self._progress_s) > STUCK_AFTER_S:
            return False, f"stuck: records wait and none was folded for {stuck_s:.0f} s (limit {STUCK_AFTER_S:.0f} s)"
        return True, "alive"

    def readiness(self) -> tuple[bool, str]:
        """Whether the service is ready, and a line with the reason; not while no record of a topic is understood."""
        if not self.is_ready:
            return False, "not ready: starting, recovering or stopping"
        faults = "; ".join(fault for _, fault in sorted(self.faults.items()))
        return not faults, f"not ready: {faults}" if faults else "ready"


class Watchdog:
    """Checks the loop from a thread of its own until `stop`."""

    def __init__(self, idle_s: Callable[[], float], hangs_after_s: float = HANGS_AFTER_S) -> None:
        """`idle_s` gives the seconds since the loop's last turn."""
        self._idle_s = idle_s
        self._hangs_after_s = hangs_after_s
        self._stopped = Event()
        Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop checking."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(LOOK_EVERY_S, self._hangs_after_s / 4)):
            if (idle_s := self._idle_s()) > self._hangs_after_s:
                log.critical("the loop has not turned for %.0f s, so this process ends; its threads:", idle_s)
                faulthandler.dump_traceback(sys.stderr)
                sys.stderr.flush()
                os._exit(InDoubtError.exit_code)
