"""A real Kafka cluster for tests, from pip alone: three brokers on loopback that can be killed one by one.

    with Cluster() as cluster:
        cluster.create_topics({"predictions": 4})
        producer = KafkaProducer(bootstrap_servers=cluster.bootstrap)
        cluster.brokers[0].kill()

Every record is on three brokers, and two must have it before it is acknowledged: any one of them may be away. None of
them outlives the process that asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streamer.errors import BrokerError
from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing.kafka_config import NodePlan, Quorum, replicated
from streamer.testing.kafka_node import PORT_ATTEMPTS, Node, start_together

READY_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.2
REQUEST_TIMEOUT_MS = 2_000


class Cluster:
    """Some brokers, each broker and controller at once; `brokers[i]` can be killed, stopped, paused and started again.

    `proxied=True` puts a proxy in front of each. `settings` are added to each server.properties and win over ours.
    Raises BrokerError with the end of a broker's log where it does not start, and UsageError as `Broker` does.
    """

    def __init__(self, brokers: int = 3, *, proxied: bool = False, settings: Mapping[str, str] | None = None) -> None:
        quorum = Quorum()
        chosen = {**replicated(brokers), **(settings or {})}
        self.brokers = tuple(
            Node(NodePlan(node_id, quorum, proxied=proxied, settings=chosen)) for node_id in range(1, brokers + 1)
        )

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, joined by commas; the same after every restart."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    @property
    def proxied_bootstrap(self) -> str:
        """`host:port` of every broker's proxy, joined by commas."""
        return ",".join(broker.proxied_bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Start every broker that is not running, with the data it had, and return when the cluster is ready."""
        fresh = [broker for broker in self.brokers if not broker.settled]
        try:
            if fresh:
                self._settle()
            if down := [broker for broker in self.brokers if not broker.running]:
                start_together(down, PORT_ATTEMPTS if fresh else 1)
            self.wait_until_ready()
        except BaseException:
            # Also on Ctrl-C: a `with` that was not entered has no exit.
            if fresh:
                self.close()
            raise

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when all brokers are registered and every partition has a leader and all its replicas in step.

        Raises BrokerError that says what is missing, at once if a broker has not been started.
        """
        deadline = time.monotonic() + timeout_s
        while missing := self._missing():
            down = [broker.node_id for broker in self.brokers if not broker.running]
            if down or time.monotonic() > deadline:
                raise BrokerError(
                    f"The test cluster is not ready: {missing}" + (f"; start() broker {down}" if down else "")
                )
            time.sleep(LOOK_EVERY_S)

    def create_topics(
        self, partitions: Mapping[str, int], settings: Mapping[str, str] | None = None, *, replication_factor: int = -1
    ) -> None:
        """Create topics of so many partitions each, on three brokers by default, with these `settings`."""
        kafka_admin.create_topics(
            KafkaConnection(bootstrap=tuple(self.bootstrap.split(","))),
            partitions,
            replication_factor=replication_factor,
            settings=settings,
        )

    def stop(self) -> None:
        """Stop one after the other, in order while the controllers have a majority; the data stays."""
        for left, broker in zip(range(len(self.brokers), 0, -1), self.brokers, strict=True):
            # Without a majority no controller confirms a broker's stop, and the broker would wait for that.
            if left > len(self.brokers) // 2:
                broker.stop()
            else:
                broker.kill()

    def close(self) -> None:
        """Stop all at once and delete the data."""
        for broker in self.brokers:
            broker.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self) -> None:
        """Folders and ports for all, and only then formats: a node's settings name the ports of all."""
        for broker in self.brokers:
            broker.settle()
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.home.format(), self.brokers))

    def _missing(self) -> str:
        """The reason why the cluster is not ready, by its running brokers; empty if it is."""
        running = [broker for broker in self.brokers if broker.running]
        if len(running) < len(self.brokers):
            return f"{len(running)} of {len(self.brokers)} brokers run"
        if deaf := [broker.node_id for broker in self.brokers if not broker.listening]:
            return f"brokers {deaf} do not listen yet"
        try:
            with _admin(self.bootstrap) as admin:
                registered = {broker["broker_id"] for broker in admin.describe_cluster()["brokers"]}
                if absent := sorted({broker.node_id for broker in self.brokers} - registered):
                    return f"brokers {absent} are not registered"
                behind = [
                    f"{topic['name']}-{part['partition_index']}"
                    for topic in admin.describe_topics()
                    for part in topic["partitions"]
                    if part["leader_id"] < 0 or set(part["isr_nodes"]) != set(part["replica_nodes"])
                ]
        except KafkaError as error:
            return f"it does not answer: {error!r}"
        return f"partitions {behind} lack a leader or a replica in step" if behind else ""


@contextmanager
def _admin(bootstrap: str) -> Iterator[Any]:
    with KafkaAdminClient(
        bootstrap_servers=bootstrap,
        client_id="driftline-test-kit",
        bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    ) as admin:
        yield admin
