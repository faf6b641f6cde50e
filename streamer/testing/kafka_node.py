"""One Kafka process: start, alone or with others, stop, kill and pause."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Sequence

from streamer.errors import BrokerError
from streamer.testing.fault_proxy import FaultProxy
from streamer.testing.kafka_config import HOST, PLAIN, NodePlan
from streamer.testing.kafka_folder import Home
from streamer.testing.process_guard import Supervised

READY = b"Kafka Server started"
START_TIMEOUT_S = 90
PORT_ATTEMPTS = 5
CONNECT_TIMEOUT_S = 1.0


class Node:
    """A broker with a quorum of its own or of several. Its address and its data stay the same over every restart."""

    def __init__(self, plan: NodePlan) -> None:
        self._plan = plan
        self._home: Home | None = None
        self._process: Supervised | None = None
        self._log_read, self._log_seen = 0, b""

    @property
    def node_id(self) -> int:
        """Kafka's number for this broker."""
        return self._plan.node_id

    @property
    def bootstrap(self) -> str:
        """`host:port` of the plain listener; the same after every restart."""
        return f"{HOST}:{self.home.ports[PLAIN]}"

    @property
    def proxy(self) -> FaultProxy:
        """The proxy in front of the broker; made for `proxied=True` alone. It outlives every restart."""
        if self.home.proxy is None:
            raise BrokerError("This test broker has no proxy in front of it: ask for one with proxied=True")
        return self.home.proxy

    @property
    def proxied_bootstrap(self) -> str:
        """`host:port` of the proxy; the proxied listener advertises it, so a client never bypasses it."""
        return self.proxy.address

    @property
    def home(self) -> Home:
        """The node's folder and ports. Raises BrokerError before `settle`."""
        if self._home is None:
            raise BrokerError("The test broker has not been started: call start(), or use it in a `with`")
        return self._home

    @property
    def pid(self) -> int | None:
        """The process id of the broker while it runs."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether there is a process, also a frozen one."""
        return self._process is not None and self._process.running

    @property
    def listening(self) -> bool:
        """Whether its port takes connections, also of a frozen one."""
        try:
            socket.create_connection((HOST, self.home.ports[PLAIN]), CONNECT_TIMEOUT_S).close()
        except OSError:
            return False
        return True

    @property
    def settled(self) -> bool:
        """Whether it has a folder, with data from the first start on."""
        return self._home is not None

    def settle(self) -> None:
        """Take a new folder and ports, unless there are some. `home.format` comes next, when all of a quorum have."""
        if self._home is None:
            self._home = Home(self._plan)

    def start(self) -> None:
        """Start, with the data of the last run, and return when clients are served. Raises BrokerError."""
        if self._process is None:
            start_together([self])

    def launch(self) -> None:
        """Start and return at once; see `has_started`."""
        home = self.home
        home.write_settings()
        self._log_read, self._log_seen = (home.log_file.stat().st_size if home.log_file.exists() else 0), b""
        self._process = Supervised(home.command, home.folder, home.log_file)

    def has_started(self) -> bool:
        """Whether Kafka has logged since `launch` that it serves clients."""
        with self.home.log_file.open("rb") as log:
            log.seek(self._log_read)
            text = log.read()
        self._log_read += len(text)
        # The end of the last piece stays: the line may be cut in two.
        self._log_seen = self._log_seen if READY in self._log_seen else self._log_seen[-len(READY) :] + text
        return READY in self._log_seen

    def stop(self) -> None:
        """Stop in order, as by SIGTERM; the data stays for the next start."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop at once, as by a crash; the data stays for the next start."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order and restart at the same address with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers (SIGSTOP)."""
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop and delete the data."""
        self.kill()
        if self._home is not None:
            self._home.remove()
            self._home = None

    def wait(self) -> None:
        """Wait until the broker ends by itself."""
        if self._process is not None:
            self._process.wait()

    def log_tail(self) -> str:
        """The last lines of the broker's own log."""
        return self.home.log_tail()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.end(number)
            self._process = None


def start_together(nodes: Sequence[Node], attempts: int = 1) -> None:
    """Start nodes that may need each other, and return when all serve. Raises BrokerError; then all are stopped.

    Where their ports may still change and one was taken meanwhile, try again with others, `attempts` times in all.
    """
    for attempt in range(attempts):
        if attempt:
            for node in nodes:
                node.home.choose_ports()
        for node in nodes:
            node.launch()
        if not (late := _late(nodes)):
            return
        for node in nodes:
            node.kill()
        if not any("Address already in use" in node.home.log_tail(lines=200) for node in late):
            break
    raise BrokerError(f"The test broker did not start. The end of its log:\n{late[0].log_tail()}")


def _late(nodes: Sequence[Node]) -> list[Node]:
    """Wait until all serve, one has ended or `START_TIMEOUT_S` passed; those that ended, else those that wait."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while late := [node for node in nodes if not node.has_started()]:
        ended = [node for node in late if not node.running]
        if ended or time.monotonic() > deadline:
            return ended or late
        time.sleep(0.05)
    return []
