"""A unit's history in the epochs topic, and whether the log still holds what its state is made from.

The topic has one partition for each unit: 0 for `decide`, and `p + 1` for `detect-p`, so that the histories of units in
different hands do not mix. Records of open transactions are not visible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from kafka import TopicPartition

from streamer.errors import BrokerError, GapError, InDoubtError, UsageError
from streamer.eventlog.base import Epoch, History, Note, Records, Start, UnitNotReady
from streamer.eventlog.history import decode_entry
from streamer.eventlog.kafka.admin import add_partitions
from streamer.eventlog.kafka.clients import REQUEST_TIMEOUT_MS
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import within
from streamer.eventlog.kafka.fetch import ends, poll, positions, refresh_metadata, stretches
from streamer.eventlog.units import DECIDE, partition_of
from streamer.logs import log_of

Spot = tuple[str, int]  # topic and partition

START_AFRESH = "or start afresh: a new kafka.group and a new outputs.prefix in the config"
POLL_MS = 200
POLL_RECORDS_MAX = 100_000
LOST_AFTER_S = 3.0  # what is committed and in no transaction under way is there at once, or it is lost


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """The offsets that a partition holds: [begin, end)."""

    begin: int
    end: int


def partition_of_history(unit: str) -> int:
    """The partition of the epochs topic that holds the unit's history."""
    return 0 if unit == DECIDE else partition_of(unit) + 1


class HistoryReader:
    """Reads the unit histories of one group, with a client that is no member of it."""

    def __init__(self, consumer: Any, topic: str, group_id: str, patience_s: float) -> None:
        self._consumer = consumer
        self._topic = topic
        self._group_id = group_id
        self._patience_s = patience_s

    def read(self, unit: str, since: Epoch | None, committed: Mapping[str, int]) -> tuple[History | None, int]:
        """The unit's history after `since`, and the offset up to which it was read; None if that epoch is not there.

        Reads on until it reaches the group's committed offsets (by topic), because the end markers of a transaction do
        not reach all partitions at once. Raises InDoubtError when that takes too long, GapError when the beginning or
        the end is lost, BrokerError when the topic lacks the unit's partition, and UsageError for foreign records.
        """
        tp = TopicPartition(self._topic, partition_of_history(unit))
        count = self.partitions()
        if tp.partition >= count:
            raise BrokerError(
                f"Topic {tp.topic} has {count} partitions and {unit} needs partition {tp.partition}: "
                "`driftline topics --config FILE --create` adds what is missing"
            )
        self._consumer.assign([tp])
        begin = self._consumer.beginning_offsets([tp], timeout_ms=REQUEST_TIMEOUT_MS)[tp]
        if since is not None and not (begin <= since.at < self._end(tp) and self._stands(since, tp)):
            return None, 0
        self._consumer.seek(tp, since.at if since else begin)
        past = History(since.number - 1 if since else 0)
        patience_s = self._patience_s
        while patience_s > 0:
            end = self._end(tp)
            while positions(self._consumer)[tp.topic, tp.partition] < end and patience_s > 0:
                if not self._take_next(past, unit):
                    patience_s -= POLL_MS / 1000
            if not _lags(past, committed):
                return _behind(past, since), positions(self._consumer)[tp.topic, tp.partition]
            self._take_next(past, unit)
            patience_s -= POLL_MS / 1000
            if not self._is_pending(tp):
                patience_s = min(patience_s, LOST_AFTER_S)
        raise self._lag(unit, tp)

    def partitions(self, refresh: bool = False) -> int:
        """How many the topic has, as of the client's last metadata or by asking again."""
        if refresh:
            within(self._patience_s, self._consumer.topics)
        return len(within(self._patience_s, partial(self._consumer.partitions_for_topic, self._topic)) or ())

    def are_ours(self) -> bool:
        """Whether some partition of the topic begins with a note of this group."""
        return self.owner() == self._group_id

    def owner(self) -> str:
        """The group whose note some partition of the topic begins with; "" if there is none."""
        tps = [TopicPartition(self._topic, partition) for partition in range(self.partitions())]
        begin = self._consumer.beginning_offsets(tps, timeout_ms=REQUEST_TIMEOUT_MS)
        for tp in tps:
            self._consumer.assign([tp])
            entry = self._entry_at(tp, begin[tp])
            if isinstance(entry, Start) and entry.group:
                return entry.group
        return ""

    def _entry_at(self, tp: TopicPartition, offset: int) -> Epoch | Note | None:
        """The first entry from this offset on; None if there is none, or something else."""
        self._consumer.seek(tp, offset)
        patience_s = self._patience_s
        while positions(self._consumer)[tp.topic, tp.partition] < self._end(tp) and patience_s > 0:
            before = positions(self._consumer)
            fetched = poll(self._consumer, POLL_MS, 1)
            for records in stretches(fetched, before, positions(self._consumer)):
                if len(records):
                    with suppress(ValueError):
                        return decode_entry(records.value_of(0) or b"")
                    return None
            patience_s -= POLL_MS / 1000
        return None

    def _is_pending(self, tp: TopicPartition) -> bool:
        """Whether the partition holds records of open transactions."""
        spot = tp.topic, tp.partition
        return positions(self._consumer)[spot] < ends(self._consumer).get(spot, 0)

    def _lag(self, unit: str, tp: TopicPartition) -> Exception:
        """The error for a history that lags behind the committed offsets."""
        what = f"The history of {unit} in {tp.topic}-{tp.partition}"
        if self._is_pending(tp):
            return InDoubtError(
                f"{what} holds a transaction that has not ended after {self._patience_s:g} s: restart the worker"
            )
        return GapError(
            f"{what} ends before the offsets that group {self._group_id} has committed: epochs were lost, or another "
            f"program uses the group. Restore them, {START_AFRESH}"
        )

    def _end(self, tp: TopicPartition) -> int:
        return int(self._consumer.end_offsets([tp], timeout_ms=REQUEST_TIMEOUT_MS)[tp])

    def _stands(self, since: Epoch, tp: TopicPartition) -> bool:
        """Whether the epoch is at its offset: a checkpoint may be of another history."""
        self._consumer.seek(tp, since.at)
        patience_s = self._patience_s
        while positions(self._consumer)[tp.topic, tp.partition] <= since.at and patience_s > 0:
            before = positions(self._consumer)
            fetched = poll(self._consumer, POLL_MS, 1)
            for records in stretches(fetched, before, positions(self._consumer)):
                if len(records):
                    return records.offset[0] == since.at and _is(since, records.value_of(0) or b"")
            patience_s -= POLL_MS / 1000
        return False

    def _take_next(self, past: History, unit: str) -> bool:
        """Add the entries of one poll; whether there were any."""
        before = positions(self._consumer)
        fetched = poll(self._consumer, POLL_MS, POLL_RECORDS_MAX)
        found = stretches(fetched, before, positions(self._consumer))
        for records in found:
            self._take(past, unit, records)
        return bool(found)

    def _take(self, past: History, unit: str, records: Records) -> None:
        for i, offset in enumerate(records.offset.tolist()):
            where = f"Record {offset} of {records.topic}-{records.partition}"
            try:
                entry = decode_entry(records.value_of(i) or b"", offset)
            except msgspec.DecodeError as error:
                raise UsageError(
                    f"{where} is no epoch ({error}): the topic belongs to this service alone; set "
                    "outputs.prefix to another one"
                ) from error
            if entry.unit != unit:
                raise UsageError(f"{where} is of unit {entry.unit}, where those of {unit} stand, {START_AFRESH}")
            if isinstance(entry, Start) and entry.group != self._group_id:
                raise UsageError(
                    f"Topic {self._topic} holds the epochs of group {entry.group}, and this is group "
                    f"{self._group_id}: every service needs topics of its own (outputs.prefix)"
                )
            if not past.take(entry):
                raise GapError(
                    f"{where} comes after epoch {past.last} of {unit}: what is between is lost, and no checkpoint is "
                    f"newer. Keep the topic longer (retention.ms, retention.bytes), {START_AFRESH}"
                )


def _is(epoch: Epoch, value: bytes) -> bool:
    try:
        return decode_entry(value) == epoch
    except msgspec.DecodeError:
        return False


def _lags(past: History, committed: Mapping[str, int]) -> bool:
    at = past.positions()
    return bool(committed) and (not at or any(offset > at.get(topic, offset) for topic, offset in committed.items()))


def _behind(past: History, since: Epoch | None) -> History | None:
    """The history without the epoch from which it was read."""
    if since is None or past.was_reset:
        return past
    if not past.epochs:
        return None
    past.epochs.pop(0)
    past.base, past.reached = since.number, dict(since.ends)
    return past


def check_topics(unit: str, before: Mapping[str, int], past: History, topics: Collection[str]) -> None:
    """Raises UsageError when these epochs have folded records of a topic that is no longer read."""
    for epoch in past.epochs:
        for topic, end in epoch.ends.items():
            if topic not in topics and end > before.get(topic, 0):
                raise UsageError(
                    f"The last epochs of {unit} are made from topic {topic} among others, which the config does not "
                    f"name any more: name it again until the service has been stopped in order, {START_AFRESH}"
                )
        before = epoch.ends


def check_bounds(topic: str, partition: int, offset: int, bounds: HistoryBounds) -> None:
    """Raises GapError unless the partition holds the records from `offset` on and has not been truncated before it."""
    if offset < bounds.begin:
        raise GapError(
            f"{topic}-{partition} begins at offset {bounds.begin} now, and offset {offset} is to be read next: "
            f"{bounds.begin - offset:,} records are gone. Restore them and keep them longer (retention.ms, "
            f"retention.bytes), {START_AFRESH}"
        )
    if offset > bounds.end:
        raise GapError(
            f"{topic}-{partition} ends at offset {bounds.end}, and was read up to offset {offset} before: the topic "
            f"was truncated, or deleted and created again. Restore it, {START_AFRESH}"
        )


def check_topic_id(topic: str, known: str, now: str) -> None:
    """Raises GapError when the topic is another one of the same name. Brokers before Kafka 2.8 have no ids ("")."""
    if known and now and known != now:
        raise GapError(
            f"Topic {topic} was deleted and created again (its id was {known} and is {now}), so its offsets mean other "
            f"records now. Restore the old topic, {START_AFRESH}"
        )


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
