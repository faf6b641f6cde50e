"""Makes kafka-python's consumer hand out `Records`; the only file that reaches into the client's insides.

Whole record batches are taken before the client makes an object of each record, which is seven times as fast. The
client still does membership, seeking, pausing, positions and the list of aborted transactions. The tests hold both ways
of reading against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from kafka import TopicPartition
from kafka.errors import TopicAuthorizationFailedError
from kafka.record.memory_records import MemoryRecordsBuilder

from detectors.arrays.types import I64
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.batches import BatchStretch, read_stretches

Spot = tuple[str, int]  # topic and partition

START_MARK = "driftline: begin here"  # metadata of an offset that says where to begin, and not what is done
RECORD_BYTES = 640  # a larger record counts as several towards the limit of a poll, so that bytes are limited as well


_UNCOMPRESSED, _LZ4 = 0, 3


class CountedStretches(list[Records]):
    """Stretches whose length the client counts towards a poll's limit: the number of their records, more if large."""

    record_weight = 1.0

    def __len__(self) -> int:
        return int(sum(map(len, self)) * self.record_weight)


def fetch_records(consumer: Any) -> None:
    """Let `consumer.poll()` give lists of `Records`, and raise BatchError where a batch can't be read."""
    parent: Any = consumer._fetcher.PartitionRecords

    class FetchedRecords(parent):  # type: ignore[misc]
        _rest: Records | None = None
        _record_weight = 1.0  # of each record of the stretch in hand

        def _maybe_skip_record(self, _stretch: BatchStretch) -> bool:
            return False  # read_stretches begins at the right offset

        def _unpack_records(self, tp: Any, fetched: Any, *_deserializers: Any) -> Iterator[BatchStretch]:
            aborted = [(gone.first_offset, gone.producer_id) for gone in self.aborted_transactions]
            self.bytes_read = fetched.size_in_bytes()
            try:
                yield from read_stretches(tp.topic, tp.partition, fetched._buffer, self.fetch_offset, aborted)
            except Exception:
                self.drain()  # a generator that has raised is exhausted; without drain, poll() would ask it for ever
                raise
            self.drain()

        def take(self, n: int | None = None) -> CountedStretches:
            if self._rest is None:
                stretch = next(self.record_iterator, None)
                if stretch is None:
                    return CountedStretches()
                self._rest, self.leader_epoch = stretch.records, stretch.leader_epoch
                self._record_weight = max(stretch.cost_bytes / RECORD_BYTES / max(len(stretch.records), 1), 1.0)
            taken, self._rest = self._rest, None
            if n is not None and len(taken) > n:
                taken, self._rest = taken.split(int(taken.offset[n]))
            self.records_read += len(taken)
            self.next_fetch_offset = taken.next_offset
            counted = CountedStretches([taken])
            counted.record_weight = self._record_weight
            return counted

    consumer._fetcher.PartitionRecords = FetchedRecords


def compile_reading() -> None:
    """Compile what reading calls, or load it from numba's cache: for batches as they are, and for inflated ones."""
    for codec in (_UNCOMPRESSED, _LZ4):
        batch = MemoryRecordsBuilder(2, codec, 1 << 10)
        batch.append(timestamp=0, key=None, value=b"", headers=[])
        batch.close()
        for _ in read_stretches("", 0, bytes(batch.buffer()), 0):
            pass


def poll(consumer: Any, timeout_ms: int, records_max: int) -> Any:
    """`consumer.poll`, without a stall of the client.

    The client parks the fetched records of a paused partition, and takes them up again only while its field for the
    current fetch is None. A fetch that was read to its end stays in that field. So a partition that was paused and
    resumed is never read again, unless the field is cleared. And it fetches nothing, without a word, of a topic that
    the brokers refuse to describe: raises TopicAuthorizationFailedError.
    """
    fetcher = consumer._fetcher
    if fetcher._next_partition_records is not None and not fetcher._next_partition_records:
        fetcher._next_partition_records = None
    found = consumer.poll(timeout_ms, records_max)
    if not found and (hidden := consumer._cluster.unauthorized_topics):
        raise TopicAuthorizationFailedError(set(hidden))
    return found


def positions(consumer: Any) -> dict[Spot, int]:
    """The position of each assigned partition: the offset of its next record."""
    states = consumer._subscription.assignment.items()
    return {(tp.topic, tp.partition): state.position.offset for tp, state in states if state.position is not None}


def ends(consumer: Any) -> dict[Spot, int]:
    """The end of each assigned partition as of its last fetch; without partitions that are not fetched yet."""
    states = consumer._subscription.assignment.items()
    return {(tp.topic, tp.partition): state.highwater for tp, state in states if state.highwater is not None}


def producer_id(producer: Any) -> int:
    """The producer id, after its transactional id is initialized."""
    return int(producer._transaction_manager.producer_id_and_epoch.producer_id)


def abandon(producer: Any) -> None:
    """Let a producer go that can't be closed, because it waits for what never comes."""
    producer._closed = True  # else it would try to close when it is collected
    producer._unregister_cleanup()
    producer._sender.force_close()


def refresh_metadata(producer: Any) -> None:
    """Let the producer ask for its topics' partitions again, without waiting for the answer."""
    producer._metadata.request_update()


def topic_ids(consumer: Any, topics: Iterable[str]) -> dict[str, str]:
    """Ids of the topics as of the last metadata; "" for a topic without one (before Kafka 2.8, or no such topic)."""
    return {topic: str(consumer._cluster.topic_id(topic) or "") for topic in topics}


def partition_counts(consumer: Any, topics: Iterable[str]) -> dict[str, int]:
    """Number of partitions of the topics as of the last metadata; 0 where there is no such topic."""
    return {topic: len(consumer._cluster.partitions_for_topic(topic) or ()) for topic in topics}


def committed_offsets(consumer: Any, spots: Iterable[Spot], timeout_s: float) -> dict[Spot, int]:
    """The group's committed offsets, in one request; waits for transactions that are still committing."""
    found = _committed(consumer, spots, timeout_s)
    return {spot: offset.offset for spot, offset in found.items() if offset.metadata != START_MARK}


def start_marks(consumer: Any, spots: Iterable[Spot], timeout_s: float) -> dict[Spot, int]:
    """The offsets at which the group is to begin, where that is decided and nothing is committed yet."""
    found = _committed(consumer, spots, timeout_s)
    return {spot: offset.offset for spot, offset in found.items() if offset.metadata == START_MARK}


def _committed(consumer: Any, spots: Iterable[Spot], timeout_s: float) -> dict[Spot, Any]:
    wanted = [TopicPartition(*spot) for spot in spots]
    found = consumer._coordinator.fetch_committed_offsets(wanted, timeout_ms=int(timeout_s * 1000)) if wanted else {}
    return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


def stretches(
    fetched: Mapping[Any, Sequence[Records]], before: Mapping[Spot, int], now: Mapping[Spot, int]
) -> list[Records]:
    """The records of a poll, one `Records` a partition.

    `before` and `now` are the positions around the poll. A partition that advanced without records (over transaction
    markers, or over aborted or compacted records) gives an empty stretch, so that the reader sees its new position.
    """
    found = {(tp.topic, tp.partition): records for tp, records in fetched.items()}
    moved = [spot for spot, position in now.items() if spot in found or position != before.get(spot, position)]
    return [_joined(spot, list(found.get(spot, ())), now[spot]) for spot in moved]


def _joined(spot: Spot, parts: Sequence[Records], next_offset: int) -> Records:
    """Consecutive stretches of one partition as one; an empty stretch if there are none."""
    if not parts:
        return Records.build(*spot, (), next_offset)
    if len(parts) == 1:
        return replace(parts[0], next_offset=next_offset)
    starts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])

    def spans(columns: list[I64]) -> I64:
        return np.concatenate([np.where(c < 0, c, c + start) for c, start in zip(columns, starts, strict=True)])

    return Records(
        parts[0].topic,
        parts[0].partition,
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.timestamp_ms for part in parts]),
        spans([part.key for part in parts]),
        spans([part.value for part in parts]),
        spans([part.headers for part in parts]),
        next_offset,
        {offset: batch for part in parts for offset, batch in part.oversize.items()},
    )
