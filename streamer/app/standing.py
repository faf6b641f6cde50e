"""Where a service stands: its workers, and how far each unit is behind. Read from Kafka, also when it does not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
from streamer.eventlog.kafka.reader import KafkaReader
from streamer.eventlog.kafka.unit_history import partition_of_history

COUNTED_MAX: Final = 10_000  # offsets that are read to count their records; the markers of transactions take some
TAIL: Final = 500  # newest watermarks that are read
POLL_S: Final = 0.2
SKEW_MAX_S: Final = 1e9  # any watermark that was published counts here

Spot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class UnitStanding:
    """One unit: what it has folded, and what waits."""

    unit: str
    behind: int  # records that wait; with `is_exact` false, at most
    is_exact: bool
    committed_at: datetime | None  # time of its last commit, by the brokers' records; None: it never committed


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
    counts = _counted(config, status.offsets, [spot for spot in spots if behind[spot]], sum(behind.values()))
    of_unit = _by_unit(config, spots)
    commits = _commits(config, of_unit, found[config.outputs.epochs].partitions)
    standings = (
        UnitStanding(unit, sum((counts or behind).get(spot, 0) for spot in own), counts is not None, commits.get(unit))
        for unit, own in of_unit.items()
    )
    where = ", ".join(connection.bootstrap)
    return ServiceStanding(where, group, status.state, status.members, _events_until(config), tuple(standings))


def _by_unit(config: Config, spots: Iterable[Spot]) -> dict[str, list[Spot]]:
    """The partitions of each unit, `decide` last."""
    found: dict[str, list[Spot]] = {}
    unit_of = units(config).of
    for spot in spots:
        found.setdefault(unit_of(*spot), []).append(spot)
    return dict(sorted(found.items(), key=lambda entry: (entry[0] == "decide", len(entry[0]), entry[0])))


def _counted(
    config: Config, offsets: Mapping[Spot, int], spots: Iterable[Spot], at_most: int
) -> dict[Spot, int] | None:
    """How many records wait: offsets also count the markers of transactions. None: too many, or not ours to read."""
    counts = dict.fromkeys(spots, 0)
    if at_most > COUNTED_MAX:
        return None
    if not counts:
        return counts
    topics = sorted({topic for topic, _ in counts})
    if missing_rights(config.kafka.connection(), [Right("topic", topic, "Read") for topic in topics]):
        return None
    reader = KafkaReader(config.kafka.connection(), topics, offsets)
    try:
        while not reader.at_end():
            for records in reader.poll(POLL_S):
                spot = records.topic, records.partition
                counts[spot] = counts.get(spot, 0) + len(records)
    finally:
        reader.close()
    return counts


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


def _events_until(config: Config) -> datetime | None:
    """The newest watermark."""
    topic, connection = config.outputs.watermarks, config.kafka.connection()
    (end,) = end_offsets(connection, [(topic, 0)]).values()
    reader, newest = KafkaReader(connection, [topic], {(topic, 0): end - TAIL}), None
    try:
        while not reader.at_end():
            for records in reader.poll(POLL_S):
                for i in range(len(records)):
                    mark = read_mark(records.value_of(i), int(records.timestamp_ms[i]), SKEW_MAX_S)
                    if isinstance(mark, Watermark) and (newest is None or mark.at > newest):
                        newest = mark.at
    finally:
        reader.close()
    return newest
