"""Drift of columns: every detector of numbers and of categories, and the recovery of what has drifted.

new rows ─► assignment, reference     values ─► detectors ─► alarms ─┬─► alerts
                                         └────► recovery ◄───────────┘   └── verdicts: recovered, settled, new shift

Each kind of value has its own rows, one for each series.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from detectors.arrays.types import F64, U8
from detectors.base import Alarms, Bank
from detectors.reference import Reference
from detectors.registry import bank
from detectors.series.calendar import MAYBE, NO, has_clock_name
from detectors.series.table import WATCHED, SeriesFacts, ValueKind
from retrain.messages.alert import AlertKind
from retrain.messages.patterns import first_match, matches
from streamer.detect.alarm import Alarm, Remeasures, Verdict, evidence_of
from streamer.detect.batch import TAKES, Batch, KindValues, later
from streamer.detect.context import Context
from streamer.detect.monitor import ColumnStatus, Monitor, MonitorFindings
from streamer.detect.monitors.detector_set import DetectorSet, values_needed
from streamer.detect.monitors.evidence import RowEvidence
from streamer.detect.monitors.recovery import RowRecovery, WatchedAlarm
from streamer.detect.references.table import AnyReference
from streamer.detect.remap import Array, Arrays, Remap, Remaps
from streamer.detect.settings import DetectSettings, WatchSettings
from streamer.runtime.snapshot import nested, unnested

PHASES = ("watched", "learning", "starved", "blind")  # of series; blind ones have no detector, or no value for one
SMALL_REFERENCE = 500  # numbers; against fewer, a drift by less than 0.1 may never be seen


class DriftMonitor(Monitor):
    """The detector sets of a fold unit, one for each kind of value, with the recovery of their rows."""

    name: ClassVar = "drift"
    keys: ClassVar = tuple(f"{part}{takes}" for part in ("", "living.", "recent.") for takes in TAKES.values())

    def __init__(self, context: Context) -> None:
        self._context = context
        banks = _banks(context.settings)
        self._assignment = DetectorAssignment(context.settings.watch, banks)
        self.sets = [DetectorSet(kind, banks) for kind in WATCHED]
        self._recovery = [RowRecovery(one, context) for one in self.sets]
        self._evidence = [RowEvidence(one, context) for one in self.sets]

    @classmethod
    def create(cls, context: Context) -> Self:
        return cls(context)

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return tuple(_banks(settings))

    @classmethod
    def depends_on(cls, settings: DetectSettings) -> Mapping[str, object]:
        return {name: settings.detectors[name] for name in cls.detectors(settings)}

    def observe(self, batch: Batch) -> MonitorFindings:
        alarms, verdicts = list[Alarm](), list[Verdict]()
        for one, recovery, evidence in zip(self.sets, self._recovery, self._evidence, strict=True):
            values = batch.by_kind[one.kind]
            evidence.begin_batch(values)
            self._make_rows(one, values)
            times = batch.events.event_time_ms[values.event]
            found = [(name, one.update(name, values, times, self._multiple(name, batch, values))) for name in one.banks]
            if one.kind is ValueKind.NUMBER:
                found = [(name, self._without_clocks(raised, batch.of_clock)) for name, raised in found]
            watches = recovery.update(values, found, verdicts, evidence)
            for name, raised in found:
                alarms += self._alarms_of(one, name, raised, values, watches[name])
        return MonitorFindings(alarms, sorted(verdicts, key=lambda one: one.event))

    def remeasures(self) -> Mapping[str, Remeasures]:
        return {name: of for one, of in zip(self.sets, self._evidence, strict=True) for name in one.banks}

    def settle(self) -> None:
        for evidence in self._evidence:
            evidence.end_batch()

    def describe(self, subjects: Sequence[int]) -> Iterator[ColumnStatus]:
        sets = {one.kind: one for one in self.sets}
        for subject, column, facts in self._context.series.of_subjects(subjects):
            if facts.kind is None:
                continue
            key = self._context.subjects.name_of(subject, column)
            banks = sets[facts.kind].watching(facts.row)
            reference = self._context.references.of(facts.kind, key)
            digest = reference.digest if reference and _takes_reference(banks) else ""
            yield ColumnStatus(subject, key[2], tuple(banks), digest, tuple(_states(facts, banks, reference)))

    def phases(self) -> Mapping[str, int]:
        """How many series are in each of `PHASES`; those without any value that can be watched are blind."""
        counts, series = dict.fromkeys(PHASES, 0), self._context.series
        for one in self.sets:
            values = series.counts_of_rows(one.kind)
            has_any, starved, learns = (mask & (values >= 0) for mask in one.phases(values))
            counts["starved"] += int(np.count_nonzero(starved))
            counts["learning"] += int(np.count_nonzero(learns & ~starved))
            counts["watched"] += int(np.count_nonzero(has_any & ~starved & ~learns))
        counts["blind"] = len(series) - sum(counts.values())
        return counts

    def dump(self) -> Arrays:
        arrays: Arrays = {}
        for one, recovery, evidence in zip(self.sets, self._recovery, self._evidence, strict=True):
            arrays |= nested(one.takes, one.dump()) | nested(f"living.{one.takes}", recovery.dump())
            arrays |= nested(f"recent.{one.takes}", evidence.dump())
        return arrays

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:
        for one, recovery, evidence in zip(self.sets, self._recovery, self._evidence, strict=True):
            recovery.load(unnested(f"living.{one.takes}", arrays))
            evidence.load(unnested(f"recent.{one.takes}", arrays))
            one.load(unnested(one.takes, arrays), reset, owned)
            self._assign(one, range(one.rows), reset)

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        found: Arrays = {}
        for kind, takes in TAKES.items():
            rows, living = remaps.rows[kind], f"living.{takes}"
            found |= nested(takes, DetectorSet.remap(unnested(takes, arrays), rows))
            found |= nested(living, RowRecovery.remap(unnested(living, arrays), rows))
            found |= nested(f"recent.{takes}", RowEvidence.remap(unnested(f"recent.{takes}", arrays), rows))
        return found

    def alarm_rows(self, remaps: Remaps) -> Mapping[str, Remap]:
        return {name: remaps.rows[one.kind] for one in self.sets for name in one.banks}

    def _multiple(self, name: str, batch: Batch, values: KindValues) -> F64 | None:
        return batch.multiple(name, getattr(self._context.settings.detectors[name], "arl0", 1.0), values.place)

    def _without_clocks(self, alarms: Alarms, of_clock: U8) -> Alarms:
        """The alarms without those of columns that are functions of the clock: they move because time does."""
        if not len(alarms) or not of_clock[alarms.at].any():
            return alarms
        keep = of_clock[alarms.at] == NO
        for k in np.flatnonzero(of_clock[alarms.at] == MAYBE).tolist():
            column = self._context.series.subject_and_column(int(alarms.row[k]))[1]
            keep[k] = not has_clock_name(self._context.subjects.column(column))
        return alarms.only(keep)

    def _make_rows(self, one: DetectorSet, values: KindValues) -> None:
        """Make room for the series that begin with these values, and give them their detectors and reference."""
        known = one.rows
        one.make_rows(int(self._context.series.rows[one.kind]), values, fed=not self._assignment)
        self._assign(one, range(known, one.rows), one.banks.keys())

    def _assign(self, one: DetectorSet, rows: range, detectors: Collection[str]) -> None:
        """Assign detectors to these rows. `detectors` of them, and those that begin, get the training reference."""
        references, subjects = self._context.references, self._context.subjects
        if not (references or self._assignment or one.is_partial):
            return
        for row in rows:
            subject, column = self._context.series.subject_and_column(row, one.kind)
            key = subjects.name_of(subject, column)
            begun = one.assign(row, self._assignment.of(subjects.model_and_segment(subject)[0], key[2]))
            reference = references.of(one.kind, key)
            if reference is not None:
                one.set_reference(row, references, reference, {*detectors, *begun})

    def _alarms_of(
        self, one: DetectorSet, detector: str, alarms: Alarms, values: KindValues, watches: Sequence[WatchedAlarm]
    ) -> Iterator[Alarm]:
        """The alarms of a detector, with all that is known of them."""
        context, of = self._context, one.banks[detector]
        after = later(values.row, alarms.at).tolist()
        for k, (watch, evidence) in enumerate(watches):
            at, row = int(alarms.at[k]), int(alarms.row[k])
            subject, column = context.series.subject_and_column(row, one.kind)
            key = context.subjects.name_of(subject, column)
            reference = context.references.of(one.kind, key) if of.takes_reference else None
            digest = reference.digest if reference else ""
            kind = AlertKind.LABEL_LAG if column == context.lag_column else AlertKind.DRIFT
            facts = evidence_of(alarms, k, key, detector, of.effect_unit, digest, context.names.categories, kind)
            seen = context.series.count_of_row(row, one.kind) - after[k]
            onset = one.onset(row, int(alarms.onset_ago[k]), int(values.sequence[at]), seen)
            topic, event = context.subjects.topic_of(subject), int(values.event[at])
            is_drift, series = kind is AlertKind.DRIFT, (row, detector)
            yield Alarm(event, series, subject, topic, onset, facts, is_drift, watch, evidence=evidence)


def _banks(settings: DetectSettings) -> dict[str, Bank]:
    """The detectors that take values of one column, in the order of the settings."""
    banks = {name: bank(name, one, 0) for name, one in settings.detectors.items()}
    return {name: one for name, one in banks.items() if one.takes in TAKES.values()}


def _takes_reference(banks: Mapping[str, Bank]) -> bool:
    return any(one.takes_reference for one in banks.values())


def _states(facts: SeriesFacts, banks: Mapping[str, Bank], reference: AnyReference | None) -> Iterator[str]:
    """What keeps these detectors from watching a column well."""
    kind = ValueKind.NUMBER if facts.kind is None else facts.kind
    if not banks:
        yield "unwatched"
    elif facts.counts[kind] < max(values_needed(one, reference is not None) for one in banks.values()):
        yield "starved"
    elif any(_says(one, "learning", facts.row) for one in banks.values()):
        yield "learning"
    if any(_says(one, "scattered", facts.row) for one in banks.values()):
        yield "scattered"
    if _takes_reference(banks) and isinstance(reference, Reference) and reference.n_seen < SMALL_REFERENCE:
        yield "small_reference"


def _says(of: Any, state: str, row: int) -> bool:
    """Whether a detector is in a state, such as `learning`; False if it does not state that."""
    stated = getattr(of, state, None)
    return stated is not None and bool(stated(slice(row, row + 1))[0])


class DetectorAssignment:
    """The detectors of each column: those of the first patterns that fit model and column, else all there are."""

    def __init__(self, settings: WatchSettings, detectors: Collection[str]) -> None:
        self._settings = settings
        self._all = frozenset(detectors)
        self._known: dict[str, Mapping[str, frozenset[str]]] = {}  # model -> pattern of columns -> detectors

    def __bool__(self) -> bool:
        """Whether settings treat any columns differently."""
        return bool(self._settings)

    def of(self, model: str, column: str) -> frozenset[str]:
        """The detectors of a column of a model, or of `source:<name>`."""
        if model not in self._known:
            self._known[model] = self._of_model(model)
        found = first_match(self._known[model], column)
        return self._all if found is None else found

    def _of_model(self, model: str) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for pattern, columns in self._settings.items():
            if matches(model, pattern):
                found |= {column: frozenset(names) for column, names in columns.items() if column not in found}
        return found
