"""Transactions that the brokers have forgotten to end.

A coordinator that is killed and comes back has been seen (Apache Kafka 4.3, one broker) to take a transaction for ended
without having written its markers. Its records then wait in their partitions, and would become visible with the next
transaction of the same producer, in addition to what a fresh process has made of the same input. So a fresh process
looks, once its own id is settled and nothing of it may be open any more, and aborts in place what is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from streamer.errors import BrokerError
from streamer.logs.kafka_admin import open_transactions
from streamer.logs.kafka_commit import Sender
from streamer.logs.kafka_connection import KafkaConnection
from streamer.logs.kafka_fetch import Spot, producer_id

log = logging.getLogger(__name__)


def abort_forgotten(connection: KafkaConnection, sender: Sender, topics: Sequence[str]) -> None:
    """Abort what is still open of this producer in the partitions of these topics.

    `sender`'s producer has its transactional id initialized. Where the cluster does not tell (before Kafka 2.8, or
    without Read on the topics), nothing is done. Raises `Doubt` when aborting does not succeed in time.
    """
    try:
        forgotten = open_transactions(connection, topics, producer_id(sender.producer))
    except BrokerError as error:
        log.info("whether transactions were left open can't be found out: %s", error)
        return
    if forgotten:
        log.warning("the brokers have left transactions of ours open, which are aborted now: %s", forgotten)
        sender.step("abort", partial(_abort, sender, forgotten))


def _abort(sender: Sender, spots: Sequence[Spot]) -> Any:
    """By a transaction of which a record goes to each partition: its marker ends all that is open there."""
    sender.producer.begin_transaction()
    for topic, partition in spots:
        sender.producer.send(topic, b"", b"", partition=partition)
    sender.producer.flush(sender.deadline_s)
    sender.producer.abort_transaction()
