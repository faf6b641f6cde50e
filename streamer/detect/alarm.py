"""Alarms of monitors on their way to becoming alerts, and verdicts on series that had alarmed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np

from detectors.arrays.types import I32, I64
from detectors.base import NO_CATEGORY, UNSEEN_CATEGORY, Alarms
from detectors.series.decimals import decimal_name
from detectors.series.offsets import OffsetMark
from retrain.messages.alert import Alert, AlertKind
from retrain.messages.ids import SOURCE_PREFIX
from retrain.policy.source_settings import SourceSettings
from streamer.detect.batch import Batch
from streamer.detect.label_matches import LabelMatches
from streamer.detect.references.table import Key
from streamer.detect.subjects import Subjects
from streamer.events import NameTable

Series = tuple[int, str]  # row of the monitor, detector


Watched = tuple[str, int]  # "numbers" or "categories", and the row


class RowWatch(NamedTuple):
    """The recovery watch of an alarm's row."""

    row: Watched
    returns: bool = False  # whether the alarm plainly shows no new drift


Watching = RowWatch | None  # None: too little is known of the row


class Verdict(NamedTuple):
    """A row has recovered or settled, or the judge has decided on a further alarm of it."""

    event: int  # index, in the batch, of the event that showed it
    row: Watched
    outcome: int  # of `detectors.recovery.judge`
    distance: float
    distance_max: float


class Basis(NamedTuple):
    """What further measurements of a drift rest on."""

    value: int  # number, in its series, of the value with which the new regime began
    before: tuple[float, ...]  # values from before it; empty where the training reference serves


class AlarmEvidence(NamedTuple):
    """What the values around an alarm show."""

    facts: Mapping[str, Any]  # fields of `Alert` that take the place of the detector's own
    change: Callable[[], str]  # in words, to follow the column's name
    onset: int  # sequence number, in the subject, of the event with which the new regime began
    basis: Basis


class Remeasured(NamedTuple):
    """What the values up to a later event show."""

    facts: Mapping[str, Any]  # as of `AlarmEvidence`
    change: Callable[[], str]
    onset: int
    value: int  # number, in its series, of the value with which the new regime began


class Remeasures(Protocol):
    """What measures alerts again, of one kind of value or of all."""

    def begin(self, series: Series, basis: Basis, event: int) -> None:
        """Capture the values of a series from its alarm, at this event of the batch, until `end`."""

    def end(self, series: Series) -> None:
        """Capture the values of a series no longer."""

    def settle(self, series: Series, onset: int) -> None:
        """Take value `onset` of a series for its onset from now on."""

    def measure(self, series: Series, alert: Alert, event: int, *, is_settled: bool) -> Remeasured | None:
        """Measure an alert again from all values up to an event of the batch; None if they were not captured.

        is_settled: the onset stays as it is.
        """


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm with all fields of an alert but the places in the log."""

    event: int  # index of the event, in the batch, that raised it
    series: Series
    subject: int
    topic: str  # the subject's
    onset: int  # sequence number, in the subject, of the event with which the new regime began
    facts: Mapping[str, Any]  # the fields of `Alert` that are known already
    becomes_ready: bool = True  # whether a model can be retrained once there are enough events
    watch: RowWatch | None = None  # None: nothing decides whether the series recovers
    # Where the new regime began, if that is known; then `subject` and `onset` are not used.
    began: OffsetMark | None = None
    evidence: AlarmEvidence | None = None  # None: the alert has the detector's own numbers


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a batch as the alerts see them: an entry for each event and subject, `width` entries an event."""

    topics: Sequence[str]
    topic: I64  # index into `topics`
    partition: int
    offset: I64
    row: I32
    event_time_ms: I64
    subject: I64  # -1 for events that count for none (labels)
    sequence: I64
    width: int = 1
    labels: LabelMatches | None = None  # that came with these events; None: none

    @classmethod
    def of(cls, batch: Batch, topics: Sequence[str]) -> Self:
        """The events of a batch; `topics` are names by rank."""
        events, width = batch.events, batch.subject.shape[1]
        entry = np.repeat(np.arange(len(events)), width) if width > 1 else slice(None)
        return cls(
            topics,
            batch.topic[entry],
            events.partition,
            events.offset[entry],
            events.row[entry],
            events.event_time_ms[entry],
            batch.subject.ravel(),
            batch.sequence.ravel(),
            width,
            batch.labels,
        )

    def last_entry(self, event: int) -> int:
        """The index of the last entry of an event."""
        return event * self.width + self.width - 1


UNSEEN: Final = "(unseen)"  # the name in alerts for all categories that a detector does not distinguish


def evidence_of(
    alarms: Alarms, k: int, key: Key, detector: str, effect_unit: str, digest: str, categories: NameTable,
    kind: AlertKind = AlertKind.DRIFT,
) -> dict[str, Any]:  # fmt: skip
    """Alarm `k` of a detector on (model, version, column); `digest` is that of the reference, "" without one."""
    model, version, column = key
    return {
        "model_id": model,
        "model_version": version,
        "column": column,
        "detector": detector,
        "statistic": float(alarms.statistic[k]),
        "threshold": float(alarms.threshold[k]),
        "effect": float(alarms.effect[k]),
        "effect_unit": effect_unit,
        "before": float(alarms.before[k]),
        "after": float(alarms.after[k]),
        "n_reference": int(alarms.n_reference[k]),
        "n_current": int(alarms.n_current[k]),
        "reference_digest": digest,
        "kind": kind,
        "category": category_name(int(alarms.category[k]), categories),
    }


def category_name(category: int, categories: NameTable) -> str:
    """The name of a category in alerts; "" for `NO_CATEGORY`."""
    if category == NO_CATEGORY:
        return ""
    return UNSEEN if category == UNSEEN_CATEGORY else decimal_name(category) or categories.names[category]


def with_segment(alarm: Alarm, subjects: Subjects) -> Alarm:
    """The alarm with the model of its subject, and the segment as a field of its own."""
    model, segment = subjects.model_and_segment(alarm.subject) if alarm.subject >= 0 else ("", "")
    return replace(alarm, facts={**alarm.facts, "model_id": model, "segment": segment}) if segment else alarm


NAMED_MAX: Final = 100  # models in an alert; all are counted
CHARS_MAX: Final = 8192  # of their names together, so that an alert stays small


class SourceModels:
    """Which models that a fold has seen use which source."""

    def __init__(self, sources: Mapping[str, SourceSettings], subjects: Subjects) -> None:
        self._sources = {SOURCE_PREFIX + name: settings for name, settings in sources.items()}
        self._subjects = subjects

    def with_models(self, alarms: list[Alarm], batch: Batch) -> list[Alarm]:
        """The alarms of a batch; those of sources name the models that use them.

        Models that were first seen after the alarm do not count, so that no cut of the stream changes an alert.
        """
        if not self._sources:
            return alarms
        return [
            replace(alarm, facts={**alarm.facts, **self._users(alarm, batch)})
            if alarm.facts["model_id"] in self._sources
            else alarm
            for alarm in alarms
        ]

    def _users(self, alarm: Alarm, batch: Batch) -> dict[str, Any]:
        source = self._sources[alarm.facts["model_id"]]
        begun_later = int(np.count_nonzero(batch.sequence[alarm.event + 1 :] == 0))
        seen = (name for name in self._subjects.models(but_last=begun_later) if source.uses(name))
        users = list(dict.fromkeys([*source.named(), *seen]))
        chars = np.cumsum([len(name) for name in users])
        named_max = min(NAMED_MAX, int(np.searchsorted(chars, CHARS_MAX, side="right")))
        return {"models": tuple(islice(users, named_max)), "model_count": len(users)}
