"""A real parent in this process, with real workers that do what a few lines of Python say."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from selectors import BaseSelector

from streamer.clock import Clock, SystemClock
from streamer.commands.console.signals import signals_as_bytes
from streamer.runtime.supervision.restart_policy import RestartLimits
from streamer.runtime.supervision.stderr_writer import StderrWriter
from streamer.runtime.supervision.supervisor import SIGNALS, Supervisor

PATIENCE_S = 30
HASTY = RestartLimits(first_delay_s=0.001, delay_max_s=0.002)

# What every script finds: `starts` counts the starts of this ordinal, this one included.
PRELUDE = """
import os, signal, sys
ordinal, link, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ordinal = int(ordinal) if ordinal.isdigit() else ordinal
def say(text):
    os.write(2, text.encode() + b"\\n")
def progress():
    os.write(link, b".")
def tell_parent(number):
    os.kill(os.getppid(), number)
def on_stop(function):
    signal.signal(signal.SIGTERM, lambda *_: function())
with open(f"{folder}/starts-{ordinal}", "ab+") as file:
    file.write(b".")
    starts = file.tell()
    file.flush()
"""


@contextmanager
def listening():
    """The writable end of a pipe, and what was written to it as bytes, whole once the block has ended."""
    readable, writable = os.pipe()
    heard = bytearray()

    def listen() -> None:
        while data := os.read(readable, 65_536):
            heard.extend(data)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield writable, heard
    finally:
        os.close(writable)
        listener.join(PATIENCE_S)
        os.close(readable)


@dataclass
class Parent:
    """Runs `script` in each worker, to the end of all; then holds the exit code and what was said."""

    folder: Path
    workers: int = 1
    companions: tuple[str, ...] = ()  # they run the script with their names as ordinals
    grace_s: float = PATIENCE_S
    limits: RestartLimits = HASTY
    clock: Clock = field(default_factory=SystemClock)
    selector: BaseSelector | None = None
    exit_code: int | None = None
    said: list[str] = field(default_factory=list)

    def run(self, script: str) -> Parent:
        def command_of(ordinal: int | str, fd: int) -> list[str]:
            return [sys.executable, "-I", "-S", "-c", PRELUDE + script, str(ordinal), str(fd), str(self.folder)]

        with listening() as (fd, heard):
            stderr = StderrWriter(fd)
            supervisor = Supervisor(
                command_of,
                stderr,
                self.clock,
                workers=self.workers,
                grace_s=self.grace_s,
                companions={name: lambda _, fd, name=name: command_of(name, fd) for name in self.companions},
                limits=self.limits,
                selector=self.selector,
            )
            with closing(stderr), signals_as_bytes(SIGNALS) as signals_fd:
                self.exit_code = supervisor.run(signals_fd)
        self.said = heard.decode().splitlines()
        return self

    def starts(self, ordinal: int | str = 0) -> int:
        """How often the worker was started."""
        return (self.folder / f"starts-{ordinal}").stat().st_size

    def own_words(self) -> str:
        return "\n".join(line for line in self.said if line.startswith("driftline: "))
