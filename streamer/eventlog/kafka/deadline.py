"""Deadlines for calls that may block for ever."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class DeadlineExceeded(Exception):  # noqa: N818  it is not always an error
    """The call did not return within its deadline; it may still run in its thread."""


def within(deadline_s: float, call: Callable[[], T]) -> T:
    """The result or error of `call`, or DeadlineExceeded after `deadline_s`.

    The call runs in a daemon thread. A thread can't be stopped, so after DeadlineExceeded the caller must not use
    anything again that the call has touched.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised in the caller's thread
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if errors:
        raise errors[0]
    if not results:
        raise DeadlineExceeded(f"no answer within {deadline_s:g} s")
    return results[0]
