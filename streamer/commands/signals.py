"""How a command that goes on until it is stopped learns that it should."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets; a Ctrl-C after that interrupts whatever is under way.

    A second SIGTERM does not: some supervisors send each signal twice, and the impatient ones have SIGKILL.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for each in SIGNALS:
        signal.signal(each, handle)
    return stop
