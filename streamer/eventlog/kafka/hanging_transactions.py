"""Hanging transactions (KIP-664): transactions that the brokers have left open.

A coordinator that is killed and restarted can take a transaction for ended without its markers (seen on Apache Kafka
4.3, one broker). The records then stay pending in their partitions. They would become visible with the next transaction
of the same producer, beside the outputs that a fresh process has made of the same input. The pending offsets also block
requests for the group's offsets. So a fresh process checks for hanging transactions after its own id is initialized,
and aborts them.
"""

from __future__ import annotations

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
from streamer.logs import log_of

OFFSETS_TOPIC: Final = "__consumer_offsets"

log = log_of("eventlog")


def abort_hanging(
    connection: KafkaConnection, sender: Sender, outputs: Sequence[str], inputs: Sequence[str], group_id: str
) -> None:
    """Abort open transactions of this producer in the partitions of the outputs and in the group's offsets.

    `sender`'s producer has its transactional id initialized. Does nothing if the cluster lists no transactions (before
    Kafka 2.8, or without Read on the topics). Raises `InDoubtError` when the abort does not succeed in time.
    """
    hanging = _open(connection, outputs, producer_id(sender.producer))
    if hanging:
        log.warning("aborting transactions that the brokers have left open: %s", hanging)
        sender.step("abort", partial(_abort, sender, hanging, {TopicPartition(inputs[0], 0)}, group_id))


def _open(connection: KafkaConnection, outputs: Sequence[str], producer: int) -> list[Spot]:
    for topics in ([*outputs, OFFSETS_TOPIC], outputs):  # Read on the first may not be granted
        try:
            return open_transactions(connection, topics, producer)
        except BrokerError as error:
            log.info("can't check for hanging transactions in %s: %s", ", ".join(topics), error)
    return []


def _abort(sender: Sender, spots: Sequence[Spot], read: set[TopicPartition], group_id: str) -> Any:
    """Abort a transaction with a record in each partition and with offsets: its markers end all that is open there."""
    sender.producer.begin_transaction()
    for topic, partition in spots:
        if topic != OFFSETS_TOPIC:
            sender.producer.send(topic, b"", b"", partition=partition)
    sender.producer.flush(sender.deadline_s)
    sender.producer.send_offsets_to_transaction({tp: OffsetAndMetadata(0, "", -1) for tp in read}, group_id)
    sender.producer.abort_transaction()
