"""What the epochs topic says of the past, and whether the log still holds what that past was made from.

The topic has one partition. Besides epochs (numbers 1, 2, ... of each unit) it holds *starts* under number 0: where the
service first began to read each topic, written before anything is read. Whatever number comes twice, the first counts:
a second one can only have been written by a process that had been replaced without knowing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from streamer.epochs import decode_epoch
from streamer.errors import GapError, UsageError
from streamer.logs.base import Epoch, Past, Records

Spot = tuple[str, int]  # topic and partition

START_AFRESH = "or start afresh: a new kafka.group and a new topic as outputs.epochs in the config"


class Start(msgspec.Struct, frozen=True):
    """Where a unit began to read some of its topics."""

    unit: str
    ends: dict[str, int]  # topic -> offset of the first record to read; named as in an epoch, whose place it takes
    topic_ids: dict[str, str]  # "" where the broker knows none
    group: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds: offsets [begin, end)."""

    begin: int
    end: int


@dataclass(slots=True)
class History:
    """The epochs topic of one group, read from its start."""

    group: str
    epochs_topic: str
    starts: dict[str, dict[str, int]] = field(default_factory=dict)  # unit -> topic -> offset
    topic_ids: dict[str, str] = field(default_factory=dict)
    epochs: dict[str, list[Epoch]] = field(default_factory=dict)  # unit -> 1, 2, ... without gaps

    def add(self, records: Records) -> None:
        """Take the next records of the topic. Raises GapError when numbers are missing, UsageError for foreign ones."""
        for i in range(len(records)):
            value = records.value_of(i) or b""
            try:
                epoch = decode_epoch(value)
                start = msgspec.json.decode(value, type=Start) if epoch.number == 0 else None
            except msgspec.DecodeError as error:
                raise UsageError(
                    f"Record {records.offset[i]} of topic {self.epochs_topic} is no epoch ({error}): the topic belongs "
                    "to this service alone, so name another one under outputs.epochs"
                ) from error
            if start is not None:
                self.add_start(start)
            else:
                self._add_epoch(epoch)

    def add_start(self, start: Start) -> None:
        if start.group != self.group:
            raise UsageError(
                f"Topic {self.epochs_topic} holds the epochs of group {start.group}, and this is group {self.group}: "
                "every group needs an epochs topic of its own (outputs.epochs)"
            )
        self.starts[start.unit] = start.ends | self.starts.get(start.unit, {})
        self.topic_ids = start.topic_ids | self.topic_ids

    def _add_epoch(self, epoch: Epoch) -> None:
        known = self.epochs.setdefault(epoch.unit, [])
        if epoch.number > len(known) + 1 or epoch.unit not in self.starts:
            raise GapError(
                f"Topic {self.epochs_topic} lacks epoch {len(known) + 1} of {epoch.unit} before its epoch "
                f"{epoch.number}: the topic must keep everything (cleanup.policy=delete, retention.ms=-1). Restore it, "
                f"{START_AFRESH}"
            )
        if epoch.number == len(known) + 1:
            known.append(epoch)

    def last(self) -> dict[str, int]:
        """The number of the last epoch of each unit."""
        return {unit: len(epochs) for unit, epochs in self.epochs.items()}

    def unread(self, units: Mapping[Spot, str]) -> list[Spot]:
        """The topic-partitions without a start."""
        return [spot for spot, unit in units.items() if spot[0] not in self.starts.get(unit, {})]

    def begin(
        self, units: Mapping[Spot, str], bounds: Mapping[Spot, Bounds], ids: Mapping[str, str], latest: bool
    ) -> list[Start]:
        """Starts for the topic-partitions that have none: at the end if `latest`, else at the beginning.

        A new partition of a topic that is read already starts at its beginning in any case: its records were written
        while the service was in charge of the topic.
        """
        known = {topic for ends in self.starts.values() for topic in ends}
        fresh: dict[str, dict[str, int]] = {}
        for spot in self.unread(units):
            at_end = latest and spot[0] not in known
            fresh.setdefault(units[spot], {})[spot[0]] = bounds[spot].end if at_end else bounds[spot].begin
        return [
            Start(unit, ends, {topic: ids[topic] for topic in ends}, self.group) for unit, ends in sorted(fresh.items())
        ]

    def check(self, units: Mapping[Spot, str], bounds: Mapping[Spot, Bounds], ids: Mapping[str, str]) -> None:
        """Raises GapError when records are gone that a unit needs, UsageError when one of its topics is not read."""
        self._check_topics(units)
        for topic in sorted(ids):
            check_topic_id(topic, self.topic_ids[topic], ids[topic])
        for (topic, partition), unit in units.items():
            start = self.starts[unit][topic]
            epochs = self.epochs.get(unit, [])
            reached = epochs[-1].ends.get(topic, 0) if epochs else 0
            check_bounds(topic, partition, start, max(start, reached), bounds[topic, partition])

    def _check_topics(self, units: Mapping[Spot, str]) -> None:
        read = {(unit, topic) for (topic, _), unit in units.items()}
        for unit, ends in sorted(self.starts.items()):
            for topic in ends:
                if (unit, topic) not in read:
                    raise UsageError(
                        f"The state of {unit} is made from topic {topic} among others, which the config does not name "
                        f"any more: name it again, {START_AFRESH}"
                    )

    def past(self, units: Mapping[Spot, str], committed: Mapping[Spot, int]) -> dict[str, Past]:
        """For each unit its epochs, and up to which of them the group's committed offsets prove the outputs published.

        `committed` lacks the topic-partitions of which the group has committed nothing.
        """
        done: dict[str, dict[str, int]] = {unit: {} for unit in sorted(set(units.values()))}
        for spot, offset in committed.items():
            done[units[spot]][spot[0]] = offset
        return {unit: self._past_of(unit, offsets) for unit, offsets in done.items()}

    def _past_of(self, unit: str, committed: Mapping[str, int]) -> Past:
        epochs = self.epochs.get(unit, [])
        published = 0
        for epoch in epochs:
            if any(end > committed.get(topic, 0) for topic, end in epoch.ends.items()):
                break
            published = epoch.number
        return Past(epochs, published)


def check_bounds(topic: str, partition: int, first: int, next_offset: int, bounds: Bounds) -> None:
    """Raises GapError unless the partition holds the records from `first` on and at least all before `next_offset`."""
    if first < bounds.begin:
        raise GapError(
            f"{topic}-{partition} begins at offset {bounds.begin} now, and the state is made from the records since "
            f"offset {first}: {bounds.begin - first:,} of them are gone. Restore them and keep them longer "
            f"(retention.ms, retention.bytes), {START_AFRESH}"
        )
    if next_offset > bounds.end:
        raise GapError(
            f"{topic}-{partition} ends at offset {bounds.end}, and the state is made from records up to offset "
            f"{next_offset}: the topic was truncated, or deleted and created again. Restore it, {START_AFRESH}"
        )


def check_topic_id(topic: str, known: str, now: str) -> None:
    """Raises GapError when the topic is another one of the same name. Brokers before Kafka 2.8 have no ids ("")."""
    if known and now and known != now:
        raise GapError(
            f"Topic {topic} was deleted and created again (its id was {known} and is {now}), so its offsets mean other "
            f"records now. Restore the old topic, {START_AFRESH}"
        )
