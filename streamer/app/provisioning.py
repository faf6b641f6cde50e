"""The topics that a configuration needs, and advice where a cluster lacks one or has other partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from streamer.config import Config
from streamer.config.problems import near
from streamer.errors import BrokerError

if TYPE_CHECKING:
    from streamer.eventlog.kafka.admin import Topic
    from streamer.eventlog.kafka.connection import KafkaConnection

FOREVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}  # for restarts and the audit trail
MONTH_MS: Final = 30 * 86_400_000  # time for which every step of an incident is kept
LATEST_OF_EACH: Final = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(MONTH_MS)}
PROFILES: Final = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(400 * 86_400_000),
    "compression.type": "zstd",
}
UNITS_MIN: Final = 2  # decide, and partition 0 of the event topics
CREATE: Final = "`driftline topics --config FILE --create`"


@dataclass(frozen=True, slots=True)
class RequiredTopic:
    """A topic that the service reads or writes."""

    name: str
    use: str
    partitions: int | None = None  # of an output or copy; producers own other event topics
    settings: Mapping[str, str] = field(default_factory=dict)


def needed_topics(config: Config, partitions: int = 1) -> Iterator[RequiredTopic]:
    """The topics of a configuration: event topics in their order, then output topics.

    `partitions` applies to outputs without an order.
    """
    outputs = config.outputs
    for name in config.topics:
        yield RequiredTopic(name, "events", 1 if name in config.rekey else None)
    yield RequiredTopic(outputs.alerts, "alerts", 1, FOREVER)
    yield RequiredTopic(outputs.control, "control", 1, FOREVER)
    yield RequiredTopic(outputs.watermarks, "watermarks", 1, FOREVER)
    yield RequiredTopic(outputs.epochs, "epochs", UNITS_MIN, FOREVER)
    yield RequiredTopic(outputs.incidents, "incidents", partitions, LATEST_OF_EACH)
    yield RequiredTopic(outputs.requests, "requests", partitions, FOREVER)
    yield RequiredTopic(outputs.decisions, "decisions", partitions, FOREVER)
    if config.profiles.publish:
        yield RequiredTopic(outputs.profiles, "profiles", partitions, PROFILES)
    for name in (*config.topics, outputs.alerts, outputs.control, outputs.watermarks):
        yield RequiredTopic(outputs.dead_letters(name), "dead letters", partitions)


def rekey_topics(config: Config, partitions: int = 1) -> Iterator[RequiredTopic]:
    """The topics that `driftline rekey` needs besides: those that it copies, and their dead letters."""
    for name in config.rekeyed:
        yield RequiredTopic(name, "to rekey")
    for name in config.rekeyed:
        yield RequiredTopic(config.outputs.dead_letters(name), "dead letters", partitions)


def with_copied_partitions(needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> list[RequiredTopic]:
    """The topics; copies get as many partitions as the other event topics, or else as the largest copied topic."""
    counts: dict[str, int] = {}
    for topic in needed:
        if topic.name in found and topic.use in ("events", "to rekey"):
            counts[topic.use] = max(counts.get(topic.use, 0), found[topic.name].partitions)
    most = counts.get("events", counts.get("to rekey", 1))
    return [
        replace(topic, partitions=most) if topic.use == "events" and topic.partitions is not None else topic
        for topic in needed
    ]


def with_unit_partitions(needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> list[RequiredTopic]:
    """The topics, with a partition of epochs for each unit: one for each event partition, and one for decide."""
    counts = [
        found[topic.name].partitions if topic.name in found else topic.partitions or 0
        for topic in needed
        if topic.use == "events"
    ]
    events = max(counts, default=0)
    return [replace(topic, partitions=events + 1) if topic.use == "epochs" else topic for topic in needed]


def check_needed(connection: KafkaConnection, needed: Sequence[RequiredTopic], *, grows: bool = False) -> None:
    """Check that the cluster has all of these topics, with their partitions.

    `grows`: a running service adds partitions of the epochs topic beyond the first units, or waits for them. Raises
    `BrokerError` with the missing or unfit topics and the remedy.
    """
    from streamer.eventlog.kafka.admin import describe_topics, topic_names

    found = describe_topics(connection, [topic.name for topic in needed])
    needed = needed if grows else with_unit_partitions(needed, found)
    missing = [topic for topic in needed if topic.name not in found]
    if missing:
        others = topic_names(connection) - {topic.name for topic in needed}
        complaint = _missing(missing, sorted(others))
    else:
        complaint = _too_many(needed, found) or _unequal(needed, found) or _too_few(needed, found)
    if complaint:
        raise BrokerError(f"Kafka at {', '.join(connection.bootstrap)} {complaint}")


def _missing(missing: Sequence[RequiredTopic], others: Sequence[str]) -> str:
    """The message for missing topics; `others` are existing names, for suggestions."""
    events = [topic.name for topic in missing if topic.partitions is None]
    outputs = [topic.name for topic in missing if topic.partitions is not None]
    parts = []
    if events:
        guess = near(events[0], others)
        parts.append(
            f"the event {_named(events)}{f', did you mean {guess}' if guess else ''} (correct the names under `topics` "
            "in the configuration, start the producers, or run `kafka-topics.sh --create`)"
        )
    if outputs:
        parts.append(f"the output {_named(outputs)} ({CREATE} creates them)")
    return f"lacks {' and '.join(parts)}"


def _too_many(needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> str:
    ordered = {"alerts": "alerts", "control": "commands", "watermarks": "watermarks"}
    for topic in needed:
        count = found[topic.name].partitions
        if topic.use in ordered and count != 1:
            return (
                f"has {count} partitions for topic {topic.name}, but {ordered[topic.use]} need one order: name another "
                f"topic as outputs.{topic.use} in the config; {CREATE} creates it with one partition"
            )
    return ""


def _too_few(needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> str:
    for topic in needed:
        count = found[topic.name].partitions
        if topic.use == "epochs" and topic.partitions is not None and count < topic.partitions:
            return (
                f"has {count} partitions for topic {topic.name}, but needs one for each partition of the "
                f"event topics, and one for decide: {CREATE} adds the missing ones"
            )
    return ""


def _unequal(needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> str:
    counts = {topic.name: found[topic.name].partitions for topic in needed if topic.use == "events"}
    if len(set(counts.values())) <= 1:
        return ""
    counted = ", ".join(f"{name} has {count}" for name, count in counts.items())
    return (
        f"has event topics of different partition counts ({counted}): a label would miss its prediction in another "
        "partition, so give all of them the same number of partitions, and events of a model the same key; or let the "
        "service copy the topics of labels (labels.repartition, see docs/keys.md)"
    )


def _named(names: Sequence[str]) -> str:
    return f"topic{'s' * (len(names) > 1)} {', '.join(names)}"
