"""The detect fold: bytes to columns to detectors to alerts, for one partition number of all event topics.

    records ─► codec ─► EventBatch ─► subjects, series ─► banks ─► alarms ─► alerts
                 └► dead letters        └► labels join ─► error ─┘

State is a pure function of the settings, the records and how they were cut into epochs. Within an epoch, records are
folded in the order of `merge.py`; how they were cut into polls or chunks never shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from detectors.arrays.types import I64
from detectors.base import Alarms
from detectors.registry import bank
from detectors.series.id_table import UNSEEN
from detectors.series.offsets import Offsets
from detectors.series.table import NO_ROW, WATCHED, SeriesTable, ValueKind
from retrain.messages.alert import Alert, AlertKind
from streamer.codecs.base import Reason
from streamer.contracts.dead_letters import poison_letter
from streamer.contracts.watermarks import marked
from streamer.detect.alarm import Alarm, Alarmed, Watches
from streamer.detect.alert_book import AlertBook
from streamer.detect.batch import BatchValues, KindValues, RoutedValues, kinds_of, later
from streamer.detect.decode import count, letters
from streamer.detect.eviction import EvictionPolicy, Survivors
from streamer.detect.evidence import facts_of
from streamer.detect.label_join import LabelJoin, LabelMatches, lag_column
from streamer.detect.lives import Lives
from streamer.detect.monitors.absence import AbsenceMonitor
from streamer.detect.monitors.assignment import DetectorAssignment
from streamer.detect.monitors.cardinality import Cardinality
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.detect.monitors.flow import FlowMonitor
from streamer.detect.monitors.joint import JOINT, JointMonitor
from streamer.detect.monitors.quality import RATE, QualityMonitor
from streamer.detect.monitors.recovery import RecoveryMonitor
from streamer.detect.monitors.segment_gap import SegmentGapMonitor, told_of_segment
from streamer.detect.reference_lookup import ReferenceLookup
from streamer.detect.remap import without
from streamer.detect.segments import Segments
from streamer.detect.settings import TOPICS_MAX, DetectSettings
from streamer.detect.source_models import SourceModels
from streamer.detect.subjects import Subjects
from streamer.errors import UsageError
from streamer.eventlog.base import Output, Records
from streamer.events import EventBatch, Names, NameTable
from streamer.runtime.order import Part, chunks, merged
from streamer.runtime.snapshot import Snapshot, nested, unnested

CHUNK_RECORDS = 4096  # decoded at once: keeps the Python objects of a codec within the processor's caches


class DetectFold:
    """One unit of the detect fold."""

    def __init__(self, settings: DetectSettings) -> None:
        """Raises `UsageError` when there are too many topics."""
        self.settings = settings
        limits = settings.limits
        self.names = Names.fresh(limits.models_max, limits.columns_max, limits.categories_max)
        self.tally: Counter[tuple[str, ...]] = Counter()
        self.newest_event_time_ms = -1
        self.oldest_event_time_ms = 1 << 62  # since this process started; not part of the state
        self._topics = NameTable(TOPICS_MAX)
        for topic in settings.codecs:
            self._rank(topic)
        self.segments = Segments(settings.segments, self.names)
        self.subjects = Subjects(limits.models_max, self.names, self._topics, self.segments)
        self.table = SeriesTable(limits.series_max)
        self.marks = Offsets()
        self._full = Cardinality(self.names, self._topics, self.subjects, self.table)
        self._forgetting = EvictionPolicy(limits, settings.labels.timeout_s, self.names, self.subjects, self.table)
        self._labels = LabelJoin(settings.labels, has_segments=bool(self.segments))
        banks = {name: bank(name, s, 0) for name, s in settings.detectors.items()}
        self.panels = [DetectorSet(kind, banks) for kind in WATCHED]
        self._watched = DetectorAssignment(settings.watch, banks)
        self.trained = ReferenceLookup(settings.references, self.names.categories)
        self._living = [RecoveryMonitor(panel, self.trained, self.subjects, self.table) for panel in self.panels]
        self.quality = QualityMonitor(banks.get(RATE), self.table, self.subjects, self.trained, limits.series_max)
        self.joint = JointMonitor(banks.get(JOINT), self.table, self.subjects)
        self._absent = AbsenceMonitor(settings.absence, self.table, self.subjects, self.names)
        self._lag_column = lag_column(self.names, settings.labels.watch_lag)
        self.alerts = AlertBook(self.marks, settings.min_events_after_onset)
        self._gaps = SegmentGapMonitor(self.segments, self.subjects, limits.series_max)
        self._source_users = SourceModels(settings.sources, self.subjects)
        self._flows = FlowMonitor(settings.flows, settings.labels.timeout_s, self.names, self._topics, self.subjects)

    @property
    def models(self) -> int:
        """How many models and sources have been seen."""
        return len(self.names.models)

    @property
    def series(self) -> int:
        """How many columns of models have been seen."""
        return len(self.table)

    def gauges(self) -> Mapping[str, int]:
        return {"models": self.models, "series": self.series, "alerts_firing": len(self.alerts.live)}

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        """Fold an epoch's records; returns dead letters and alerts."""
        outputs: list[Output] = []
        for parts in chunks(stretch, self._rank, lambda: min(CHUNK_RECORDS, self._forgetting.room)):
            outputs += self._fold(parts)
            if (kept := self._forgetting.look(sum(len(part.records) for part in parts))) is not None:
                self._forget(kept)
        return outputs

    def bury(self, records: Records, i: int) -> Output:
        """See `streamer.runtime.unit.Fold`."""
        self.tally["dead_letters", records.topic, Reason.POISON_RECORD.value] += 1
        return poison_letter(records, i, self.settings.outputs.dead_letters(records.topic))

    def dump(self) -> Snapshot:
        """The whole state; it shows this fold's own memory until the next step."""
        meta = {
            "topics": self._topics.names,
            "names": {k: getattr(self.names, k).names for k in ("models", "versions", "columns", "categories")},
            "alerts": self.alerts.dump(),
            "newest_event_time_ms": self.newest_event_time_ms,
            "segments": self.segments.dump(),
            "full": self._full.dump(),
        }
        arrays = {"subjects": self.subjects.ids.keys}
        arrays |= nested("series", self.table.dump()) | nested("marks", self.marks.dump())
        arrays |= nested("labels", self._labels.dump())
        for panel, living in zip(self.panels, self._living, strict=True):
            arrays |= nested(panel.takes, panel.dump()) | nested(f"living.{panel.takes}", living.dump())
        arrays |= nested("quality", self.quality.dump()) | nested(JOINT, self.joint.dump())
        arrays |= nested("gaps", self._gaps.dump()) | nested("absent", self._absent.dump())
        arrays |= nested("flow", self._flows.dump()) | nested("idle", self._forgetting.dump())
        return Snapshot(meta, arrays)

    def load(self, snapshot: Snapshot, anew: Collection[str] = ()) -> None:
        """Become the fold that was dumped, under other settings perhaps, with the detectors `anew` fresh.

        All others must have the settings under which they were dumped.
        """
        meta, arrays = snapshot.meta, snapshot.arrays
        self._topics.load(meta["topics"])
        for table, names in meta["names"].items():
            getattr(self.names, table).load(names)
        self.trained.name_categories()
        self._lag_column = lag_column(self.names, self.settings.labels.watch_lag)
        self.segments.load(meta["segments"])
        self.subjects.load(arrays["subjects"])
        self.table.load(unnested("series", arrays))
        self.marks.load(unnested("marks", arrays))
        self._labels.load(unnested("labels", arrays))
        for panel, living in zip(self.panels, self._living, strict=True):
            living.load(unnested(f"living.{panel.takes}", arrays))
            panel.load(unnested(panel.takes, arrays), anew, snapshot.is_private)
            self._refer(panel, range(panel.rows), anew)
        self.quality.load(unnested("quality", arrays), anew)
        self.joint.load(unnested(JOINT, arrays), anew, is_ours=snapshot.is_private)
        self._gaps.load(unnested("gaps", arrays))
        self._absent.load(unnested("absent", arrays))
        self._flows.load(unnested("flow", arrays), anew)
        self.alerts.load(meta["alerts"])
        self._full.load(meta["full"])
        self._forgetting.load(unnested("idle", arrays))
        self.newest_event_time_ms = meta["newest_event_time_ms"]

    def _forget(self, kept: Survivors) -> None:
        """Become the fold that has seen just what is kept."""
        self.tally["forgotten",] += int(np.count_nonzero(~kept.models))
        fold = DetectFold(self.settings)
        fold.load(without(self.dump(), kept))
        fold.tally, fold.oldest_event_time_ms = self.tally, self.oldest_event_time_ms
        vars(self).update(vars(fold))

    def _rank(self, topic: str) -> int:
        """The topic's place in the canonical order: the settings', then that of first sight."""
        rank = self._topics.id_of(topic)
        if rank < 0:
            raise UsageError(f"{topic} is one event topic too many: a service folds at most {TOPICS_MAX}")
        return rank

    def _fold(self, parts: Sequence[Part]) -> list[Output]:
        """Fold a chunk; its outputs stand in the order of the records that gave them."""
        outputs: list[tuple[int, Output]] = []
        batches, places, before_ms = [], [], self.newest_event_time_ms
        for part in parts:
            batch, dead = self.settings.codecs[part.records.topic].decode(part.records, self.names)
            outputs += letters(part, dead, self.settings.outputs, self.tally)
            count(part.records, batch, self.tally)
            self._forgetting.met(batch.strangers)
            self.oldest_event_time_ms = int(batch.event_time_ms.min(initial=self.oldest_event_time_ms))
            self.newest_event_time_ms = int(batch.event_time_ms.max(initial=self.newest_event_time_ms))
            batches.append(batch)
            places.append(part.at[np.searchsorted(part.records.offset, batch.offset)])
        batch, origin = merged(batches, places)
        place = np.sort(np.concatenate(places))
        rank = np.array([self._rank(part.records.topic) for part in parts])[origin]
        told = self._full.alerts(self._full.of_names(parts, batches)) + self._watch(batch, rank, place)
        outputs += [(at, self._output(alert)) for at, alert in told]
        outputs += marked(batch, place, before_ms, self.settings.outputs) if self.settings.tells_time else []
        outputs.sort(key=lambda entry: entry[0])
        return [output for _, output in outputs]

    def _watch(self, batch: EventBatch, rank: I64, place: I64) -> list[tuple[int, Alert]]:
        """Alerts of a batch whose events come from the topics of these ranks, with the event's place in the chunk."""
        lives = Lives.of(batch, rank, self.subjects, self.marks, self.segments, self.tally)
        self._forgetting.saw(batch, lives)
        errors = self._labels.join(batch, *lives.whole, self.names.models.names, lives.segment)
        arrivals = self._arrivals(batch, lives, errors)
        arrived, values = self._values(arrivals)
        alarms, judged = self._alarms(batch, values, arrived.routed.number)
        faults = self.quality.faults(arrived, values[ValueKind.NUMBER], values[ValueKind.CATEGORY])
        alarms += self.quality.alarms(faults, self.tally)
        alarms += self._absent.alarms(arrived, lives, self.tally)
        alarms += self.joint.alarms(values[ValueKind.NUMBER], batch.event_time_ms, self.tally)
        if self.segments:
            alarms += self._gaps.alarms(arrivals.compared(), self.tally)
        alarms += self._flows.alarms(batch, rank, errors, self.tally)
        alarms.sort(key=lambda alarm: alarm.event)  # stable: of one event, by detector and then by column
        alarms = [told_of_segment(alarm, self.subjects) for alarm in alarms] if self.segments else alarms
        alarms = self._source_users.named(lives.last_of(alarms), lives.number.ravel())
        told = self._full.alerts(self._full.of_watched(batch, rank, place, lives, arrivals))
        alerts = lives.fold(self.alerts, alarms, judged, batch, self._topics.names, rank)
        return told + [(int(place[event]), alert) for event, alert in alerts]

    def _arrivals(self, batch: EventBatch, lives: Lives, errors: LabelMatches) -> BatchValues:
        """What a batch's events hold and its labels bring to light, for models and for their segments."""
        arrivals = BatchValues.of(batch, lives, errors.values(self._lag_column))
        return arrivals.with_segments(self.segments.columns()[batch.model]) if self.segments else arrivals

    def _values(self, arrivals: BatchValues) -> tuple[RoutedValues, dict[ValueKind, KindValues]]:
        """What has arrived, in order of events; and of that, what detectors of each kind get."""
        event, subject, life, column, number, category, _ = arrivals
        kind = kinds_of(number, category)
        take = np.argsort(event, kind="stable")  # in order of events, so that new series are numbered alike in any cut
        take = take[subject[take] >= 0]  # not so once the table of subjects is full
        value = np.where(category >= 0, category, number)
        kind, event, life, value = kind[take], event[take], life[take], value[take]
        routed = self.table.route(subject[take], column[take], kind, value, life)
        self.tally["dropped",] += len(subject) - len(take) + int(np.count_nonzero(routed.series == UNSEEN))
        found = {}
        for one in WATCHED:
            mine = np.flatnonzero((kind == one) & (routed.row != NO_ROW))
            found[one] = KindValues(routed.row[mine], value[mine], event[mine], life[mine], mine, routed.columns[mine])
        return RoutedValues(kind, routed, event, life), found

    def _alarms(self, batch: EventBatch, values: Mapping[ValueKind, KindValues], numbers: I64) -> Alarmed:
        """The alarms of all detectors, in the order of events, and what is judged of series that had alarmed before."""
        alarms, judged = Alarmed([], [])
        for panel, living in zip(self.panels, self._living, strict=True):
            mine = values[panel.kind]
            self._make_rows(panel, mine)
            times = batch.event_time_ms[mine.event]
            found = [(name, panel.update(name, mine, times)) for name in panel.banks]
            watches = living.fold(mine, numbers[mine.place], found, judged)
            for detector, raised in found:
                self.tally["alarms", detector] += len(raised)
                alarms += self._told(panel, detector, raised, mine, watches[detector])
        return Alarmed(alarms, sorted(judged, key=lambda one: one.event))

    def _make_rows(self, panel: DetectorSet, values: KindValues) -> None:
        """Make room for the series that begin with these values, and give them their reference."""
        known = panel.rows
        panel.make_rows(int(self.table.rows[panel.kind]), values, fed=not self._watched)
        self._refer(panel, range(known, panel.rows), panel.banks.keys())

    def _refer(self, panel: DetectorSet, rows: range, detectors: Collection[str]) -> None:
        """Say which detectors watch these rows, and give these detectors their training data, where there are any."""
        if self.trained or self._watched or panel.is_partial:
            for row in rows:
                subject, column = self.table.subject_and_column(row, panel.kind)
                key = self.subjects.name_of(subject, column)
                watched = self._watched.of(self.subjects.model_and_segment(subject)[0], key[2])
                begun = panel.choose(row, watched)
                self.trained.refer(panel, row, key, {*detectors, *begun})
                self.quality.refer(panel, row, key)

    def _told(
        self, panel: DetectorSet, detector: str, alarms: Alarms, values: KindValues, watches: Watches
    ) -> Iterator[Alarm]:
        """Alarms with what is known of them here."""
        one, after = panel.banks[detector], later(values.row, alarms.at).tolist()
        for k, watch in enumerate(watches):
            at, row = int(alarms.at[k]), int(alarms.row[k])
            subject, column = self.table.subject_and_column(row, panel.kind)
            key = self.subjects.name_of(subject, column)
            reference = self.trained.of(panel.kind, key) if one.takes_reference else None
            digest = reference.digest if reference else ""
            kind = AlertKind.LABEL_LAG if column == self._lag_column else AlertKind.DRIFT
            facts = facts_of(alarms, k, key, detector, one.effect_unit, digest, self.names.categories, kind)
            seen = self.table.count_of_row(row, panel.kind) - after[k]
            onset = panel.onset(row, int(alarms.onset_ago[k]), int(values.life[at]), seen)
            topic, event = self.subjects.topic_of(subject), int(values.event[at])
            yield Alarm(event, (row, detector), subject, topic, onset, facts, kind is AlertKind.DRIFT, watch)

    def _output(self, alert: Alert) -> Output:
        self.tally["alerts", alert.state.value] += 1
        return Output(self.settings.outputs.alerts, alert.model_id.encode(), msgspec.json.encode(alert))
