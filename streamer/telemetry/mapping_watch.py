"""Whether the records of a topic are understood: a service that reads everything and watches nothing must say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.loop import Observer, Service
from streamer.telemetry.metrics import Metrics

RECORDS_MIN: Final = 1_000  # records of a topic on which it is judged, and after these the next as many
UNREADABLE_MIN: Final = 0.99  # share of dead letters
REASONS_SHOWN: Final = 3

log = log_of("telemetry")


class MappingFault(StrEnum):
    """What is wrong with the mapping of a topic. The values are labels of `driftline_mapping_fault`."""

    UNREADABLE = "unreadable"  # (nearly) all records are dead letters
    UNWATCHED = "unwatched"  # events without a label, whose values are all lists or objects


@dataclass(frozen=True, slots=True)
class TopicCounts:
    """Records of a topic, and what was found in them."""

    records: int = 0
    values: int = 0  # numbers, texts and nulls
    labels: int = 0
    dead_letters: Mapping[str, int] = field(default_factory=dict)  # by reason

    @property
    def unreadable(self) -> int:
        return sum(self.dead_letters.values())


def counts_by_topic(tally: Mapping[tuple[str, ...], int], topics: Iterable[str]) -> dict[str, TopicCounts]:
    """The counts of each topic in a tally of detect folds."""
    dead: dict[str, dict[str, int]] = {topic: {} for topic in topics}
    for key, n in tally.items():
        if key[0] == "dead_letters" and key[1] in dead and n:
            dead[key[1]][key[2]] = n

    def count(what: str, topic: str) -> int:
        return tally.get((what, topic), 0)

    return {
        topic: TopicCounts(count("records", topic), count("usable", topic), count("labelled", topic), reasons)
        for topic, reasons in dead.items()
    }


def fault_of(counts: TopicCounts) -> MappingFault | None:
    """What the counts show; None while at least a hundredth of the records are events that hold something."""
    if not counts.records:
        return None
    if counts.unreadable >= UNREADABLE_MIN * counts.records:
        return MappingFault.UNREADABLE
    if not counts.values and not counts.labels:
        return MappingFault.UNWATCHED
    return None


def sentence_of(topic: str, counts: TopicCounts, fault: MappingFault) -> str:
    """The fault in words, with its numbers and the next step."""
    if fault is MappingFault.UNWATCHED:
        return (
            f"{topic}: all values of {counts.records - counts.unreadable:,} records are lists or objects, so none is "
            "watched: map what they hold in `fields` of the topic"
        )
    worst = sorted(counts.dead_letters.items(), key=lambda entry: (-entry[1], entry[0]))
    more = len(worst) - REASONS_SHOWN
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in worst[:REASONS_SHOWN])
    if more > 0:
        reasons += f", {more} more reason{'s' * (more > 1)}"
    return (
        f"{topic}: {counts.unreadable:,} of {counts.records:,} records are dead letters ({reasons}): check the codec "
        f"and the `fields` of the topic; `driftline dead-letters {topic}` shows some"
    )


class MappingWatch(Observer):
    """Judges each topic by its last `RECORDS_MIN` records or more; logs a fault once, when it begins and when it ends.

    `driftline_mapping_fault` shows it as long as it lasts. Counts begin with the process.
    """

    def __init__(self, metrics: Metrics, topics: Iterable[str]) -> None:
        self._metrics = metrics
        self._topics = tuple(topics)
        self._judged: dict[str, TopicCounts] = {topic: TopicCounts() for topic in self._topics}
        self._faults = dict[str, MappingFault]()
        for topic in self._topics:
            self._show(topic)

    def on_turn(self, service: Service) -> None:
        tally: Tally = Counter()
        for unit in service.units.values():
            tally.update(unit.fold.tally)
        for topic, counts in counts_by_topic(tally, self._topics).items():
            before = self._judged[topic]
            if counts.records < before.records:  # a unit has left this process
                self._judged[topic] = counts
            elif counts.records - before.records >= RECORDS_MIN:
                self._judge(topic, _since(before, counts))
                self._judged[topic] = counts

    def _judge(self, topic: str, counts: TopicCounts) -> None:
        fault, before = fault_of(counts), self._faults.get(topic)
        if fault is before:
            return
        if fault is not None:
            self._faults[topic] = fault
            log.warning("%s", sentence_of(topic, counts, fault))
        else:
            del self._faults[topic]
            log.info("%s: records are understood again", topic)
        self._show(topic)

    def _show(self, topic: str) -> None:
        for fault in MappingFault:
            self._metrics.set("driftline_mapping_fault", int(self._faults.get(topic) is fault), topic, fault.value)


def _since(before: TopicCounts, now: TopicCounts) -> TopicCounts:
    dead = {reason: n - before.dead_letters.get(reason, 0) for reason, n in now.dead_letters.items()}
    return TopicCounts(
        now.records - before.records,
        now.values - before.values,
        now.labels - before.labels,
        {reason: n for reason, n in dead.items() if n},
    )
