"""A process that runs a few steps at a time and can be killed between any two of them.

Each process has a thread, and one thread at most is awake: the scheduler says whose turn it is and for how many steps.
So everything that happens is a function of the scheduler's choices.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread


class Crash(BaseException):
    """kill -9: nothing of the process runs any more, not even an `except Exception`."""


class Process:
    """Runs `work`, which calls `step` wherever it may be interrupted."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.error: BaseException | None = None  # what it ended of, if not by being killed
        self.ended = False
        self.steps = 0  # taken so far
        self._budget = 0
        self._killed = False
        self._mine, self._others = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def run(self, steps: int) -> None:
        """Let it take so many steps, or fewer if it ends or rests before."""
        self._budget = steps
        self._hand_over()

    def kill(self) -> None:
        """End it where it stands."""
        if not self.ended:
            self._killed = True
            self._hand_over()

    def step(self) -> None:
        """A moment at which the process may be interrupted or killed. For the process itself."""
        if self._killed:
            raise Crash
        self.steps += 1
        self._budget -= 1
        if self._budget < 0:
            self._wait()

    def rest(self) -> None:
        """The end of this turn, whatever is left of it. For the process itself."""
        self._budget = 0
        self.step()

    def _hand_over(self) -> None:
        self._mine.release()
        self._others.acquire()
        if self.ended:
            self._thread.join()

    def _wait(self) -> None:
        self._others.release()
        self._mine.acquire()
        if self._killed:
            raise Crash

    def _run(self, work: Callable[[], None]) -> None:
        self._mine.acquire()
        try:
            if not self._killed:
                work()
        except Crash:
            pass
        except BaseException as error:  # reported to whoever looks
            self.error = error
        self.ended = True
        self._others.release()
