"""Calls that may block for ever, given a limit."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class DeadlineExceeded(Exception):  # noqa: N818  it says what happened, and it is not always an error
    """The call had not returned when its time was up; it may still go on in its thread."""


def within(deadline_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises, or Overrun after `deadline_s`.

    The call runs in a thread of its own that the interpreter does not wait for at exit: a thread can't be stopped, so
    whoever meets an Overrun should use nothing again that the call has touched.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to whoever waits
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if errors:
        raise errors[0]
    if not results:
        raise DeadlineExceeded(f"no answer within {deadline_s:g} s")
    return results[0]
