"""The configuration of a test broker: its server.properties and its log4j2.properties."""

from __future__ import annotations

import base64
import random
import socket
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
# Below the range Linux draws from for outgoing connections: otherwise a client that keeps knocking on a killed broker's
# port can be given that very port for itself, and the broker can't come back.
PORTS = range(15_000, 32_000)

PLAIN = "PLAINTEXT"
CONTROLLER = "CONTROLLER"
SECURED = "SECURED"
PROXIED = "PROXIED"
MECHANISM = "SCRAM-SHA-512"
USERNAME = "driftline"
PASSWORD = "driftline-secret"  # noqa: S105 - known to all, for a broker that only this machine can reach
KEY_STORE = "broker.p12"
STORE_PASSWORD = "only-for-tests"  # noqa: S105

# One node that is broker and controller, small, quick to start, and keeps records however old their timestamps are.
BASE = {
    "process.roles": "broker,controller",
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
ACLS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # clients of the plain listener, and the broker itself
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
    """The requirements of the secured listener: a password, TLS, or both; neither means no such listener."""

    sasl: bool = False
    tls: bool = False

    def __bool__(self) -> bool:
        return self.sasl or self.tls

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL."""
        transport = "SSL" if self.tls else PLAIN
        return f"SASL_{transport}" if self.sasl else transport


def replicated(brokers: int) -> dict[str, str]:
    """What a cluster has otherwise: all is on three brokers, of which two must have a record to acknowledge it.

    With fewer brokers, on all of them.
    """
    copies, needed = str(min(brokers, 3)), str(min(brokers, 2))
    return {
        "broker.session.timeout.ms": "3000",
        "default.replication.factor": copies,
        "min.insync.replicas": needed,
        "offsets.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": needed,
        "share.coordinator.state.topic.replication.factor": copies,
        "transaction.state.log.min.isr": needed,
        "transaction.state.log.replication.factor": copies,
    }


@dataclass
class Quorum:
    """The nodes of one cluster: they know each other by its id and by the ports of their controllers."""

    cluster_id: str = field(default_factory=lambda: base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode())
    controllers: dict[int, int] = field(default_factory=dict)  # node id -> port; each node enters its own

    @property
    def voters(self) -> str:
        """All controllers, in Kafka's notation."""
        return ",".join(f"{node}@{HOST}:{port}" for node, port in sorted(self.controllers.items()))


@dataclass(frozen=True)
class NodePlan:
    """What a node is to be; its `settings` win over ours. A proxied one has a listener behind a proxy."""

    node_id: int = 1
    quorum: Quorum = field(default_factory=Quorum)
    guard: Guard = field(default_factory=Guard)
    proxied: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def listeners(self) -> list[str]:
        """The names of all ports that the node needs."""
        secured = [SECURED] if self.guard else []
        return [PLAIN, CONTROLLER, *secured, *([PROXIED] if self.proxied else [])]


def free_ports(listeners: Iterable[str]) -> dict[str, int]:
    """A loopback port for each listener, free at this time; it may be taken before the start."""
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


def server_properties(folder: Path, ports: Mapping[str, int], advertised: Mapping[str, int], plan: NodePlan) -> str:
    """The text of server.properties for a node that lives in `folder`, by listener: its port, and the one told clients.

    The plan's own settings have the last word.
    """
    protocols = {PLAIN: PLAIN, CONTROLLER: PLAIN, PROXIED: PLAIN, SECURED: plan.guard.protocol}
    settings = {
        **BASE,
        "node.id": str(plan.node_id),
        "listeners": _addresses(ports),
        "advertised.listeners": _addresses(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:{protocols[name]}" for name in ports),
        # Static voters: what formatting writes does not depend on the ports, so ports can change at the next start.
        "controller.quorum.voters": plan.quorum.voters,
        "log.dirs": str(folder / "data"),
    }
    if plan.guard.sasl:
        settings |= SASL
    if plan.guard.tls:
        settings |= {
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(folder / KEY_STORE),
            "ssl.keystore.password": STORE_PASSWORD,
        }
    return "".join(f"{name}={value}\n" for name, value in {**settings, **plan.settings}.items())


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
