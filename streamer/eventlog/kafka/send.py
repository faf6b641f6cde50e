"""Durable writes of a few records, for commands that control a running service."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from streamer.errors import BrokerError
from streamer.eventlog.base import Output
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.admin import check_topics, preflight
from streamer.eventlog.kafka.clients import new_producer
from streamer.eventlog.kafka.commit import Sender
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import within

DEADLINE_S = 15.0
REQUEST_BYTES_MAX = 1 << 20


def send(connection: KafkaConnection, outputs: Sequence[Output]) -> None:
    """Append these records; returns when they are in the log.

    Raises `BrokerError` when the cluster is unreachable, a topic is missing, or delivery is uncertain.
    """
    preflight(connection)
    check_topics(connection, sorted({output.topic for output in outputs}))
    client = Client.of(connection)
    new = partial(new_producer, connection, DEADLINE_S, REQUEST_BYTES_MAX)
    sender = Sender(new, "", DEADLINE_S, client=client)
    try:
        within(2 * DEADLINE_S, partial(sender.publish, outputs))
    except BrokerError:
        raise
    except Exception as error:
        if missing := client.refusal(error, "Write", [output.topic for output in outputs]):
            raise missing from error
        raise BrokerError(
            f"Delivery is uncertain ({type(error).__name__}: {error}). Retry: the command is idempotent"
        ) from error
    finally:
        sender.producer.close(timeout=DEADLINE_S)
