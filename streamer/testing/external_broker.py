"""An external Kafka, with the part of `Broker`'s interface that tests of any broker may use."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka.connection import KafkaConnection


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
