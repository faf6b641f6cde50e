"""Owners of output topics: each topic is written by the service of one group, and a second one is refused.

Every output carries its group in a header. The newest record of a topic names the owner, so ownership needs no topic of
its own and lasts as long as records do. A topic without such a record has no owner yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import KafkaError

from streamer.errors import BrokerError, GapError, UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.headers import OWNER_HEADER
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.admin import has_committed
from streamer.eventlog.kafka.batches import BatchError
from streamer.eventlog.kafka.clients import REQUEST_TIMEOUT_MS, new_consumer
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import DeadlineExceeded
from streamer.eventlog.kafka.fetch import poll, positions, stretches
from streamer.eventlog.kafka.unit_history import START_AFRESH, HistoryReader

PAGE: Final = "docs/two-services.md"
PATIENCE_S: Final = 30.0
POLL_MS: Final = 200
RECORDS_MAX: Final = 1_000  # of one poll
LOOKBACK: Final = (8, 256, 8_192)  # offsets before the end; the last ones may be markers of transactions


def check_owners(connection: KafkaConnection, group_id: str, epochs_topic: str, outputs: Collection[str]) -> None:
    """Check that no other group owns the epochs topic or one of the outputs.

    Raises UsageError with the owner of each such topic, and GapError when the group has committed offsets although the
    epochs topic is empty: then the group is another service's, or the epochs are lost. BrokerError otherwise.
    """
    consumer = new_consumer(connection, None)
    try:
        with _errors_of(connection):
            histories = HistoryReader(consumer, epochs_topic, group_id, PATIENCE_S)
            owners = {(epochs_topic, histories.owner()), *_owners(consumer, outputs)}
            is_new = not _filled(consumer, [epochs_topic])
    finally:
        consumer.close(autocommit=False)
    if foreign := {topic: owner for topic, owner in sorted(owners) if owner not in {"", group_id}}:
        raise UsageError(_refusal(foreign, group_id))
    if is_new and has_committed(connection, group_id):
        raise GapError(
            f"The history in {epochs_topic} ends before the offsets that group {group_id} has committed: epochs were "
            f"lost, or another service uses the group. Set kafka.group to a name of its own, restore the epochs, "
            f"{START_AFRESH}"
        )


def _refusal(foreign: Mapping[str, str], group_id: str) -> str:
    owned = "; ".join(
        f"{', '.join(topic for topic, of in foreign.items() if of == owner)} by group {owner}"
        for owner in sorted(set(foreign.values()))
    )
    return (
        f"Another service owns outputs of this one, which is group {group_id}: {owned}. Two services in one topic "
        f"publish everything twice. Give this service topics of its own by outputs.prefix, such as `{group_id}.`, and "
        f"create them by `driftline topics --config FILE --create`. {PAGE} has an example"
    )


def _owners(consumer: Any, topics: Iterable[str]) -> set[tuple[str, str]]:
    """Each topic with the group in the newest output of each of its partitions that has any."""
    pending, owners = _filled(consumer, topics), set[tuple[str, str]]()
    for lookback in LOOKBACK:
        found = _newest(consumer, pending, lookback)
        owners |= {(tp.topic, owner) for tp, owner in found.items()}
        pending = {tp: span for tp, span in pending.items() if tp not in found and span[1] - span[0] > lookback}
        if not pending:
            break
    return owners


def _filled(consumer: Any, topics: Iterable[str]) -> dict[TopicPartition, tuple[int, int]]:
    """The partitions that hold records, with the offsets of their beginnings and ends."""
    tps = [TopicPartition(topic, p) for topic in topics for p in consumer.partitions_for_topic(topic) or ()]
    begin = consumer.beginning_offsets(tps, timeout_ms=REQUEST_TIMEOUT_MS)
    end = consumer.end_offsets(tps, timeout_ms=REQUEST_TIMEOUT_MS)
    return {tp: (begin[tp], end[tp]) for tp in tps if begin[tp] < end[tp]}


def _newest(consumer: Any, spans: Mapping[TopicPartition, tuple[int, int]], lookback: int) -> dict[TopicPartition, str]:
    """The group in the newest of so many last offsets of each partition; without those that hold no record there."""
    found: dict[TopicPartition, str] = {}
    if not spans:
        return found
    consumer.assign(list(spans))
    for tp, (begin, end) in spans.items():
        consumer.seek(tp, max(begin, end - lookback))
    patience_s = PATIENCE_S
    while _behind(consumer, spans):
        if patience_s <= 0:
            raise DeadlineExceeded(f"the ends of {', '.join(sorted({tp.topic for tp in spans}))} could not be read")
        before = positions(consumer)
        fetched = poll(consumer, POLL_MS, RECORDS_MAX)
        if not fetched:
            patience_s -= POLL_MS / 1000
        for records in stretches(fetched, before, positions(consumer)):
            if len(records):
                found[TopicPartition(records.topic, records.partition)] = _owner_in(records)
    return found


def _behind(consumer: Any, spans: Mapping[TopicPartition, tuple[int, int]]) -> bool:
    at = positions(consumer)
    return any(at.get((tp.topic, tp.partition), 0) < end for tp, (_, end) in spans.items())


def _owner_in(records: Records) -> str:
    """The group in the last of these records; "" if it is not of a service that writes it."""
    owner = dict(records.headers_of(len(records) - 1)).get(OWNER_HEADER) or b""
    return owner.decode(errors="replace")


@contextmanager
def _errors_of(connection: KafkaConnection) -> Iterator[None]:
    try:
        yield
    except (KafkaError, BatchError, DeadlineExceeded) as error:
        client = Client.of(connection)
        if missing := client.refusal(error, "Read"):
            raise missing from error
        raise BrokerError(
            f"Kafka at {client.where} could not be read for the owners of the output topics: "
            f"{type(error).__name__}: {error}"
        ) from error
