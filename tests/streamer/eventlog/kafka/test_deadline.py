"""Calls under a limit."""

from __future__ import annotations

import threading

import pytest

from streamer.eventlog.kafka.deadline import DeadlineExceeded, within


def test_result_and_error_pass_through() -> None:
    """What the call returns or raises is what the caller gets."""
    assert within(5, lambda: 41 + 1) == 42
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_overrun_does_not_wait() -> None:
    """A call that hangs is left behind at its limit, in a thread that does not keep the process alive."""
    hung = threading.Event()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
        within(0.05, hung.wait)
    (thread,) = (t for t in threading.enumerate() if t.name.endswith("(run)"))
    assert thread.daemon
    hung.set()
    thread.join(5)
