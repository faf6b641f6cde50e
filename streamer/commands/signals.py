"""How a command that goes on until it is stopped learns that it should."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets; the second interrupts whatever is under way."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop.set()
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)

    for each in SIGNALS:
        signal.signal(each, handle)
    return stop
