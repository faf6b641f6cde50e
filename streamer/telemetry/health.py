"""The health of the loop: liveness and readiness for supervisors, and a watchdog that ends a process that hangs.

A process that systemd has started with `Type=notify` also sends both to the socket that systemd gives it.

Calls of the Kafka client that can block for ever have deadlines; the watchdog covers all other hangs.
"""

from __future__ import annotations

import faulthandler
import math
import os
import socket
import sys
from collections.abc import Callable, Mapping
from threading import Event, Thread

from streamer.clock import Clock
from streamer.errors import InDoubtError
from streamer.logs import log_of

STALLED_AFTER_S = 60.0  # without a turn of the loop, the process counts as dead ...
STUCK_AFTER_S = 300.0  # ... and without a folded record while records wait
HANGS_AFTER_S = 180.0  # far longer than any turn: reading a large state back or compiling kernels takes seconds
LOOK_EVERY_S = 5.0

log = log_of("telemetry")


class Systemd:
    """Messages to systemd, by the socket in `NOTIFY_SOCKET`; none without it. Source: sd_notify(3)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        is_asked = self._address and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_us = environ.get("WATCHDOG_USEC", "") if is_asked else ""
        self._every_s = int(limit_us) / 3e6 if limit_us.isdecimal() else math.inf
        self._next_s = -math.inf if limit_us.isdecimal() else math.inf  # monotonic

    def turned(self, now_s: float) -> None:
        """Send that the process is alive, three times within the limit of systemd's watchdog, if it has one."""
        if now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            self.send("WATCHDOG=1")

    def send(self, text: str) -> None:
        """Send assignments, one a line. A failure is logged: systemd then ends the process, at its own limit."""
        if not self._address:
            return
        path = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), path)
        except OSError as error:
            log.warning("systemd does not get %s: %s", text.replace("\n", ", "), error)


class Health:
    """The time of the loop's last turn and of its last progress."""

    def __init__(self, clock: Clock, environ: Mapping[str, str] = os.environ) -> None:
        self._clock, self._systemd = clock, Systemd(environ)
        self._turn_s = clock.monotonic_s()
        self._progress_s = self._turn_s
        self.is_ready = False  # state is recovered and live records are folded
        self.faults: dict[str, str] = {}  # topic -> why none of its records is understood

    def turned(self) -> None:
        """Record a turn of the loop; due at least every few seconds, during recovery too."""
        self._turn_s = self._clock.monotonic_s()
        self._systemd.turned(self._turn_s)

    def ready(self, is_ready: bool) -> None:
        """Record whether state is recovered and live records are folded."""
        if is_ready != self.is_ready:
            self._systemd.send("READY=1\nSTATUS=ready" if is_ready else "STATUS=recovering or stopping")
        self.is_ready = is_ready

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
