"""The parent of all workers: starts them, starts them again when they end, and ends them in order.

One thread and one place to wait in: what workers say, their progress, their ends (SIGCHLD) and signals for the parent
all arrive at one selector. Nothing in the loop waits for anything else, so no worker waits for its parent.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import Final

from streamer.clock import Clock
from streamer.errors import InDoubtError
from streamer.supervision import messages as words
from streamer.supervision.restart_policy import DONE, End, RestartLimits, Restarts, exit_code_of
from streamer.supervision.stderr_writer import Outlet
from streamer.supervision.worker_process import CommandOf, WorkerProcess

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
INTERRUPTED: Final = 128 + signal.SIGINT
COULD_NOT_START: Final = 1
SIGNAL_BYTES: Final = 4096


@dataclass(slots=True)
class _Slot:
    """A worker's place: the process that holds it, or when the next one is due (seconds of the clock)."""

    ordinal: int
    restarts: Restarts
    process: WorkerProcess | None = None
    due_s: float | None = None
    exit_code: int = DONE  # of the last process that ended here


class Supervisor:
    """Runs `workers` processes of `command_of(ordinal, fd)` until they are done, told to stop, or hopeless.

    Told to stop, workers have `grace_s` for their last commit. `limits` says how patiently a worker is started again.
    """

    def __init__(
        self,
        command_of: CommandOf,
        outlet: Outlet,
        clock: Clock,
        *,
        workers: int,
        grace_s: float,
        limits: RestartLimits | None = None,
        selector: BaseSelector | None = None,
    ) -> None:
        self._command_of = command_of
        self._outlet = outlet
        self._clock = clock
        self._grace_s = grace_s
        self._seats = [_Slot(ordinal, Restarts(limits or RestartLimits())) for ordinal in range(workers)]
        self._selector = selector or DefaultSelector()
        self._ever_progressed = False
        self._ending = False
        self._exit_code = DONE
        self._kill_at_s: float | None = None

    def run(self, signals_fd: int) -> int:
        """Until all workers have ended; returns the exit code. Signals (`SIGNALS`) come as bytes on `signals_fd`."""
        self._selector.register(signals_fd, EVENT_READ, lambda: self._obey(os.read(signals_fd, SIGNAL_BYTES)))
        try:
            for seat in self._seats:
                self._start(seat)
            while self._under_way():
                for key, _ in self._selector.select(self._timeout_s()):
                    key.data()
                self._look_after()
        finally:
            for process in self._processes():
                process.kill()
            self._selector.close()
        codes = [self._exit_code, *(seat.exit_code for seat in self._seats)]
        return next((code for code in codes if code != DONE), DONE)

    def _under_way(self) -> bool:
        return any(seat.process is not None or seat.due_s is not None for seat in self._seats)

    def _processes(self) -> list[WorkerProcess]:
        return [seat.process for seat in self._seats if seat.process is not None]

    def _timeout_s(self) -> float | None:
        """Until the next start or the end of the grace time; None when only news can change anything."""
        due = [seat.due_s for seat in self._seats if seat.due_s is not None]
        if self._kill_at_s is not None:
            due.append(self._kill_at_s)
        return max(0.0, min(due) - self._clock.monotonic_s()) if due else None

    def _look_after(self) -> None:
        """See whose process has ended, and what is due."""
        for seat in self._seats:
            if seat.process is not None and (returncode := seat.process.ended()) is not None:
                self._ended(seat, seat.process, returncode)
        now_s = self._clock.monotonic_s()
        for seat in self._seats:
            if seat.due_s is not None and seat.due_s <= now_s:
                self._start(seat)
        if self._kill_at_s is not None and self._kill_at_s <= now_s:
            self._end_of_grace()

    def _start(self, seat: _Slot) -> None:
        seat.due_s = None
        prefix = f"worker {seat.ordinal}: ".encode() if len(self._seats) > 1 else b""
        try:
            seat.process = WorkerProcess(
                self._command_of, seat.ordinal, self._selector, lambda line: self._outlet.write(prefix + line)
            )
        except OSError as error:
            self._outlet.say(f"{self._name(seat)} can't be started: {error}")
            self._go_on(seat, COULD_NOT_START, None)

    def _ended(self, seat: _Slot, process: WorkerProcess, returncode: int) -> None:
        seat.process = None
        self._ever_progressed = self._ever_progressed or process.progressed
        if self._ending:
            # One that was told before it could listen had nothing to finish.
            seat.exit_code = DONE if returncode == -signal.SIGTERM else exit_code_of(returncode)
        else:
            self._go_on(seat, returncode, process)

    def _go_on(self, seat: _Slot, returncode: int, process: WorkerProcess | None) -> None:
        """Start the worker again, or end everything. `process` is None where there was none to begin with."""
        seat.exit_code = exit_code_of(returncode)
        decision = seat.restarts.ended(
            returncode,
            progressed=process is not None and process.progressed,
            ever_progressed=self._ever_progressed or any(other.progressed for other in self._processes()),
        )
        name, fruitless = self._name(seat), seat.restarts.fruitless
        if not isinstance(decision, End):
            self._outlet.say(words.starting_again(name, returncode, decision.after_s, fruitless))
            seat.due_s = self._clock.monotonic_s() + decision.after_s
            return
        if decision.hopeless:
            self._outlet.say(words.last_word(name, returncode, fruitless, process.last_lines() if process else []))
        elif len(self._seats) > 1:
            self._outlet.say(f"{name} {words.how_it_ended(returncode)}, so all workers end")
        self._end(decision.exit_code)

    def _obey(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGINT and self._ending:
                self._exit_code = self._exit_code or INTERRUPTED
                self._send(signal.SIGKILL)
            elif number != signal.SIGCHLD and not self._ending:
                if number == signal.SIGINT:
                    self._outlet.say("finishing what is under way; Ctrl-C again ends at once")
                self._end(DONE)

    def _end(self, exit_code: int) -> None:
        """Tell all workers to finish."""
        self._ending, self._exit_code = True, exit_code
        self._kill_at_s = self._clock.monotonic_s() + self._grace_s
        for seat in self._seats:
            seat.due_s = None
        self._send(signal.SIGTERM)

    def _end_of_grace(self) -> None:
        self._kill_at_s = None
        for seat in self._seats:
            if seat.process is not None:
                self._outlet.say(
                    f"{self._name(seat)} did not finish within {self._grace_s:g} s and is killed. Its last commit may "
                    "be in doubt; the next start finds out. --grace-s gives it longer"
                )
        self._exit_code = self._exit_code or InDoubtError.exit_code
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes():
            process.send(number)

    def _name(self, seat: _Slot) -> str:
        return f"worker {seat.ordinal}" if len(self._seats) > 1 else "the worker"
