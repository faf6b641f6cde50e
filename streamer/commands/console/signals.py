"""Signals that stop a running command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets; a second Ctrl-C interrupts the process.

    A second SIGTERM does not, as some supervisors send each signal twice.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for each in SIGNALS:
        signal.signal(each, handle)
    return stop


@contextmanager
def signals_as_bytes(numbers: Iterable[signal.Signals]) -> Iterator[int]:
    """A file descriptor, not blocking, on which each signal arrives as a byte with its number, until the block ends.

    A loop can so wait for signals and other input in one place, without losing any. For the main thread only.
    """
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    woken = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _do_nothing) for number in numbers}
    try:
        yield readable
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.close(readable)
        os.close(writable)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Python writes the byte only for signals with a Python handler."""
