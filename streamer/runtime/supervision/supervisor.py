"""The supervisor of all workers: starts them, restarts them when they end, and stops them in order.

One thread waits in one place: the workers' log lines, their heartbeats, their ends (SIGCHLD) and the parent's signals
all arrive at one selector. Nothing else in the loop waits, so no worker waits for its parent.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import Final

from streamer.clock import Clock
from streamer.errors import InDoubtError
from streamer.runtime.supervision.restart_policy import (
    DONE,
    CompanionPolicy,
    End,
    RestartLimits,
    RestartPolicy,
    exit_code_of,
    give_up_message,
    how_it_ended,
    restart_message,
)
from streamer.runtime.supervision.stderr_writer import StderrWriter, named_line
from streamer.runtime.supervision.worker_process import CommandOf, WorkerProcess

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
INTERRUPTED: Final = 128 + signal.SIGINT
COULD_NOT_START: Final = 1
SIGNAL_BYTES: Final = 4096


@dataclass(slots=True)
class _Slot:
    """The slot of one worker or companion: its process, or the time of its next start (`due_s`, of the clock)."""

    ordinal: int
    name: str  # before its lines; "" for the only worker
    command_of: CommandOf
    restarts: RestartPolicy | CompanionPolicy
    process: WorkerProcess | None = None
    due_s: float | None = None
    exit_code: int = DONE  # of the slot's last process


class Supervisor:
    """Runs `workers` processes of `command_of(ordinal, fd)` until they are done, stopped, or given up.

    After a stop signal, workers have `grace_s` for their last commit. `limits` bounds the restarts of a worker.
    `companions` are further processes by name, such as the page: they restart for ever, and end with the workers.
    """

    def __init__(
        self,
        command_of: CommandOf,
        stderr: StderrWriter,
        clock: Clock,
        *,
        workers: int,
        grace_s: float,
        companions: Mapping[str, CommandOf] | None = None,
        limits: RestartLimits | None = None,
        selector: BaseSelector | None = None,
    ) -> None:
        self._stderr = stderr
        self._clock = clock
        self._grace_s = grace_s
        limits = limits or RestartLimits()
        self._workers = [
            _Slot(ordinal, f"worker {ordinal}" if workers > 1 else "", command_of, RestartPolicy(limits))
            for ordinal in range(workers)
        ]
        beside = (companions or {}).items()
        self._slots = [*self._workers, *(_Slot(0, name, of, CompanionPolicy(limits)) for name, of in beside)]
        self._selector = selector or DefaultSelector()
        self._ever_progressed = False
        self._ending = False
        self._exit_code = DONE
        self._kill_at_s: float | None = None

    def run(self, signals_fd: int) -> int:
        """Run until all workers have ended; returns the exit code. `SIGNALS` arrive as bytes on `signals_fd`."""
        self._selector.register(signals_fd, EVENT_READ, lambda: self._on_signals(os.read(signals_fd, SIGNAL_BYTES)))
        try:
            for slot in self._slots:
                self._start(slot)
            while self._under_way():
                for key, _ in self._selector.select(self._timeout_s()):
                    key.data()
                self._check_workers()
        finally:
            for process in self._processes():
                process.kill()
            self._selector.close()
        codes = [self._exit_code, *(slot.exit_code for slot in self._workers)]
        return next((code for code in codes if code != DONE), DONE)

    def _under_way(self) -> bool:
        return any(slot.process is not None or slot.due_s is not None for slot in self._slots)

    def _processes(self) -> list[WorkerProcess]:
        return [slot.process for slot in self._slots if slot.process is not None]

    def _timeout_s(self) -> float | None:
        """Seconds to the next start or the end of the grace time; None if only events can change anything."""
        due = [slot.due_s for slot in self._slots if slot.due_s is not None]
        if self._kill_at_s is not None:
            due.append(self._kill_at_s)
        return max(0.0, min(due) - self._clock.monotonic_s()) if due else None

    def _check_workers(self) -> None:
        """Handle ended processes, and start those that are due."""
        for slot in self._slots:
            if slot.process is not None and (returncode := slot.process.ended()) is not None:
                self._ended(slot, slot.process, returncode)
        now_s = self._clock.monotonic_s()
        for slot in self._slots:
            if slot.due_s is not None and slot.due_s <= now_s:
                self._start(slot)
        if self._kill_at_s is not None and self._kill_at_s <= now_s:
            self._end_of_grace()

    def _start(self, slot: _Slot) -> None:
        slot.due_s = None
        try:
            slot.process = WorkerProcess(
                slot.command_of,
                slot.ordinal,
                self._selector,
                lambda line: self._stderr.write(named_line(slot.name, line)),
            )
        except OSError as error:
            self._stderr.write_message(f"{self._name(slot)} can't be started: {error}")
            self._restart_or_end(slot, COULD_NOT_START, None)

    def _ended(self, slot: _Slot, process: WorkerProcess, returncode: int) -> None:
        slot.process = None
        self._ever_progressed = self._ever_progressed or process.progressed
        if self._ending:
            # A worker that got the signal before it could handle it had nothing to finish.
            slot.exit_code = DONE if returncode == -signal.SIGTERM else exit_code_of(returncode)
        else:
            self._restart_or_end(slot, returncode, process)

    def _restart_or_end(self, slot: _Slot, returncode: int, process: WorkerProcess | None) -> None:
        """Restart the worker or end all, by its policy. `process` is None if the worker could not start."""
        slot.exit_code = exit_code_of(returncode)
        decision = slot.restarts.ended(
            returncode,
            progressed=process is not None and process.progressed,
            ever_progressed=self._ever_progressed or any(other.progressed for other in self._processes()),
        )
        name, starts = self._name(slot), slot.restarts.starts_without_progress
        if not isinstance(decision, End):
            self._stderr.write_message(restart_message(name, returncode, decision.after_s, starts))
            slot.due_s = self._clock.monotonic_s() + decision.after_s
            return
        if decision.hopeless:
            self._stderr.write_message(
                give_up_message(name, returncode, starts, process.last_lines() if process else [])
            )
        elif len(self._slots) > 1:
            self._stderr.write_message(f"{name} {how_it_ended(returncode)}, so all workers end")
        self._end(decision.exit_code)

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGINT and self._ending:
                self._exit_code = self._exit_code or INTERRUPTED
                self._send(signal.SIGKILL)
            elif number != signal.SIGCHLD and not self._ending:
                if number == signal.SIGINT:
                    self._stderr.write_message("finishing the last commit; press Ctrl-C again to end at once")
                self._end(DONE)

    def _end(self, exit_code: int) -> None:
        """Ask all workers to finish."""
        self._ending, self._exit_code = True, exit_code
        self._kill_at_s = self._clock.monotonic_s() + self._grace_s
        for slot in self._slots:
            slot.due_s = None
        self._send(signal.SIGTERM)

    def _end_of_grace(self) -> None:
        self._kill_at_s = None
        for slot in self._slots:
            if slot.process is not None:
                self._stderr.write_message(
                    f"{self._name(slot)} did not finish within {self._grace_s:g} s and is killed. Its last commit may "
                    "be in doubt; the next start resolves that. --grace-s sets a longer time"
                )
        self._exit_code = self._exit_code or InDoubtError.exit_code
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes():
            process.send(number)

    def _name(self, slot: _Slot) -> str:
        return slot.name or "the worker"
