"""One worker process, from both sides of its socket.

The parent's side starts it once, reads from it, and cleans up after its end. The worker's side carries progress to the
parent and shows the parent's end: only the parent holds the other end, so when the parent ends, by SIGKILL too, the
worker reads an end of file and stops.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector
from typing import IO, Final

from streamer.clock import Clock
from streamer.errors import InDoubtError, UsageError
from streamer.logs import log_of

READ_BYTES: Final = 65_536
REST_BYTES_MAX: Final = 2**20  # what a pipe may still hold after the worker's end

LINE_BYTES_MAX: Final = 65_536  # a longer line becomes several
LAST_LINES: Final = 20
LAST_LINE_BYTES_MAX: Final = 2_000  # of a line that is kept for the give-up message

CommandOf = Callable[[int, int], Sequence[str]]
"""(ordinal, number of the worker's end of the socket) to the command that is the worker."""


class WorkerProcess:
    """A running worker, in a session of its own, so that Ctrl-C in a terminal reaches its parent alone.

    `on_line` gets each line of its standard error. `selector` gets its standard error and its socket, each with the
    function to call when there is something to read. Raises OSError when the process can't be started.
    """

    def __init__(
        self, command_of: CommandOf, ordinal: int, selector: BaseSelector, on_line: Callable[[bytes], None]
    ) -> None:
        self.progressed = False
        self._on_line = on_line
        self._lines = LineBuffer()
        self._selector = selector
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 -- our own command, by its whole path
                    command_of(ordinal, theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        assert self._process.stderr is not None  # noqa: S101 -- for the type checker
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        selector.register(self._stderr, EVENT_READ, self._read_lines)
        selector.register(self._socket, EVENT_READ, self._read_heartbeat)

    def last_lines(self) -> list[str]:
        """The last lines of its standard error."""
        return self._lines.last()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing."""
        self._process.send_signal(number)

    def ended(self) -> int | None:
        """None while it runs; else its return code, after its output is read and its descriptors are closed."""
        returncode = self._process.poll()
        if returncode is not None:
            self._clean_up()
        return returncode

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.wait()
        self._clean_up()

    def _read_lines(self) -> int:
        """Read standard error once; returns the number of bytes."""
        try:
            data = os.read(self._stderr.fileno(), READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._unregister(self._stderr)
        for line in self._lines.feed(data):
            self._on_line(line)
        return len(data)

    def _read_heartbeat(self) -> int:
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._unregister(self._socket)
        self.progressed = self.progressed or bool(data)
        return len(data)

    def _clean_up(self) -> None:
        """Read the rest and close, without waiting: a child of the worker may hold the other ends open."""
        if self._socket.fileno() < 0:
            return
        rest = 0
        while rest < REST_BYTES_MAX and (read := self._read_lines()):
            rest += read
        for line in self._lines.finish():
            self._on_line(line)
        self._read_heartbeat()
        for each in (self._stderr, self._socket):
            self._unregister(each)
            each.close()

    def _unregister(self, what: IO[bytes] | socket.socket) -> None:
        """Stop watching it: a selector reports an end of file for ever."""
        with suppress(KeyError):
            self._selector.unregister(what)


class LineBuffer:
    """Bytes in, whole lines out, without their line breaks. Holds one unfinished line and the last few finished."""

    def __init__(self) -> None:
        self._begun = b""
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` finishes, in order."""
        *ended, rest = (self._begun + data).split(b"\n")
        lines = [piece for line in ended for piece in _pieces(line)]
        *too_much, self._begun = _pieces(rest)
        return self._kept(lines + too_much)

    def finish(self) -> list[bytes]:
        """The unfinished last line, if there is one."""
        rest, self._begun = self._begun, b""
        return self._kept([rest] if rest else [])

    def last(self) -> list[str]:
        """The last `LAST_LINES` lines as text; long ones are cut short."""
        return [line.decode("utf-8", "replace") for line in self._last]

    def _kept(self, lines: list[bytes]) -> list[bytes]:
        for line in lines[-LAST_LINES:]:
            self._last.append(line if len(line) <= LAST_LINE_BYTES_MAX else line[:LAST_LINE_BYTES_MAX] + b" ...")
        return lines


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_BYTES_MAX] for at in range(0, len(line) or 1, LINE_BYTES_MAX)]


HEARTBEAT_S: Final = 1.0
HEARTBEAT = b"."

log = log_of("supervision")


class ParentLink:
    """Reports progress to the parent, and sets `stop` when the parent is gone.

    `fd` is the worker's end of the socket. A worker that has not stopped `grace_s` after its parent's end exits at
    once: it must not run unsupervised. Raises `UsageError` when `fd` is no socket.
    """

    def __init__(self, fd: int, stop: threading.Event, grace_s: float, clock: Clock) -> None:
        try:
            self._socket = socket.socket(fileno=fd)
        except OSError as error:
            raise UsageError(f"--progress-fd {fd} is for `driftline run` itself: {error.strerror or error}") from None
        self._socket.set_inheritable(False)
        self._stop = stop
        self._grace_s = grace_s
        self._clock = clock
        self._next_heartbeat_s = clock.monotonic_s()
        threading.Thread(target=self._watch, name="parent-link", daemon=True).start()

    def progressed(self) -> None:
        """Send a heartbeat, at most once in `HEARTBEAT_S`. Never waits: a full socket drops it."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_heartbeat_s:
            return
        self._next_heartbeat_s = now_s + HEARTBEAT_S
        with suppress(OSError):
            self._socket.send(HEARTBEAT, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with suppress(OSError):  # the parent ended without reading the last heartbeat
            while self._socket.recv(1):
                pass
        log.warning("the parent process is gone; stopping")
        self._stop.set()
        threading.Event().wait(self._grace_s)
        os._exit(InDoubtError.exit_code)
