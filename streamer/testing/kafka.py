"""A real Apache Kafka for tests, from pip alone: one KRaft node on loopback that never outlives its process.

    with Broker() as broker:
        broker.create_topics({"predictions": 4})
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)

`python -m streamer.testing.kafka` prints the address of a fresh broker and stops it on Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streamer.errors import BrokerError, DriftlineError
from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing import kafka_config
from streamer.testing.kafka_config import HOST, SECURED, Guard, NodePlan
from streamer.testing.kafka_node import PORT_ATTEMPTS, Node, start_together


class Broker(Node):
    """One Kafka broker with its own ports and data folder.

    `sasl=True` or `tls=True` (or both) add a second listener at `secured_bootstrap` that asks for the password of
    `username` by `mechanism`, for TLS with the certificate in `ca_file`, or both. With `acls=True`, its users may
    do what ACLs grant them, and clients of the plain listener may do everything. `proxied=True` puts a `proxy` in front
    of it at `proxied_bootstrap`, to hurt clients with. `settings` are added to server.properties and win over ours.

    Every way to start it raises BrokerError with the last lines of the broker's log when Kafka does not come up, and
    UsageError with the command that mends it when a part of it is not installed or can't be fetched.
    """

    mechanism = kafka_config.MECHANISM
    username = kafka_config.USERNAME
    password = kafka_config.PASSWORD

    def __init__(
        self,
        *,
        sasl: bool = False,
        tls: bool = False,
        acls: bool = False,
        proxied: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        given = {**(kafka_config.ACLS if acls else {}), **(settings or {})}
        super().__init__(NodePlan(guard=Guard(sasl, tls), proxied=proxied, settings=given))

    @property
    def secured_bootstrap(self) -> str:
        """`host:port` of the listener that requires a password, TLS or both."""
        return f"{HOST}:{self.home.ports[SECURED]}"

    @property
    def secured_protocol(self) -> str:
        """The protocol of that listener: SASL_PLAINTEXT, SSL or SASL_SSL."""
        return self._plan.guard.protocol

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) by which clients know the TLS listener."""
        return self.home.ca_file

    def start(self) -> None:
        """Start, with the data of the last run if there was one, and return when clients are served."""
        if self._process is not None:
            return
        try:
            if self._home is not None:
                super().start()
            else:
                self.settle()
                self.home.format()
                start_together([self], PORT_ATTEMPTS)
        except BaseException:
            # Also on Ctrl-C: a `with` that was not entered has no exit.
            self.close()
            raise

    def create_topics(self, partitions: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Create topics of so many partitions each, all with the same topic `settings`."""
        from streamer.eventlog.kafka import admin as kafka_admin
        from streamer.eventlog.kafka.connection import KafkaConnection

        kafka_admin.create_topics(KafkaConnection(bootstrap=(self.bootstrap,)), partitions, settings=settings)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> int:
    """Print the address of a fresh broker, one line, and keep it until SIGINT or SIGTERM; then 0."""
    # SIGINT too: a shell script starts its background commands with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Broker() as broker:
            print(broker.bootstrap, flush=True)
            broker.wait()
            raise BrokerError(f"The test broker ended by itself. The end of its log:\n{broker.log_tail()}")
    except KeyboardInterrupt:
        return 0
    except DriftlineError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())


class GivenBroker:
    """The broker at `bootstrap`; leaving the `with` deletes the topics created through it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._connection = KafkaConnection(bootstrap=tuple(bootstrap.split(",")))
        self._created: list[str] = []

    def create_topics(self, partitions: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Create topics of so many partitions each, all with the same topic `settings`."""
        kafka_admin.create_topics(self._connection, partitions, settings=settings)
        self._created += partitions

    def __enter__(self) -> Self:
        kafka_admin.preflight(self._connection)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._created:
            kafka_admin.delete_topics(self._connection, self._created)
