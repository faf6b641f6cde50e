"""Partitions of the epochs topic for units that come with new partitions of the event topics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from streamer.errors import BrokerError
from streamer.eventlog.base import UnitNotReady
from streamer.eventlog.kafka.admin import add_partitions
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import within
from streamer.eventlog.kafka.fetch import refresh_metadata
from streamer.eventlog.kafka.unit_history import HistoryReader, partition_of_history
from streamer.logs import log_of

CREATE = "`driftline topics --config FILE --create` adds what is missing"

log = log_of("eventlog")


class EpochsTopic:
    """The epochs topic of a group, as one worker sees it."""

    def __init__(self, connection: KafkaConnection, topic: str, histories: HistoryReader, deadline_s: float) -> None:
        self._connection = connection
        self._topic = topic
        self._histories = histories
        self._deadline_s = deadline_s
        self._grew = False

    def require(self, unit: str, units: Callable[[], int], producer: Any) -> None:
        """Return if the topic has a partition for the unit, and the producer knows it; else add what is missing.

        `units` says how many units there are. Adds partitions only to a topic that holds the group's epochs: a name in
        the config may be wrong. Raises `UnitNotReady` until all is there.
        """
        needed = partition_of_history(unit)
        count = self._histories.partitions()
        if needed >= count:
            count, self._grew = self._histories.partitions(refresh=True), True
        if needed >= count:
            self._grow(unit, needed, count, max(units(), needed + 1))
        if not self._grew:
            return
        if needed not in within(self._deadline_s, partial(producer.partitions_for, self._topic)):
            refresh_metadata(producer)
            raise UnitNotReady(f"the client has not heard yet of partition {needed} of topic {self._topic}")

    def _grow(self, unit: str, needed: int, count: int, wanted: int) -> None:
        lacks = f"Topic {self._topic} has {count} partitions and {unit} needs partition {needed}"
        if not self._histories.are_ours():
            raise UnitNotReady(f"{lacks}: {CREATE}")
        try:
            add_partitions(self._connection, self._topic, wanted)
        except BrokerError as error:  # not allowed, or another worker was faster
            raise UnitNotReady(f"{lacks}: {CREATE}. ({error})") from error
        log.info("topic %s has %d partitions now", self._topic, wanted)
        raise UnitNotReady(f"{lacks}, and was just given {wanted - count} more")
