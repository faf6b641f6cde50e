"""A group's log on Kafka, read-only: by a client that is no member of the group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from streamer.errors import BrokerError, GapError
from streamer.eventlog.base import Epoch, History, Note, Output, Records, Start
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.batches import BatchError
from streamer.eventlog.kafka.clients import new_consumer
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import DeadlineExceeded
from streamer.eventlog.kafka.fetch import Spot, poll, positions, stretches
from streamer.eventlog.kafka.positions import Places, seek
from streamer.eventlog.kafka.unit_history import START_AFRESH, HistoryReader, check_topics

CLOSE_TIMEOUT_MS = 5_000
RECORDS_MAX = 20_000  # of one poll
PATIENCE_S = 30.0


class KafkaArchive:
    """The histories of a group's units and their records; one unit is read at a time."""

    def __init__(
        self,
        connection: KafkaConnection,
        spots: Sequence[Spot],
        group_id: str,
        epochs_topic: str,
        unit_of: Callable[[str, int], str],
    ) -> None:
        """`spots` are the topic-partitions that the group reads. Raises BrokerError when the cluster can't be read."""
        self._where, self._client = ", ".join(connection.bootstrap), Client.of(connection)
        self._spots: dict[str, list[Spot]] = {}
        for spot in spots:
            self._spots.setdefault(unit_of(*spot), []).append(spot)
        with self._errors_of("be reached"):
            self._consumer = new_consumer(connection, None)
            self._reader = new_consumer(connection, None)
        self._histories = HistoryReader(self._reader, epochs_topic, group_id, PATIENCE_S)
        self._places = Places(self._consumer)

    def units(self) -> Sequence[str]:
        """The units that the topics make, `decide` last: it folds what the others publish."""
        return sorted(self._spots, key=lambda unit: (unit == "decide", len(unit), unit))

    def assignment(self) -> Collection[str] | None:
        return None

    def past(self, unit: str, since: Epoch | None = None) -> History | None:
        with self._errors_of(f"read the history of {unit}"):
            past, _ = self._histories.read(unit, since, {})
        if past is not None:
            topics = {topic for topic, _ in self._spots[unit]}
            check_topics(unit, since.ends if since else past.starts, past, topics)
            past.committed = past.last
        return past

    def resume(self, unit: str, ends: Mapping[str, int], topic_ids: Mapping[str, str]) -> Start:
        spots = [spot for spot in self._spots[unit] if spot[0] in ends]
        with self._errors_of("list the offsets of its topics"):
            self._consumer.assign([TopicPartition(*spot) for spot in spots])
            self._places.resume(spots, ends, topic_ids)
            seek(self._consumer, spots, ends, ())
        return Start(unit, {}, {})

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        raise NotImplementedError("lost records can't be verified")

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        raise NotImplementedError("an archive is read-only")

    def clear_attempts(self, units: Mapping[str, int]) -> None:
        raise NotImplementedError("an archive is read-only")

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        raise NotImplementedError("an archive is read-only")

    def poll(self, timeout_s: float) -> list[Records]:
        before = positions(self._consumer)
        with self._errors_of("be read"):
            try:
                fetched = poll(self._consumer, int(timeout_s * 1000), RECORDS_MAX)
            except OffsetOutOfRangeError as error:
                raise GapError(f"Records were deleted while they were read ({error}), {START_AFRESH}") from error
        return stretches(fetched, before, positions(self._consumer))

    def hold(self, topic: str, partition: int, held: bool) -> None:
        (self._consumer.pause if held else self._consumer.resume)(TopicPartition(topic, partition))

    def lagging(self) -> Collection[Spot]:
        return ()

    def exhausted(self) -> bool:
        return False

    def close(self) -> None:
        for consumer in (self._consumer, self._reader):
            consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    @contextmanager
    def _errors_of(self, task: str) -> Iterator[Any]:
        try:
            yield
        except (KafkaError, BatchError, DeadlineExceeded) as error:
            if missing := self._client.refusal(
                error, "Read", [topic for spots in self._spots.values() for topic, _ in spots]
            ):
                raise missing from error
            raise BrokerError(f"Kafka at {self._where} could not {task}: {type(error).__name__}: {error}") from error
