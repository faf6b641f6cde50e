"""The log on a Kafka cluster: event topics in, outputs and progress out.

A `KafkaLog` is one member of a consumer group. Its parts: `membership` tracks the assigned partitions, `fetch` turns
fetched batches into `Records`, `unit_history` reads a unit's history, and `commit` makes outputs and progress durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
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
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.admin import message_bytes_max
from streamer.eventlog.kafka.batches import BatchError
from streamer.eventlog.kafka.clients import KafkaLogSettings, Member, new_consumer, new_producer, transaction_timeout_s
from streamer.eventlog.kafka.commit import AtLeastOnce, ExactlyOnce, Offsets, PendingSend, Sender, owner_header
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import DeadlineExceeded, within
from streamer.eventlog.kafka.fetch import Spot, committed_offsets, ends, partition_counts, poll, positions, stretches
from streamer.eventlog.kafka.hanging_transactions import abort_hanging
from streamer.eventlog.kafka.membership import Membership
from streamer.eventlog.kafka.positions import LatestStart, Places, pause, seek
from streamer.eventlog.kafka.unit_history import EpochsTopic, HistoryReader, check_topics, partition_of_history
from streamer.eventlog.size_limits import Cut, SizeLimits, size_of, uncut
from streamer.logs import log_of

CLOSE_TIMEOUT_S = 5.0
CLEAR_DEADLINE_S = 5.0
REST_S = 0.2  # pause after a failed poll; a longer one would starve the readable partitions
CALM_POLLS = 50

log = log_of("eventlog")


class KafkaLog:
    """A `Log` on Kafka, as one member of a group.

    `unit_of` maps a topic and partition to its fold unit; a unit has at most one partition of each topic. `cut` makes
    an output smaller that its topic would not take. All methods belong to one thread. Raises BrokerError when the
    cluster can't be reached, and InDoubtError when it does not answer.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        settings: KafkaLogSettings,
        unit_of: Callable[[str, int], str],
        cut: Cut = uncut,
    ) -> None:
        self._connection, self._settings, self._unit_of = connection, settings, unit_of
        self._spots: dict[str, list[Spot]] = {}  # assigned unit -> its topic-partitions
        self._resumed: set[Spot] = set()  # whose records `poll` returns
        self._held: set[Spot] = set()  # paused, because enough is buffered
        self._at: dict[str, dict[Spot, int]] = {}  # unit -> its committed offsets
        self._numbers: dict[str, int] = {}  # unit -> number of the last epoch in its history
        self._trouble, self._good_polls = "", 0
        self._closed = False
        member, exactly_once = settings.member, settings.delivery == "exactly_once"
        self._client = Client.of(connection, settings.group_id, member.instance_id)
        with ExitStack() as on_failure, self._errors_of("be reached"):
            reserved = size_of(Output("", None, None, (owner_header(settings.group_id),)))
            limits = SizeLimits(message_bytes_max(connection, settings.outputs), cut, reserved)
            deadline_s, epochs = settings.commit_deadline_s, settings.epochs_topic
            new = partial(new_producer, connection, deadline_s, settings.request_bytes_max)
            name = member.instance_id if exactly_once else None
            self._sender = sender = Sender(
                lambda: new(name, limits.batch_bytes_max), epochs, deadline_s, limits, self._client
            )
            on_failure.callback(sender.abandon)  # else its threads go on
            # The transactions of an earlier process end before the committed offsets are read.
            self._committer = (ExactlyOnce if exactly_once else AtLeastOnce)(sender, self)
            if exactly_once:
                written = [settings.epochs_topic, *settings.outputs]
                abort_hanging(connection, sender, written, settings.topics, settings.group_id)
            self._consumer = self._new_consumer(member)
            self._reader = self._new_consumer(None)
            self._check_topics()
            on_failure.pop_all()
        self._histories = HistoryReader(
            self._reader, settings.epochs_topic, settings.group_id, transaction_timeout_s(settings.commit_deadline_s)
        )
        self._epochs = EpochsTopic(connection, settings.epochs_topic, self._histories, settings.commit_deadline_s)
        latest = LatestStart(self._consumer, settings.commit_deadline_s) if settings.start == "latest" else None
        self._places = Places(self._consumer, latest)
        self._membership = Membership(self._consumer, settings.topics)

    def poll(self, timeout_s: float) -> list[Records]:
        """See `Log`. An unreachable broker gives no records until it is back; so does a damaged batch.

        An empty stretch: a partition advanced without records. Raises GapError when the next records are gone or the
        topic was replaced, MissingRightError, and InDoubtError when another process has the same
        worker number.
        """
        before = positions(self._consumer)
        try:
            fetched = poll(self._consumer, int(timeout_s * 1000), self._settings.records_max)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            if self._moved() or not self._resumed.issuperset(self._ours()):
                return []  # a partition that `resume` has not placed yet
            self._places.check(refresh=True)
            raise self._places.gap(error) from error
        except FencedInstanceIdError as error:
            raise InDoubtError(
                f"Another process is member {self._settings.member.instance_id} of the group, so this one ends: give "
                "each worker of a group a number of its own"
            ) from error
        except (KafkaError, BatchError) as error:
            if missing := self._client.refusal(error, "Read", self._settings.topics):
                raise missing from error
            self._log_trouble(f"{type(error).__name__}: {error}")
            time.sleep(min(timeout_s, REST_S))
            return []
        if self._moved():
            return []
        self._places.check()
        self._log_trouble("")
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
        """See `Log`. The committed offsets and the history must agree.

        Raises GapError when they don't or the history's beginning is missing, UsageError when topics, group and epochs
        topic do not belong together, BrokerError when the cluster does not answer, RebalanceInProgress, and
        UnitNotReady.
        """
        spots = self._spots_of(unit)
        with self._errors_of(f"read the history of {unit}"):
            self._epochs.require(unit, self._unit_count, self._producer)
            at_first = self.committed(spots)
            committed = {topic: offset for (topic, _), offset in at_first.items()}
            past, end = self._histories.read(unit, since, committed)
            if self.committed(spots) != at_first:  # old offsets do not fit a newer history
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
        with self._errors_of("list the offsets of its topics"):
            starts, ids = self._places.resume(spots, ends, topic_ids)
        self._read_from(unit, {**ends, **starts})
        return Start(unit, starts, ids, self._settings.group_id)

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        """See `Log`."""
        with self._errors_of("list the offsets of its topics"):
            starts, ids = self._places.skip(self._spots_of(unit), ends)
        self._read_from(unit, starts)
        return Start(unit, starts, ids, self._settings.group_id)

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        """See `Log`. Commits the unit's position with the notes, so only the owner of the unit can add notes."""
        at = dict(self._at[unit])
        for note in notes:
            if isinstance(note, Start | Gap):
                at |= {spot: note.starts[spot[0]] for spot in self._spots_of(unit) if spot[0] in note.starts}
        self._committer.commit([_entry(unit, note) for note in notes], [], at)
        self._at[unit] = at

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        """See `Log`. Raises InDoubtError with the step, and BrokerError when a broker refuses an output permanently."""
        at = {epoch.unit: self._offsets(epoch) for epoch in epochs}
        fresh = [epoch for epoch in epochs if epoch.number > self._numbers.get(epoch.unit, 0)]
        entries = [_entry(epoch.unit, epoch) for epoch in fresh]
        places = self._committer.commit(entries, outputs, {spot: o for of in at.values() for spot, o in of.items()})
        self._at |= at
        self._numbers |= {epoch.unit: epoch.number for epoch in fresh}
        placed = {(e.unit, e.number): place for e, place in zip(fresh, places, strict=True)}
        return [replace(epoch, at=placed.get((epoch.unit, epoch.number), epoch.at)) for epoch in epochs]

    def clear_attempts(self, units: Mapping[str, int]) -> None:
        """See `Log`. Uses a producer of its own, because the state of the log's producer is unknown."""
        with suppress(Exception):
            deadline_s = min(self._settings.commit_deadline_s, CLEAR_DEADLINE_S)
            producer = partial(new_producer, self._connection, deadline_s, self._settings.request_bytes_max)
            sender = Sender(producer, self._settings.epochs_topic, deadline_s)
            notes = [_entry(unit, AttemptSurvived(unit, records)) for unit, records in units.items()]
            sender.step("clear attempts", partial(sender.publish_entries, notes))

    def hold(self, topic: str, partition: int, held: bool) -> None:
        """See `Log`. A held partition stays held across a rebalance, while it stays assigned."""
        (self._held.add if held else self._held.discard)((topic, partition))
        if (topic, partition) in self._resumed & positions(self._consumer).keys():
            (self._consumer.pause if held else self._consumer.resume)(TopicPartition(topic, partition))

    def lagging(self) -> list[Spot]:
        at, end = positions(self._consumer), ends(self._consumer)
        return [spot for spot in self._ours() if spot not in end or at.get(spot, 0) < end[spot]]

    def exhausted(self) -> bool:
        return False

    def lag(self) -> dict[Spot, int]:
        """Records not polled yet, by topic and partition, as of the last fetch of each; costs no request."""
        at = positions(self._consumer)
        return {spot: max(end - at.get(spot, end), 0) for spot, end in ends(self._consumer).items()}

    def close(self) -> None:
        """Close the clients within a few seconds, whatever their state; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        timeout_ms = int(CLOSE_TIMEOUT_S * 1000)
        for close in (
            partial(self._sender.producer.close, CLOSE_TIMEOUT_S),
            partial(self._consumer.close, autocommit=False, timeout_ms=timeout_ms),
            partial(self._reader.close, autocommit=False, timeout_ms=timeout_ms),
        ):
            with suppress(DeadlineExceeded, KafkaError):  # commit has returned, so nothing is pending
                within(2 * CLOSE_TIMEOUT_S, close)

    def fence(self) -> Any:
        """See `commit.Group`."""
        return self._membership.fence()

    def committed(self, spots: Collection[Spot]) -> Offsets:
        """See `commit.Group`."""
        return committed_offsets(self._consumer, spots, self._settings.commit_deadline_s)

    def commit_offsets(self, offsets: Offsets) -> None:
        """See `commit.Group`."""
        wanted = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in offsets.items()}
        self._consumer.commit(wanted, timeout_ms=int(self._settings.commit_deadline_s * 1000))

    def _check_topics(self) -> None:
        """Raises BrokerError for a missing topic; also loads the metadata that the group needs at its start."""
        for topic in self._settings.topics:
            # The client blocks without limit here if the broker goes away at the wrong moment.
            found = within(self._settings.commit_deadline_s, partial(self._consumer.partitions_for_topic, topic))
            if not found:
                raise BrokerError(
                    f"Topic {topic} does not exist at {self._where}, or Describe is not granted: create or grant it"
                )

    def _unit_count(self) -> int:
        return max(partition_counts(self._consumer, self._settings.topics).values()) + 1

    def _ours(self) -> list[Spot]:
        return [spot for spots in self._spots.values() for spot in spots]

    def _moved(self) -> bool:
        """Whether the assignment must be read again; until then no partition counts as resumed."""
        if self._membership.moved:
            self._resumed.clear()
            return True
        return False

    def _spots_of(self, unit: str) -> list[Spot]:
        """Raises `RebalanceInProgress` when the unit may belong to another process."""
        if self._membership.moved or unit not in self._spots:
            raise RebalanceInProgress(f"{unit} may belong to another process now")
        return self._spots[unit]

    def _read_from(self, unit: str, at: Mapping[str, int]) -> None:
        spots = self._spots_of(unit)
        if not seek(self._consumer, spots, at, self._held):
            raise RebalanceInProgress(f"{unit} belongs to another process now")
        self._resumed.update(spots)

    def _offsets(self, epoch: Epoch) -> dict[Spot, int]:
        """The offsets to commit for an epoch: its ends, in the topics that are still read."""
        return {spot: epoch.ends[spot[0]] for spot in self._spots_of(epoch.unit) if spot[0] in epoch.ends}

    def _log_trouble(self, trouble: str) -> None:
        """Log once that reading fails, and once that it works again.

        One damaged partition fails every other poll, so only many good polls count as recovery.
        """
        self._good_polls = 0 if trouble else self._good_polls + 1
        if trouble and trouble != self._trouble:
            log.warning("Kafka at %s can't be read at the moment, retrying: %s", self._where, trouble)
            self._trouble = trouble
        elif self._trouble and self._good_polls >= CALM_POLLS:
            log.warning("Kafka at %s can be read again", self._where)
            self._trouble = ""

    @property
    def _producer(self) -> Any:
        return self._sender.producer

    @property
    def _where(self) -> str:
        return ", ".join(self._connection.bootstrap)

    @contextmanager
    def _errors_of(self, task: str) -> Iterator[None]:
        try:
            yield
        except (KafkaError, BatchError, DeadlineExceeded) as error:
            if missing := self._client.refusal(error, "Read"):
                raise missing from error
            # A worker with partitions has reached the cluster before, so the cluster has gone away.
            kind = InDoubtError if self._spots else BrokerError
            raise kind(f"Kafka at {self._where} could not {task}: {type(error).__name__}: {error}") from error

    def _new_consumer(self, member: Member | None) -> Any:
        return new_consumer(
            self._connection,
            member,
            fetch_bytes_max=self._settings.fetch_bytes_max,
            partition_fetch_bytes_max=self._settings.partition_fetch_bytes_max,
            metadata_age_s=self._settings.metadata_age_s,
        )


def _entry(unit: str, entry: Epoch | Note) -> PendingSend:
    return PendingSend(partition_of_history(unit), unit, encode_entry(entry))
