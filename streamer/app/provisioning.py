"""The topics that a configuration needs, and what to do where a cluster lacks one or has it otherwise."""

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

FOREVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}  # what a restart folds again, and what was decided
MONTH_MS: Final = 30 * 86_400_000  # for so long every step of an incident can be told
LATEST_OF_EACH: Final = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(MONTH_MS)}
CREATE: Final = "`driftline topics --config FILE --create`"


@dataclass(frozen=True, slots=True)
class Needed:
    """A topic that the service reads or writes."""

    name: str
    use: str
    partitions: int | None = None  # of an output; event topics are the producers' own
    settings: Mapping[str, str] = field(default_factory=dict)


def needed_topics(config: Config, partitions: int = 1) -> Iterator[Needed]:
    """The topics of a configuration: events first, in their order, then what the service writes.

    `partitions` is for the outputs whose order does not matter.
    """
    outputs = config.outputs
    for name in config.topics:
        yield Needed(name, "events")
    yield Needed(outputs.alerts, "alerts", 1, FOREVER)
    yield Needed(outputs.control, "control", 1, FOREVER)
    yield Needed(outputs.watermarks, "watermarks", 1, FOREVER)
    yield Needed(outputs.epochs, "epochs", 1, FOREVER)
    yield Needed(outputs.incidents, "incidents", partitions, LATEST_OF_EACH)
    yield Needed(outputs.requests, "requests", partitions, FOREVER)
    yield Needed(outputs.decisions, "decisions", partitions, FOREVER)
    for name in (*config.topics, outputs.alerts, outputs.control, outputs.watermarks):
        yield Needed(outputs.dead_letters(name), "dead letters", partitions)


def grown(needed: Sequence[Needed], found: Mapping[str, Topic]) -> list[Needed]:
    """The same, with a partition of the epochs for each unit: one for each of the event topics, and one for decide."""
    events = max(
        (found[topic.name].partitions for topic in needed if topic.use == "events" and topic.name in found), default=0
    )
    return [replace(topic, partitions=events + 1) if topic.use == "epochs" else topic for topic in needed]


def check_needed(connection: KafkaConnection, needed: Sequence[Needed]) -> None:
    """Return if the cluster has all of these topics, with as many partitions as they must have.

    Raises `BrokerError` that names what is missing or does not fit, and what mends it.
    """
    from streamer.eventlog.kafka.admin import describe_topics, topic_names

    found = describe_topics(connection, [topic.name for topic in needed])
    needed = grown(needed, found)
    missing = [topic for topic in needed if topic.name not in found]
    if missing:
        others = topic_names(connection) - {topic.name for topic in needed}
        complaint = _missing(missing, sorted(others))
    else:
        complaint = _too_many(needed, found) or _unequal(needed, found) or _too_few(needed, found)
    if complaint:
        raise BrokerError(f"Kafka at {', '.join(connection.bootstrap)} {complaint}")


def _missing(missing: Sequence[Needed], others: Sequence[str]) -> str:
    """What creates the missing topics; `others` are the names among which one may have been meant."""
    events = [topic.name for topic in missing if topic.partitions is None]
    outputs = [topic.name for topic in missing if topic.partitions is not None]
    parts = []
    if events:
        guess = near(events[0], others)
        parts.append(
            f"the event {_named(events)}{f', did you mean {guess}' if guess else ''} (mend the names under `topics` in "
            "the config, start the producers, or run `kafka-topics.sh --create`)"
        )
    if outputs:
        parts.append(f"the output {_named(outputs)} ({CREATE} makes what is missing)")
    return f"lacks {' and '.join(parts)}"


def _too_many(needed: Sequence[Needed], found: Mapping[str, Topic]) -> str:
    ordered = {"alerts": "alerts", "control": "control records", "watermarks": "watermarks"}
    for topic in needed:
        count = found[topic.name].partitions
        if topic.use in ordered and count != 1:
            return (
                f"has {count} partitions for topic {topic.name}, but {ordered[topic.use]} need one order: name another "
                f"topic as outputs.{topic.use} in the config, and {CREATE} makes it with one partition"
            )
    return ""


def _too_few(needed: Sequence[Needed], found: Mapping[str, Topic]) -> str:
    for topic in needed:
        count = found[topic.name].partitions
        if topic.use == "epochs" and topic.partitions is not None and count < topic.partitions:
            return (
                f"has {count} partitions for topic {topic.name}, and every partition number of the event topics needs "
                f"one there, and decide one more: {CREATE} adds those that are missing"
            )
    return ""


def _unequal(needed: Sequence[Needed], found: Mapping[str, Topic]) -> str:
    counts = {topic.name: found[topic.name].partitions for topic in needed if topic.use == "events"}
    if len(set(counts.values())) <= 1:
        return ""
    told = ", ".join(f"{name} has {count}" for name, count in counts.items())
    return (
        f"has event topics of different partition counts ({told}): a label would miss its prediction in another "
        "partition, so give all of them the same number of partitions, and events of a model the same key"
    )


def _named(names: Sequence[str]) -> str:
    return f"topic{'s' * (len(names) > 1)} {', '.join(names)}"
