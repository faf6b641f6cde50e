"""What a test broker is told: its server.properties and its log4j2.properties."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
# Below the range Linux draws from for outgoing connections: otherwise a client that keeps knocking on a killed broker's
# port can be given that very port for itself, and the broker can't come back.
PORTS = range(15_000, 32_000)

PLAIN = "PLAINTEXT"
CONTROLLER = "CONTROLLER"
SECURED = "SECURED"
MECHANISM = "SCRAM-SHA-512"
USERNAME = "driftline"
PASSWORD = "driftline-secret"  # noqa: S105 - known to all, for a broker that only this machine can reach
KEY_STORE = "broker.p12"
STORE_PASSWORD = "only-for-tests"  # noqa: S105

# One node that is broker and controller, small, quick to start, and keeps records however old their timestamps are.
BASE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": CONTROLLER,
    "inter.broker.listener.name": PLAIN,
    "auto.create.topics.enable": "false",
    # A killed broker is let in again only when its old session has run out.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.retention.ms": "-1",
    # The default of 128 MB does not fit a small heap.
    "log.cleaner.dedupe.buffer.size": "8388608",
    "num.io.threads": "2",
    "num.network.threads": "1",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
}
SASL = {
    "sasl.enabled.mechanisms": MECHANISM,
    f"listener.name.{SECURED.lower()}.{MECHANISM.lower()}.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
}
LOG4J = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{HH:mm:ss.SSS} %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
"""


@dataclass(frozen=True)
class Guard:
    """What the secured listener asks of a client: a password, TLS, or both; neither means there is no such listener."""

    sasl: bool = False
    tls: bool = False

    def __bool__(self) -> bool:
        return self.sasl or self.tls

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL."""
        transport = "SSL" if self.tls else PLAIN
        return f"SASL_{transport}" if self.sasl else transport


def free_ports(listeners: Iterable[str]) -> dict[str, int]:
    """A loopback port for each listener, free when looked at; the start that follows may still find it taken."""
    ports: dict[str, int] = {}
    for listener in listeners:
        ports[listener] = next(
            port for port in random.sample(PORTS, 1_000) if port not in ports.values() and _is_free(port)
        )
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def server_properties(folder: Path, ports: Mapping[str, int], guard: Guard, extra: Mapping[str, str]) -> str:
    """The text of server.properties for a broker that lives in `folder`; `extra` has the last word."""
    listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
    protocols = {PLAIN: PLAIN, CONTROLLER: PLAIN, SECURED: guard.protocol}
    settings = {
        **BASE,
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": ",".join(f"{name}:{protocols[name]}" for name in ports),
        # Static voters: what formatting writes does not depend on the port, so ports can change at the next start.
        "controller.quorum.voters": f"1@{HOST}:{ports[CONTROLLER]}",
        "log.dirs": str(folder / "data"),
    }
    if guard.sasl:
        settings |= SASL
    if guard.tls:
        settings |= {
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(folder / KEY_STORE),
            "ssl.keystore.password": STORE_PASSWORD,
        }
    return "".join(f"{name}={value}\n" for name, value in {**settings, **extra}.items())
