"""What a process sends to systemd: that it is ready, and that it is alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from streamer.clock import ManualClock
from streamer.telemetry.health import Health


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path) -> Iterator[socket.socket]:
    """The socket of a service manager, as `Type=notify` makes one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"{tmp_path}/notify" if request.param == "a path" else f"\0driftline-{os.getpid()}")
        made.settimeout(10)
        yield made


def environ(manager: socket.socket, **more: str) -> dict[str, str]:
    name = manager.getsockname()
    return {"NOTIFY_SOCKET": f"@{name[1:].decode()}" if isinstance(name, bytes) else name, **more}


def got(manager: socket.socket) -> list[str]:
    """All messages since the last call."""
    manager.setblocking(False)
    found = []
    try:
        while True:
            found.append(manager.recv(4096).decode())
    except BlockingIOError:
        return found


def test_a_start_is_over_when_the_process_is_ready(manager):
    """READY=1 comes once state is recovered, not before, and again only after a recovery."""
    health = Health(ManualClock(), environ(manager))
    health.turned()
    health.ready(False)
    assert got(manager) == []
    health.ready(True)
    health.ready(True)
    assert got(manager) == ["READY=1\nSTATUS=ready"]
    health.ready(False)
    health.ready(True)
    assert got(manager) == ["STATUS=recovering or stopping", "READY=1\nSTATUS=ready"]


def test_turns_feed_the_watchdog(manager):
    """A loop that turns sends WATCHDOG=1 three times within the limit; one that stands still sends nothing."""
    clock = ManualClock()
    health = Health(clock, environ(manager, WATCHDOG_USEC="180000000", WATCHDOG_PID=str(os.getpid())))
    for _ in range(180):
        clock.advance(1)
        health.turned()
    assert got(manager) == ["WATCHDOG=1"] * 3
    clock.advance(1_000)
    assert got(manager) == []


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}], ids=str
)
def test_a_watchdog_that_is_not_ours_is_not_fed(manager, more):
    """Without a limit, or with that of another process, turns send nothing."""
    health = Health(ManualClock(), environ(manager, **more))
    health.turned()
    assert got(manager) == []


def test_without_systemd_nothing_is_sent_and_a_dead_socket_is_logged(tmp_path, caplog):
    """Elsewhere there is no socket; one that nobody listens at is a line of the log, and the process goes on."""
    Health(ManualClock(), {}).ready(True)
    assert caplog.text == ""
    health = Health(ManualClock(), {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    health.ready(True)
    assert "systemd does not get READY=1, STATUS=ready" in caplog.text
    assert health.readiness() == (True, "ready")
