"""Transactions that the brokers have forgotten to end.

A coordinator that is killed and comes back has been seen (Apache Kafka 4.3, one broker) to take a transaction for ended
without having written its markers. Its records then wait in their partitions, and would become visible with the next
transaction of the same producer, in addition to what a fresh process has made of the same input; and its offsets keep
the group's from being told. So a fresh process looks, once its own id is settled and nothing of it may be open any
more, and aborts in place what is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError
from streamer.eventlog.kafka.admin import open_transactions
from streamer.eventlog.kafka.commit import Sender
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import Spot, producer_id

OFFSETS_TOPIC: Final = "__consumer_offsets"

log = logging.getLogger(__name__)


def abort_forgotten(
    connection: KafkaConnection, sender: Sender, outputs: Sequence[str], inputs: Sequence[str], group_id: str
) -> None:
    """Abort what is still open of this producer in the partitions of the outputs, and in the group's offsets.

    `sender`'s producer has its transactional id initialized. Where the cluster does not tell (before Kafka 2.8, or
    without Read on the topics), nothing is done. Raises `InDoubtError` when aborting does not succeed in time.
    """
    forgotten = _open(connection, outputs, producer_id(sender.producer))
    if forgotten:
        log.warning("the brokers have left transactions of ours open, which are aborted now: %s", forgotten)
        sender.step("abort", partial(_abort, sender, forgotten, {TopicPartition(inputs[0], 0)}, group_id))


def _open(connection: KafkaConnection, outputs: Sequence[str], producer: int) -> list[Spot]:
    for topics in ([*outputs, OFFSETS_TOPIC], outputs):  # not everybody is allowed to read the former
        try:
            return open_transactions(connection, topics, producer)
        except BrokerError as error:
            log.info("whether transactions were left open in %s can't be found out: %s", ", ".join(topics), error)
    return []


def _abort(sender: Sender, spots: Sequence[Spot], read: set[TopicPartition], group_id: str) -> Any:
    """By a transaction of a record for each partition and of offsets: its markers end all that is open there."""
    sender.producer.begin_transaction()
    for topic, partition in spots:
        if topic != OFFSETS_TOPIC:
            sender.producer.send(topic, b"", b"", partition=partition)
    sender.producer.flush(sender.deadline_s)
    sender.producer.send_offsets_to_transaction({tp: OffsetAndMetadata(0, "", -1) for tp in read}, group_id)
    sender.producer.abort_transaction()
