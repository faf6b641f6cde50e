"""Where a service stands: its workers, and how far each unit is behind. Read from Kafka, also when it does not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from retrain.messages.watermark import Watermark
from streamer.app.folds import read_by_decide, units
from streamer.config import Config
from streamer.contracts.watermarks import read_mark
from streamer.errors import BrokerError
from streamer.eventlog.kafka.access.rights import Right
from streamer.eventlog.kafka.admin import (
    check_topics,
    end_offsets,
    group_status,
    missing_rights,
    newest_times,
    preflight,
)
from streamer.eventlog.kafka.reader import read_to_end
from streamer.eventlog.kafka.unit_history import partition_of_history

COUNTED_MAX: Final = 10_000  # offsets that are read to count their records; the markers of transactions take some
TAIL: Final = 500  # newest watermarks that are read
SKEW_MAX_S: Final = 1e9  # any watermark that was published counts here

Spot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class UnitStanding:
    """One unit: what it has folded, and what waits."""

    unit: str
    behind: int  # records that wait; with `is_exact` false, at most
    is_exact: bool
    committed_at: datetime | None  # time of its last commit, by the brokers' records; None: it never committed
    waiting_since: datetime | None = None  # time of the oldest record that waits; None: none does, or it wasn't read
    events_until: datetime | None = None  # event time that the unit has reached; None: not by the newest watermarks


@dataclass(frozen=True, slots=True)
class ServiceStanding:
    """The service of a configuration."""

    bootstrap: str
    group: str
    state: str  # of the group, in Kafka's words; "Stable" while workers share the partitions
    workers: int
    events_until: datetime | None  # event time that the fleet has reached; None: no events yet
    units: tuple[UnitStanding, ...]


def standing_of(config: Config) -> ServiceStanding:
    """The standing now. Raises `BrokerError` when the cluster can't be read, or a topic is missing."""
    connection, group = config.kafka.connection(), config.kafka.group
    preflight(connection)
    topics = (*config.topics, *read_by_decide(config))
    found = check_topics(connection, (*topics, config.outputs.epochs))
    spots = [(topic, p) for topic in topics for p in range(found[topic].partitions)]
    status, ends = group_status(connection, group), end_offsets(connection, spots)
    behind = {spot: max(ends[spot] - status.offsets.get(spot, 0), 0) for spot in spots}
    waiting = _waiting(config, status.offsets, [spot for spot in spots if behind[spot]], sum(behind.values()))
    of_unit = _by_unit(config, spots)
    commits = _commits(config, of_unit, found[config.outputs.epochs].partitions)
    until = _events_until(config)
    standings = []
    for unit, own in of_unit.items():
        records = sum(behind[spot] if waiting is None else waiting.counts[spot] for spot in own)
        times = [waiting.oldest_ms[spot] for spot in own if spot in waiting.oldest_ms] if waiting else []
        since = datetime.fromtimestamp(min(times) / 1000, UTC) if times else None
        standings.append(UnitStanding(unit, records, waiting is not None, commits.get(unit), since, until.get(unit)))
    where, newest = ", ".join(connection.bootstrap), max(until.values(), default=None)
    return ServiceStanding(where, group, status.state, status.members, newest, tuple(standings))


def _by_unit(config: Config, spots: Iterable[Spot]) -> dict[str, list[Spot]]:
    """The partitions of each unit, `decide` last."""
    found: dict[str, list[Spot]] = {}
    unit_of = units(config).of
    for spot in spots:
        found.setdefault(unit_of(*spot), []).append(spot)
    return dict(sorted(found.items(), key=lambda entry: (entry[0] == "decide", len(entry[0]), entry[0])))


@dataclass(frozen=True, slots=True)
class _WaitingRecords:
    """The records that wait in each partition, and the time of the oldest one where there is any."""

    counts: Counter[Spot] = field(default_factory=Counter)
    oldest_ms: dict[Spot, int] = field(default_factory=dict)


def _waiting(
    config: Config, offsets: Mapping[Spot, int], spots: Iterable[Spot], at_most: int
) -> _WaitingRecords | None:
    """The records that wait: offsets also count markers of transactions. None: too many, or not ours to read."""
    found, topics = _WaitingRecords(), sorted({topic for topic, _ in spots})
    if at_most > COUNTED_MAX:
        return None
    if not topics:
        return found
    if missing_rights(config.kafka.connection(), [Right("topic", topic, "Read") for topic in topics]):
        return None
    for records in read_to_end(config.kafka.connection(), topics, offsets):
        spot = records.topic, records.partition
        found.counts[spot] += len(records)
        if times := [ms for ms in records.timestamp_ms.tolist() if ms > 0]:
            found.oldest_ms[spot] = min(found.oldest_ms.get(spot, times[0]), *times)
    return found


def _commits(config: Config, of_unit: Iterable[str], partitions: int) -> dict[str, datetime]:
    """The time of the last commit of each unit; none where the brokers are too old to tell."""
    epochs = config.outputs.epochs
    spots = {unit: (epochs, partition_of_history(unit)) for unit in of_unit}
    spots = {unit: spot for unit, spot in spots.items() if spot[1] < partitions}
    times: dict[Spot, int] = {}
    with suppress(BrokerError):
        times = newest_times(config.kafka.connection(), spots.values())
    known = {unit: times.get(spot, -1) for unit, spot in spots.items()}
    return {unit: datetime.fromtimestamp(ms / 1000, UTC) for unit, ms in known.items() if ms > 0}


def _events_until(config: Config) -> dict[str, datetime]:
    """The newest watermark of each unit that has one among the newest."""
    topic, connection = config.outputs.watermarks, config.kafka.connection()
    (end,) = end_offsets(connection, [(topic, 0)]).values()
    newest: dict[str, datetime] = {}
    for records in read_to_end(connection, [topic], {(topic, 0): end - TAIL}):
        for i in range(len(records)):
            mark = read_mark(records.value_of(i), int(records.timestamp_ms[i]), SKEW_MAX_S)
            if isinstance(mark, Watermark):
                newest[mark.unit] = max(newest.get(mark.unit, mark.at), mark.at)
    return newest
