"""The log on a Kafka cluster: event topics in, outputs and progress out.

One process reads all partitions of its topics; the group id only names whose offsets are committed. Reading, the past
and committing are apart: `kafka_fetch` turns what the client fetches into `Records`, `kafka_history` knows what was
done before, and a committer such as `AtLeastOnce` makes a commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec
from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError, GapError
from streamer.logs.base import Epoch, Output, Past, Records
from streamer.logs.deadline import Overrun, within
from streamer.logs.kafka_batches import BatchError
from streamer.logs.kafka_clients import REQUEST_TIMEOUT_MS, new_consumer, new_producer
from streamer.logs.kafka_commit import AtLeastOnce
from streamer.logs.kafka_connection import KafkaConnection
from streamer.logs.kafka_fetch import Spot, ends, partition_counts, positions, stretches, topic_ids
from streamer.logs.kafka_history import START_AFRESH, Bounds, History, check_topic_id

CLOSE_TIMEOUT_S = 5.0
REST_S = 0.2  # after a failed poll; longer would starve the partitions that can be read
CALM_POLLS = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaLogSettings:
    """What to read, in whose name, and within which bounds."""

    topics: tuple[str, ...]  # event topics in canonical order, then the alerts topic
    group_id: str  # whose offsets are committed; one process per group
    epochs_topic: str = "driftline.epochs"  # one partition, keeps everything, belongs to this group alone
    start: Literal["earliest", "latest"] = "earliest"  # where to begin with a topic that was never read before
    raw_batches: bool = True  # read whole record batches; false: record by record, slower by far
    records_max: int = 100_000  # of one poll
    fetch_bytes_max: int = 32 << 20  # of one answer of a broker, compressed
    partition_fetch_bytes_max: int = 2 << 20  # of one partition in it
    request_bytes_max: int = 16 << 20  # the largest output that is sent at all
    commit_deadline_s: float = 30.0  # for each step of a commit; past it, the commit is in doubt
    metadata_age_s: float = 30.0  # how late a topic that was deleted and created again is noticed

    def __post_init__(self) -> None:
        if not self.topics or not self.group_id:
            raise ValueError("topics and group_id must not be empty")
        if self.epochs_topic in self.topics:
            raise ValueError(f"the epochs topic {self.epochs_topic} can't be an input as well")
        for name in ("records_max", "fetch_bytes_max", "partition_fetch_bytes_max", "request_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("commit_deadline_s", "metadata_age_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")


class KafkaLog:
    """A `Log` on Kafka. Delivers at least once; ids derived from the input make repeats recognisable.

    `unit_of` maps a topic and partition to its fold unit; a unit has at most one partition of each topic. All methods
    belong to one thread. Raises BrokerError when the cluster can't be reached.
    """

    def __init__(
        self, connection: KafkaConnection, settings: KafkaLogSettings, unit_of: Callable[[str, int], str]
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._unit_of = unit_of
        self._units: dict[Spot, str] = {}
        self._spots: dict[tuple[str, str], Spot] = {}  # (unit, topic) -> its topic-partition
        self._topic_ids: dict[str, str] = {}
        self._counts: dict[str, int] = {}  # partitions of each topic, as of the last metadata
        self._numbers: dict[str, int] = {}  # the last epoch of each unit that is in the epochs topic
        self._trouble = ""
        self._good_polls = 0
        self._closed = False
        with self._asking("be reached"):
            self._consumer = self._new_consumer(settings.group_id)
            self._producer = new_producer(connection, settings.commit_deadline_s, settings.request_bytes_max)
        self._committer = AtLeastOnce(
            self._producer, self._commit_offsets, settings.epochs_topic, settings.commit_deadline_s
        )

    def past(self) -> Mapping[str, Past]:
        """See `Log`; also takes charge: where the group has never read, it notes in the epochs topic where it begins.

        Raises GapError when records are gone that the state needs, UsageError when topics, group and epochs topic do
        not belong together, BrokerError when a topic is missing or the cluster does not answer, and Doubt.
        """
        with self._asking("say what was done before"):
            self._assign()
            bounds = self._bounds([*self._units, (self._settings.epochs_topic, 0)])
            history = self._read_history(bounds.pop((self._settings.epochs_topic, 0)))
            committed = self._committed()
            self._check_known(history, committed)
            starts = history.begin(self._units, bounds, self._topic_ids, self._settings.start == "latest")
            for start in starts:
                history.add_start(start)
            history.check(self._units, bounds, self._topic_ids)
            self._committer.write_epochs([(start.unit, msgspec.json.encode(start)) for start in starts])
            for spot, unit in self._units.items():
                self._consumer.seek(TopicPartition(*spot), history.starts[unit][spot[0]])
        self._numbers = history.last()
        return history.past(self._units, committed)

    def poll(self, timeout_s: float) -> list[Records]:
        """See `Log`. A broker that is away gives nothing, for as long as it is away; so does a damaged batch.

        An empty stretch says that a partition moved on without records. Raises GapError when the records to read next
        are gone or the topic is not the same any more, BrokerError when we are not allowed to read it.
        """
        before = positions(self._consumer)
        try:
            fetched = self._consumer.poll(int(timeout_s * 1000), self._settings.records_max)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            self._check_topics(refresh=True)
            raise self._gap(error) from error
        except AuthorizationError as error:
            raise BrokerError(f"Kafka does not let us read: {error}. Grant Read on the topics and the group") from error
        except (KafkaError, BatchError) as error:
            self._note(f"{type(error).__name__}: {error}")
            time.sleep(min(timeout_s, REST_S))
            return []
        self._check_topics()
        found = stretches(fetched, before, positions(self._consumer))
        self._note("")
        rank = {topic: i for i, topic in enumerate(self._settings.topics)}
        return sorted(found, key=lambda records: (rank[records.topic], records.partition))

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> None:
        """See `Log`. Raises Doubt, naming the step, and BrokerError when an output is refused for good."""
        fresh = [epoch for epoch in epochs if epoch.number > self._numbers.get(epoch.unit, 0)]
        offsets: dict[Spot, int] = {}
        for epoch in epochs:
            offsets |= {self._spots[epoch.unit, topic]: end for topic, end in epoch.ends.items()}
        self._committer.commit(fresh, outputs, offsets)
        self._numbers |= {epoch.unit: epoch.number for epoch in fresh}

    def hold(self, topic: str, partition: int, held: bool) -> None:
        (self._consumer.pause if held else self._consumer.resume)(TopicPartition(topic, partition))

    def behind(self) -> list[Spot]:
        at, end = positions(self._consumer), ends(self._consumer)
        return [spot for spot in self._units if spot not in end or at.get(spot, 0) < end[spot]]

    def exhausted(self) -> bool:
        return False

    def lag(self) -> dict[Spot, int]:
        """Records not polled yet, by topic and partition, as of the last fetch of each; costs no request."""
        at = positions(self._consumer)
        return {spot: max(end - at.get(spot, end), 0) for spot, end in ends(self._consumer).items()}

    def close(self) -> None:
        """Let go of both clients within a few seconds, whatever state they are in; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        timeout_ms = int(CLOSE_TIMEOUT_S * 1000)
        for close in (
            partial(self._producer.close, CLOSE_TIMEOUT_S),
            partial(self._consumer.close, autocommit=False, timeout_ms=timeout_ms),
        ):
            with suppress(Overrun, KafkaError):  # all that had to be certain was certain when commit returned
                within(2 * CLOSE_TIMEOUT_S, close)

    def _assign(self) -> None:
        """Take all partitions of the topics. Raises BrokerError for a topic that is missing or has too many."""
        if self._partitions_of(self._settings.epochs_topic) != [0]:
            raise BrokerError(
                f"Topic {self._settings.epochs_topic} has several partitions, and epochs need one order: create it "
                "with one"
            )
        for topic in self._settings.topics:
            for partition in self._partitions_of(topic):
                unit = self._unit_of(topic, partition)
                self._units[topic, partition] = unit
                if self._spots.setdefault((unit, topic), (topic, partition)) != (topic, partition):
                    raise BrokerError(
                        f"Topic {topic} has several partitions, and {unit} reads it in one order: create it with one"
                    )
        self._topic_ids = topic_ids(self._consumer, self._settings.topics)
        self._consumer.assign([TopicPartition(*spot) for spot in self._units])

    def _partitions_of(self, topic: str) -> list[int]:
        # The client waits without limit here, should the broker go away at the wrong moment.
        found = within(self._settings.commit_deadline_s, partial(self._consumer.partitions_for_topic, topic))
        if not found:
            raise BrokerError(
                f"Topic {topic} does not exist at {self._where}, or we may not describe it: create it, or grant "
                "Describe on it"
            )
        return sorted(found)

    def _bounds(self, spots: Sequence[Spot]) -> dict[Spot, Bounds]:
        partitions = [TopicPartition(*spot) for spot in spots]
        begin = self._consumer.beginning_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        end = self._consumer.end_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        return {(tp.topic, tp.partition): Bounds(begin[tp], end[tp]) for tp in partitions}

    def _committed(self) -> dict[Spot, int]:
        found = {
            spot: self._consumer.committed(TopicPartition(*spot), timeout_ms=REQUEST_TIMEOUT_MS) for spot in self._units
        }
        return {spot: offset for spot, offset in found.items() if offset is not None}

    def _read_history(self, bounds: Bounds) -> History:
        """Read the epochs topic from its beginning to its end, by a client of its own."""
        history = History(self._settings.group_id, self._settings.epochs_topic)
        reader = self._new_consumer(None)
        try:
            tp = TopicPartition(self._settings.epochs_topic, 0)
            reader.assign([tp])
            reader.seek(tp, bounds.begin)
            patience_s = self._settings.commit_deadline_s
            while (before := positions(reader))[tp.topic, 0] < bounds.end:
                fetched = reader.poll(1000, self._settings.records_max)
                found = stretches(fetched, before, positions(reader))
                patience_s = self._settings.commit_deadline_s if found else patience_s - 1
                if patience_s < 0:
                    raise BrokerError(f"Topic {tp.topic} at {self._where} can't be read to its end: see the broker")
                for records in found:
                    history.add(records)
            # Not the end as it is now: what another process has written meanwhile must be noticed.
            self._committer.epochs_end = positions(reader)[tp.topic, 0]
        finally:
            reader.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))
        return history

    def _check_known(self, history: History, committed: Mapping[Spot, int]) -> None:
        for topic, partition in history.unread(self._units):
            if (topic, partition) in committed:
                raise GapError(
                    f"Group {self._settings.group_id} has read {topic}-{partition} up to offset "
                    f"{committed[topic, partition]}, but {self._settings.epochs_topic} does not know how: the epochs "
                    f"were lost, or another program uses the group. Restore them, {START_AFRESH}"
                )

    def _commit_offsets(self, offsets: Mapping[Spot, int]) -> None:
        wanted = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in offsets.items()}
        self._consumer.commit(wanted, timeout_ms=int(self._settings.commit_deadline_s * 1000))

    def _check_topics(self, refresh: bool = False) -> None:
        """Raises GapError when a topic is not the one we began with, as far as the client's metadata tells."""
        known = [topic for topic, topic_id in self._topic_ids.items() if topic_id]
        now = topic_ids(self._consumer, known)
        if refresh or "" in now.values():
            with suppress(Overrun, KafkaError):
                there = within(CLOSE_TIMEOUT_S, self._consumer.topics)
                now = topic_ids(self._consumer, known)
                for topic in known:
                    if topic not in there:
                        raise GapError(f"Topic {topic} was deleted while it was read. Restore it, {START_AFRESH}")
        for topic in known:
            check_topic_id(topic, self._topic_ids[topic], now[topic])
        counts = partition_counts(self._consumer, self._settings.topics)
        if sum(counts.values()) > len(self._units) and counts != self._counts:
            log.warning("There are new partitions, which are read after the next start: %s", counts)
        self._counts = counts

    def _gap(self, error: Exception) -> GapError:
        at = positions(self._consumer)
        with suppress(KafkaError):
            for spot, bounds in self._bounds(list(at)).items():
                if not bounds.begin <= at[spot] <= bounds.end:
                    return GapError(
                        f"{spot[0]}-{spot[1]} holds offsets {bounds.begin} to {bounds.end} now, and reading stands at "
                        f"{at[spot]}: the records to read next are gone. Keep them longer (retention.ms, "
                        f"retention.bytes), {START_AFRESH}"
                    )
        return GapError(f"The records to read next are gone ({error}). Restore the topic, {START_AFRESH}")

    def _note(self, trouble: str) -> None:
        """Say once that reading is in trouble, and once that it is over.

        One damaged partition fails every other poll, so trouble is over only after many good ones.
        """
        self._good_polls = 0 if trouble else self._good_polls + 1
        if trouble and trouble != self._trouble:
            log.warning("Kafka at %s can't be read at the moment, trying again: %s", self._where, trouble)
            self._trouble = trouble
        elif self._trouble and self._good_polls >= CALM_POLLS:
            log.warning("Kafka at %s can be read again", self._where)
            self._trouble = ""

    @property
    def _where(self) -> str:
        return ", ".join(self._connection.bootstrap)

    @contextmanager
    def _asking(self, errand: str) -> Iterator[None]:
        try:
            yield
        except (KafkaError, BatchError, Overrun) as error:
            raise BrokerError(f"Kafka at {self._where} could not {errand}: {type(error).__name__}: {error}") from error

    def _new_consumer(self, group_id: str | None) -> Any:
        return new_consumer(
            self._connection,
            group_id,
            raw_batches=self._settings.raw_batches,
            fetch_bytes_max=self._settings.fetch_bytes_max,
            partition_fetch_bytes_max=self._settings.partition_fetch_bytes_max,
            metadata_age_s=self._settings.metadata_age_s,
        )
