"""One worker process as its parent sees it: started once, listened to, and cleared away when it has ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector
from typing import IO, Final

from streamer.supervision.line_buffer import Lines

READ_BYTES: Final = 65_536
REST_BYTES_MAX: Final = 2**20  # what a pipe may still hold after the worker's end

CommandOf = Callable[[int, int], Sequence[str]]
"""(ordinal, number of the worker's end of the socket) to the command that is the worker."""


class WorkerProcess:
    """A worker under way, in a session of its own, so that Ctrl-C in a terminal reaches its parent alone.

    `hear` gets each line that it says on standard error. What it listens to is registered with `selector`, each with a
    function to call when there is something to read. Raises OSError when the process can't be started.
    """

    def __init__(
        self, command_of: CommandOf, ordinal: int, selector: BaseSelector, hear: Callable[[bytes], None]
    ) -> None:
        self.progressed = False
        self._hear = hear
        self._lines = Lines()
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
        selector.register(self._stderr, EVENT_READ, self._listen)
        selector.register(self._socket, EVENT_READ, self._feel_the_pulse)

    def last_lines(self) -> list[str]:
        """The last lines that it said."""
        return self._lines.last()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing."""
        self._process.send_signal(number)

    def ended(self) -> int | None:
        """None while it runs; else its end as `subprocess` has it, once all it said is heard and all is closed."""
        returncode = self._process.poll()
        if returncode is not None:
            self._clear_away()
        return returncode

    def kill(self) -> None:
        """End it now and wait for that."""
        self._process.kill()
        self._process.wait()
        self._clear_away()

    def _listen(self) -> int:
        """Read once; returns how many bytes there were."""
        try:
            data = os.read(self._stderr.fileno(), READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._forget(self._stderr)
        for line in self._lines.feed(data):
            self._hear(line)
        return len(data)

    def _feel_the_pulse(self) -> int:
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._forget(self._socket)
        self.progressed = self.progressed or bool(data)
        return len(data)

    def _clear_away(self) -> None:
        """Hear what is left and close. A child of the worker may hold the other ends open: nothing waits for them."""
        if self._socket.fileno() < 0:
            return
        rest = 0
        while rest < REST_BYTES_MAX and (read := self._listen()):
            rest += read
        for line in self._lines.finish():
            self._hear(line)
        self._feel_the_pulse()
        for each in (self._stderr, self._socket):
            self._forget(each)
            each.close()

    def _forget(self, what: IO[bytes] | socket.socket) -> None:
        """An end that was reached would be reported for ever."""
        with suppress(KeyError):
            self._selector.unregister(what)
