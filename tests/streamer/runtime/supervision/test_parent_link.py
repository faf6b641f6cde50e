"""The parent as a worker sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.errors import UsageError
from streamer.runtime.supervision.worker_process import HEARTBEAT_S, ParentLink

FOREVER_S = 3600


@pytest.fixture
def ends():
    """The parent's end of a socket, and the number of the worker's."""
    ours, theirs = socket.socketpair()
    with ours:
        yield ours, theirs.detach()


def test_progress_is_told_once_a_second(ends):
    """The first time at once, then nothing until a second is over, however often there is progress."""
    parent, fd = ends
    clock = ManualClock()
    link = ParentLink(fd, threading.Event(), FOREVER_S, clock)
    heard = []
    for elapsed_s in (0.0, 0.4 * HEARTBEAT_S, 0.5 * HEARTBEAT_S, 0.1 * HEARTBEAT_S, 0.0):
        clock.advance(elapsed_s)
        link.progressed()
        parent.setblocking(False)
        try:
            heard.append(len(parent.recv(100)))
        except BlockingIOError:
            heard.append(0)
    assert heard == [1, 0, 0, 1, 0]


def test_a_parent_that_does_not_listen_holds_up_nobody(ends):
    """A hundred thousand heartbeats that nobody takes are sent or forgotten at once."""
    _, fd = ends
    clock = ManualClock()
    link = ParentLink(fd, threading.Event(), FOREVER_S, clock)
    for _ in range(100_000):
        clock.advance(HEARTBEAT_S)
        link.progressed()


@pytest.mark.parametrize("unread", [False, True])
def test_the_parents_end_stops_the_worker(ends, unread):
    """Also when it went without reading the last heartbeat."""
    parent, fd = ends
    stop = threading.Event()
    link = ParentLink(fd, stop, FOREVER_S, ManualClock())
    if unread:
        link.progressed()
    assert not stop.wait(0.05)
    parent.close()
    assert stop.wait(10)
    link.progressed()  # to nobody


def test_only_the_parent_holds_the_other_end(ends):
    """A process that the worker starts does not inherit its end of the socket."""
    _, fd = ends
    os.set_inheritable(fd, True)  # as the parent passes it on
    ParentLink(fd, threading.Event(), FOREVER_S, ManualClock())
    looked = subprocess.run([sys.executable, "-c", f"import os; os.fstat({fd})"], close_fds=False, capture_output=True)
    assert b"Bad file descriptor" in looked.stderr


def test_a_worker_that_can_not_stop_ends_all_the_same(ends):
    """After the grace time the process ends with 75, whatever its main thread does."""
    parent, fd = ends
    script = f"""
import threading, time
from streamer.clock import SystemClock
from streamer.runtime.supervision.worker_process import ParentLink
ParentLink({fd}, threading.Event(), 0.05, SystemClock())
time.sleep(20)
"""
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=[fd], stderr=subprocess.PIPE) as worker:
        socket.socket(fileno=fd).close()
        parent.close()
        _, reported = worker.communicate(timeout=30)
    assert worker.returncode == 75
    assert b"the parent process is gone; stopping" in reported


def test_a_number_that_is_no_socket_is_refused():
    """The option is not for people, and says so."""
    with Path("/dev/null").open() as file, pytest.raises(UsageError, match="--progress-fd"):
        ParentLink(file.fileno(), threading.Event(), FOREVER_S, ManualClock())
