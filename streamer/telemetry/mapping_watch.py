"""Whether the records of a topic are understood: a service that reads everything and watches nothing must say so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streamer.codecs.base import REMEDIES
from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.loop import Observer, Service
from streamer.telemetry.metrics import Metrics

RECORDS_MIN: Final = 1_000  # records of a topic on which it is judged, and after these the next as many ...
FEW_RECORDS_MIN: Final = 20  # ... or so few, where a minute brings no more
FEW_AFTER_S: Final = 60.0
LETTERS_EVERY_S: Final = 300.0  # between two log lines about new dead letters of a topic
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
    return (
        f"{topic}: {counts.unreadable:,} of {counts.records:,} records are dead letters ({_reasons(counts)}): check "
        f"the codec and the `fields` of the topic; `driftline dead-letters {topic}` shows some"
    )


def letters_sentence(topic: str, counts: TopicCounts) -> str:
    """New dead letters in words, with the next step."""
    return (
        f"{topic}: {counts.unreadable:,} of {counts.records:,} new records became dead letters ({_reasons(counts)}); "
        f"{_remedy(counts)}`driftline dead-letters {topic}` shows some"
    )


def letters_in_recording(topic: str, counts: TopicCounts) -> str:
    """The dead letters of a whole recording in words, with the next step."""
    return (
        f"{topic}: {counts.unreadable:,} of {counts.records:,} records are dead letters ({_reasons(counts)}); "
        f"{_remedy(counts)}each is in the output, with its reason"
    )


def _remedy(counts: TopicCounts) -> str:
    """What to do about the most frequent reason, as the beginning of a clause."""
    worst = min(counts.dead_letters, key=lambda reason: (-counts.dead_letters[reason], reason), default="")
    return f"{REMEDIES[worst]}; " if worst in REMEDIES else ""


def _reasons(counts: TopicCounts) -> str:
    worst = sorted(counts.dead_letters.items(), key=lambda entry: (-entry[1], entry[0]))
    more = len(worst) - REASONS_SHOWN
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in worst[:REASONS_SHOWN])
    return f"{reasons}, {more} more reason{'s' * (more > 1)}" if more > 0 else reasons


class MappingWatch(Observer):
    """Judges each topic by its last `RECORDS_MIN` records or more; logs a fault once, when it begins and when it ends.

    `driftline_mapping_fault` and `/readyz` show it as long as it lasts. Single dead letters are logged when they begin,
    and every `LETTERS_EVERY_S` while more come. Counts begin with the process.
    """

    def __init__(self, metrics: Metrics, topics: Iterable[str]) -> None:
        self._metrics = metrics
        self._topics = tuple(topics)
        self._judged: dict[str, TopicCounts] = {topic: TopicCounts() for topic in self._topics}
        self._judged_s = dict.fromkeys(self._topics, metrics.clock.monotonic_s())
        self._faults = dict[str, MappingFault]()
        self._logged: dict[str, tuple[float, TopicCounts]] = {}  # topic -> last line about dead letters, and its counts
        for topic in self._topics:
            self._show(topic)

    def on_turn(self, service: Service) -> None:
        tally: Tally = Counter()
        for unit in service.units.values():
            tally.update(unit.fold.tally)
        now_s = self._metrics.clock.monotonic_s()
        for topic, counts in counts_by_topic(tally, self._topics).items():
            before = self._judged[topic]
            new = counts.records - before.records
            if new < 0:  # a unit has left this process
                self._judged[topic] = counts
                self._logged.pop(topic, None)
                continue
            is_late = now_s - self._judged_s[topic] >= FEW_AFTER_S
            if new >= RECORDS_MIN or (is_late and new >= FEW_RECORDS_MIN):
                self._judge(topic, _since(before, counts))
                self._judged[topic], self._judged_s[topic] = counts, now_s
            self._log_letters(topic, counts, now_s)

    def _log_letters(self, topic: str, counts: TopicCounts, now_s: float) -> None:
        """Log new dead letters of a topic, unless a fault of the whole topic is logged or a line came just now."""
        logged_s, before = self._logged.get(topic, (-math.inf, TopicCounts()))
        new = _since(before, counts)
        if topic in self._faults:
            self._logged[topic] = now_s, counts
        elif new.unreadable > 0 and now_s - logged_s >= LETTERS_EVERY_S:
            self._logged[topic] = now_s, counts
            log.warning("%s", letters_sentence(topic, new))

    def _judge(self, topic: str, counts: TopicCounts) -> None:
        fault, before = fault_of(counts), self._faults.get(topic)
        if fault is before:
            return
        if fault is not None:
            self._faults[topic] = fault
            self._metrics.health.faults[topic] = sentence_of(topic, counts, fault)
            log.warning("%s", self._metrics.health.faults[topic])
        else:
            del self._faults[topic], self._metrics.health.faults[topic]
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
