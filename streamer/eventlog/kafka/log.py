"""The log on a Kafka cluster: event topics in, outputs and progress out.

A `KafkaLog` is one member of a consumer group. Its parts: `kafka_group` knows which partitions are ours, `kafka_fetch`
turns what the client fetches into `Records`, `kafka_history` reads what a unit has done, and a committer of
`kafka_commit` makes outputs and progress durable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError, InDoubtError
from streamer.eventlog.base import Epoch, History, Note, Output, RebalanceInProgress, Records, Start
from streamer.eventlog.history import AttemptSurvived, Gap, encode_entry
from streamer.eventlog.kafka.batches import BatchError
from streamer.eventlog.kafka.clients import Member, new_consumer, new_producer
from streamer.eventlog.kafka.commit import AtLeastOnce, ExactlyOnce, Offsets, PendingSend, Sender
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import DeadlineExceeded, within
from streamer.eventlog.kafka.fetch import Spot, committed_offsets, ends, poll, positions, stretches
from streamer.eventlog.kafka.hanging_transactions import abort_forgotten
from streamer.eventlog.kafka.membership import Membership
from streamer.eventlog.kafka.positions import Places, pause, seek
from streamer.eventlog.kafka.settings import KafkaLogSettings
from streamer.eventlog.kafka.unit_history import HistoryReader, check_topics, partition_of_history

CLOSE_TIMEOUT_S = 5.0
ABSOLVE_DEADLINE_S = 5.0
REST_S = 0.2  # after a failed poll; longer would starve the partitions that can be read
CALM_POLLS = 50

log = logging.getLogger(__name__)


class KafkaLog:
    """A `Log` on Kafka, as one member of a group.

    `unit_of` maps a topic and partition to its fold unit; a unit has at most one partition of each topic. All methods
    belong to one thread. Raises BrokerError when the cluster can't be reached, and InDoubtError when it does not
    answer.
    """

    def __init__(
        self, connection: KafkaConnection, settings: KafkaLogSettings, unit_of: Callable[[str, int], str]
    ) -> None:
        self._connection, self._settings, self._unit_of = connection, settings, unit_of
        self._spots: dict[str, list[Spot]] = {}  # unit that is ours -> its topic-partitions
        self._resumed: set[Spot] = set()  # of which records are handed out
        self._held: set[Spot] = set()  # of which there is enough for now
        self._at: dict[str, dict[Spot, int]] = {}  # unit -> what is committed of it
        self._numbers: dict[str, int] = {}  # the last epoch of each unit that is in its history
        self._trouble = ""
        self._good_polls = 0
        self._closed = False
        member = settings.member
        exactly_once = settings.delivery == "exactly_once"
        with self._asking("be reached"):
            self._producer = new_producer(
                connection,
                settings.commit_deadline_s,
                settings.request_bytes_max,
                member.instance_id if exactly_once else None,
            )
            sender = Sender(self._producer, settings.epochs_topic, settings.commit_deadline_s)
            # What an earlier self has begun is over before we ask what is committed.
            self._committer = (ExactlyOnce if exactly_once else AtLeastOnce)(sender, self)
            if exactly_once:
                written = [settings.epochs_topic, *settings.outputs]
                abort_forgotten(connection, sender, written, settings.topics, settings.group_id)
            self._consumer = self._new_consumer(member)
            self._reader = self._new_consumer(None)
            self._check_topics()
        self._histories = HistoryReader(
            self._reader, settings.epochs_topic, settings.group_id, settings.commit_deadline_s
        )
        self._places = Places(self._consumer, settings.start == "latest", self.committed)
        self._membership = Membership(self._consumer, settings.topics)

    def poll(self, timeout_s: float) -> list[Records]:
        """See `Log`. A broker that is away gives nothing, for as long as it is away; so does a damaged batch.

        An empty stretch says that a partition moved on without records. Raises GapError when the records to read next
        are gone or the topic is not the same any more, BrokerError when we are not allowed to read it, and
        InDoubtError when
        another process has our number.
        """
        before = positions(self._consumer)
        try:
            fetched = poll(self._consumer, int(timeout_s * 1000), self._settings.records_max)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            if self._moved() or not self._resumed.issuperset(self._ours()):
                return []  # of partitions that are placed only when they are resumed
            self._places.check(refresh=True)
            raise self._places.gap(error) from error
        except FencedInstanceIdError as error:
            raise InDoubtError(
                f"Another process is member {self._settings.member.instance_id} of the group, so this one ends: see "
                "that each worker of a group has a number of its own"
            ) from error
        except AuthorizationError as error:
            raise BrokerError(f"Kafka does not let us read: {error}. Grant Read on the topics and the group") from error
        except (KafkaError, BatchError) as error:
            self._note(f"{type(error).__name__}: {error}")
            time.sleep(min(timeout_s, REST_S))
            return []
        if self._moved():
            return []
        self._places.check()
        self._note("")
        rank = {topic: i for i, topic in enumerate(self._settings.topics)}
        found = stretches(fetched, before, positions(self._consumer))
        ours = [records for records in found if (records.topic, records.partition) in self._resumed]
        return sorted(ours, key=lambda records: (rank[records.topic], records.partition))

    def assignment(self) -> Collection[str] | None:
        """See `Log`. Raises BrokerError when a unit would have several partitions of a topic."""
        if not self._moved() or (spots := self._membership.look()) is None or not pause(self._consumer, spots):
            return None
        self._resumed.clear()
        self._spots = {}
        for topic, partition in spots:
            unit = self._unit_of(topic, partition)
            here = self._spots.setdefault(unit, [])
            if any(topic == other for other, _ in here):
                raise BrokerError(
                    f"Topic {topic} has several partitions, and {unit} reads it in one order: create it with one"
                )
            here.append((topic, partition))
        return sorted(self._spots)

    def past(self, unit: str, since: Epoch | None = None) -> History | None:
        """See `Log`. What is committed and what the history says must agree.

        Raises GapError when they don't or the history's beginning is missing, UsageError when topics, group and epochs
        topic do not belong together, BrokerError when the cluster does not answer, and Unsettled.
        """
        spots = self._spots_of(unit)
        with self._asking(f"say what {unit} has done"):
            at_first = self.committed(spots)
            committed = {topic: offset for (topic, _), offset in at_first.items()}
            past, end = self._histories.read(unit, since, committed)
            if self.committed(spots) != at_first:  # offsets of before and a history of after are no past
                raise RebalanceInProgress(f"another process has committed epochs of {unit} meanwhile")
        if past is None:
            return None
        check_topics(unit, since.ends if since else past.starts, past, {topic for topic, _ in spots})
        at = self._committer.proven(partition_of_history(unit), past, end, committed)
        self._at[unit] = {spot: at[spot[0]] for spot in spots if spot[0] in at}
        self._numbers[unit] = past.last
        return past

    def resume(self, unit: str, ends: Mapping[str, int], topic_ids: Mapping[str, str]) -> Start:
        """See `Log`."""
        spots = self._spots_of(unit)
        with self._asking("say what its topics hold"):
            starts, ids = self._places.resume(spots, ends, topic_ids)
        self._read_from(unit, {**ends, **starts})
        return Start(unit, starts, ids, self._settings.group_id)

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        """See `Log`."""
        with self._asking("say what its topics hold"):
            starts, ids = self._places.skip(self._spots_of(unit), ends)
        self._read_from(unit, starts)
        return Start(unit, starts, ids, self._settings.group_id)

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        """See `Log`. The place of the unit's reading is committed with them, so that only its owner can note."""
        at = dict(self._at[unit])
        for note in notes:
            if isinstance(note, Start | Gap):
                at |= {spot: note.starts[spot[0]] for spot in self._spots_of(unit) if spot[0] in note.starts}
        self._committer.commit([_entry(unit, note) for note in notes], [], at)
        self._at[unit] = at

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        """See `Log`. Raises InDoubtError, naming the step, and BrokerError when an output is refused for good."""
        at = {epoch.unit: self._offsets(epoch) for epoch in epochs}
        fresh = [epoch for epoch in epochs if epoch.number > self._numbers.get(epoch.unit, 0)]
        entries = [_entry(epoch.unit, epoch) for epoch in fresh]
        places = self._committer.commit(entries, outputs, {spot: o for of in at.values() for spot, o in of.items()})
        self._at |= at
        self._numbers |= {epoch.unit: epoch.number for epoch in fresh}
        placed = {(e.unit, e.number): place for e, place in zip(fresh, places, strict=True)}
        return [replace(epoch, at=placed.get((epoch.unit, epoch.number), epoch.at)) for epoch in epochs]

    def absolve(self, units: Collection[str]) -> None:
        """See `Log`. By a producer of its own, because nobody knows what ours is about."""
        with suppress(Exception):
            deadline_s = min(self._settings.commit_deadline_s, ABSOLVE_DEADLINE_S)
            producer = new_producer(self._connection, deadline_s, self._settings.request_bytes_max)
            sender = Sender(producer, self._settings.epochs_topic, deadline_s)
            sender.step(
                "absolve", partial(sender.publish_entries, [_entry(unit, AttemptSurvived(unit)) for unit in units])
            )

    def hold(self, topic: str, partition: int, held: bool) -> None:
        """See `Log`. What is held stays so when the group moves, as far as it stays ours."""
        (self._held.add if held else self._held.discard)((topic, partition))
        if (topic, partition) in self._resumed & positions(self._consumer).keys():
            (self._consumer.pause if held else self._consumer.resume)(TopicPartition(topic, partition))

    def behind(self) -> list[Spot]:
        at, end = positions(self._consumer), ends(self._consumer)
        return [spot for spot in self._ours() if spot not in end or at.get(spot, 0) < end[spot]]

    def exhausted(self) -> bool:
        return False

    def lag(self) -> dict[Spot, int]:
        """Records not polled yet, by topic and partition, as of the last fetch of each; costs no request."""
        at = positions(self._consumer)
        return {spot: max(end - at.get(spot, end), 0) for spot, end in ends(self._consumer).items()}

    def close(self) -> None:
        """Let go of the clients within a few seconds, whatever state they are in; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        timeout_ms = int(CLOSE_TIMEOUT_S * 1000)
        for close in (
            partial(self._producer.close, CLOSE_TIMEOUT_S),
            partial(self._consumer.close, autocommit=False, timeout_ms=timeout_ms),
            partial(self._reader.close, autocommit=False, timeout_ms=timeout_ms),
        ):
            with suppress(DeadlineExceeded, KafkaError):  # all that had to be certain was certain when commit returned
                within(2 * CLOSE_TIMEOUT_S, close)

    def fence(self) -> Any:
        """See `kafka_commit.Group`."""
        return self._membership.fence()

    def committed(self, spots: Collection[Spot]) -> Offsets:
        """See `kafka_commit.Group`."""
        return committed_offsets(self._consumer, spots, self._settings.commit_deadline_s)

    def commit_offsets(self, offsets: Offsets) -> None:
        """See `kafka_commit.Group`."""
        wanted = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in offsets.items()}
        self._consumer.commit(wanted, timeout_ms=int(self._settings.commit_deadline_s * 1000))

    def _check_topics(self) -> None:
        """Raises BrokerError for a topic that is missing. What is known here, the group need not find out by and by."""
        for topic in self._settings.topics:
            # The client waits without limit here, should the broker go away at the wrong moment.
            found = within(self._settings.commit_deadline_s, partial(self._consumer.partitions_for_topic, topic))
            if not found:
                raise BrokerError(
                    f"Topic {topic} does not exist at {self._where}, or we may not describe it: create it, or grant "
                    "Describe on it"
                )

    def _ours(self) -> list[Spot]:
        return [spot for spots in self._spots.values() for spot in spots]

    def _moved(self) -> bool:
        """Whether the assignment is to be looked at; until then nothing that was placed counts."""
        if self._membership.moved:
            self._resumed.clear()
            return True
        return False

    def _spots_of(self, unit: str) -> list[Spot]:
        """Raises `RebalanceInProgress` when the unit is no longer ours, as far as we know."""
        if self._membership.moved or unit not in self._spots:
            raise RebalanceInProgress(f"{unit} may be another's now")
        return self._spots[unit]

    def _read_from(self, unit: str, at: Mapping[str, int]) -> None:
        spots = self._spots_of(unit)
        if not seek(self._consumer, spots, at, self._held):
            raise RebalanceInProgress(f"{unit} is another's now")
        self._resumed.update(spots)

    def _offsets(self, epoch: Epoch) -> dict[Spot, int]:
        """What to commit for an epoch: where it ends, of the topics that are still read."""
        return {spot: epoch.ends[spot[0]] for spot in self._spots_of(epoch.unit) if spot[0] in epoch.ends}

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
        except (KafkaError, BatchError, DeadlineExceeded) as error:
            # A worker that has joined its group has reached the cluster, so it was the cluster that went away.
            kind = InDoubtError if self._spots and not isinstance(error, AuthorizationError) else BrokerError
            raise kind(f"Kafka at {self._where} could not {errand}: {type(error).__name__}: {error}") from error

    def _new_consumer(self, member: Member | None) -> Any:
        return new_consumer(
            self._connection,
            member,
            raw_batches=self._settings.raw_batches,
            fetch_bytes_max=self._settings.fetch_bytes_max,
            partition_fetch_bytes_max=self._settings.partition_fetch_bytes_max,
            metadata_age_s=self._settings.metadata_age_s,
        )


def _entry(unit: str, entry: Epoch | Note) -> PendingSend:
    return PendingSend(partition_of_history(unit), unit, encode_entry(entry))
