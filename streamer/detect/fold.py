"""The detect fold: bytes to columns to monitors to alerts, for one partition number of all event topics.

    records ─► codec ─► EventBatch ─► Batch ─► monitors ─► alarms, verdicts ─► alerts
                 └► dead letters

State is a pure function of settings, records and epochs. Within an epoch, `runtime/order.py` orders the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from detectors.arrays.growth import array_bytes, ensure_length
from retrain.messages.alert import Alert
from retrain.messages.shift import strength_of
from streamer.clock import StageTimes
from streamer.contracts.alert_time import clock_header
from streamer.contracts.cloudevents import headers_of_alert
from streamer.contracts.dead_letters import set_aside_letter
from streamer.contracts.encoding import json_of
from streamer.contracts.watermarks import marked
from streamer.detect.alarm import SourceModels, Stretch, with_segment
from streamer.detect.alerts.alert_book import AlertBook, Placed
from streamer.detect.alerts.windows import Windows
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.eviction import EvictionPolicy
from streamer.detect.intake import DecodedChunk, Intake, Pairing
from streamer.detect.label_join import LabelJoin
from streamer.detect.label_matches import LabelMatches
from streamer.detect.monitor import MonitorFindings, in_order_of_events
from streamer.detect.monitors.cardinality import Cardinality
from streamer.detect.monitors.label_mismatch import LabelMismatch
from streamer.detect.monitors.profiles import KEY as PROFILE
from streamer.detect.monitors.profiles import ProfilePublisher
from streamer.detect.monitors.table import monitors_of
from streamer.detect.references.store import Digests
from streamer.detect.remap import Survivors
from streamer.detect.segments import WHOLE
from streamer.detect.settings import DetectSettings
from streamer.detect.subjects import model_ids, segment_ids
from streamer.eventlog.base import Output, Records
from streamer.runtime.fold import Gauges, ModelFacts, Tally
from streamer.runtime.order import Part, chunks
from streamer.runtime.snapshot import Snapshot, nested, unnested

TABLES: Final = ("models", "versions", "columns", "categories", "subjects", "series", "labels_open", "labels_early")
TOTALS: Final = (("dropped",), ("labels_strange",))  # of the tally, which the state holds
CHUNK_RECORDS = 4096  # decoded at once: keeps the Python objects of a codec within the processor's caches


class DetectFold:
    """One unit of the detect fold."""

    joins_epochs: ClassVar[bool] = True

    def __init__(self, settings: DetectSettings) -> None:
        """Raises `UsageError` when there are too many topics."""
        self.settings = settings
        self.tally: Tally = Counter()
        self.context = Context.create(settings)
        self.intake = Intake(self.context)
        self.monitors = list(monitors_of(self.context))
        evidence = {name: of for monitor in self.monitors for name, of in monitor.remeasures().items()}
        enough, windows = settings.min_events_after_onset, Windows(self.context)
        self.alerts = AlertBook(self.context.offsets, enough, evidence, windows)
        self.pairing = Pairing(settings.codecs, self.context.topics)
        self.labels = LabelJoin(settings.labels, has_segments=bool(self.context.segments))
        self._sources = SourceModels(settings.sources, self.context.subjects)
        self._cardinality = Cardinality(self.context)
        self._mismatch = LabelMismatch(self.context)
        self._eviction = EvictionPolicy(self.context)
        self.stages = StageTimes()
        self._errors = np.zeros((64, 2))  # by model: number and sum since this process began; not part of the state
        self._profiles = ProfilePublisher.create(self.context)
        self._totals = np.zeros(len(TOTALS), np.int64)  # since the first record; the tally begins with the process

    @property
    def models(self) -> int:
        """How many models and sources have been seen."""
        return len(self.context.names.models)

    @property
    def series(self) -> int:
        """How many columns of models have been seen."""
        return len(self.context.series)

    @property
    def newest_event_time_ms(self) -> int:
        """The unit's clock; -1: nothing yet."""
        return self.intake.clock.now_ms

    @property
    def dropped_values(self) -> int:
        """How many values found a full table of `limits`."""
        return int(self._totals[0])

    @property
    def label_fates(self) -> dict[str, int]:
        """What became of the labels of all models: each has one fate, or waits.

        `unknown_model` are those among them that came before any prediction of their model.
        """
        return self.labels.fates | {"waiting": self.labels.counts["early"], "unknown_model": int(self._totals[1])}

    def models_with_predictions(self) -> set[str]:
        """The models of which a prediction has come."""
        subjects = self.context.subjects
        return {subjects.model_and_segment(subject)[0] for subject in range(len(subjects.ids))}

    def gauges(self) -> Gauges:
        early, newest = self.labels.counts["early"], self.intake.newest_ms[: len(self.context.topics)].tolist()
        sizes = {("models",): self.models, ("series",): self.series, ("labels_early",): early}
        sizes["alerts_firing",] = len(self.alerts.active)
        times = zip(self.context.topics.names, newest, strict=True)
        tables = self._tables()
        rows = {("rows", name): n for name, (n, _) in tables.items()}
        rows |= {("rows_max", name): most for name, (_, most) in tables.items()}
        return sizes | rows | {("event_time", topic): ms / 1000 for topic, ms in times if ms >= 0}

    def _tables(self) -> dict[str, tuple[int, int]]:
        """The rows of each bounded table, and its bound."""
        context, labels, names = self.context, self.labels, self.context.names
        tables = zip(TABLES, (names.models, names.versions, names.columns, names.categories), strict=False)
        found = {name: (len(table), table.limit) for name, table in tables}
        found["subjects"] = len(context.subjects.ids), context.subjects.ids.limit
        found["series"] = len(context.series), context.series.limit
        found["labels_open"] = labels.open, labels.settings.open_max
        found["labels_early"] = labels.counts["early"], labels.settings.early_max
        return found

    def census(self) -> Gauges:
        counts: dict[tuple[str, ...], float] = {}
        for monitor in self.monitors:
            counts["state_bytes", monitor.name] = array_bytes(monitor)
            counts |= {("series_phase", phase): n for phase, n in monitor.phases().items()}
        tables = {"series": self.context.series, "offsets": self.context.offsets, "calendar": self.context.calendar}
        parts = tables | {"labels": self.labels, "repeats": self.intake.repeats}
        return counts | {("state_bytes", name): array_bytes(part) for name, part in parts.items()}

    def model_facts(self) -> ModelFacts | None:
        names, keys = self.context.names.models, self.context.subjects.ids.keys
        n, whole = len(names), segment_ids(keys) == WHOLE
        counts = self.context.offsets.counts(len(keys))[whole]
        events = np.bincount(model_ids(keys[whole]), weights=counts, minlength=n).astype(np.int64)
        self._errors = ensure_length(self._errors, n, 0)
        firing, effect = np.zeros(n, np.int64), np.zeros(n)
        for one in self.alerts.active:
            model = names.ids.get(one.alert.model_id, -1)
            firing[model] += model >= 0
            effect[model] = max(effect[model], strength_of(one.alert.effect, one.alert.effect_unit))
        errors = self._errors[:n].copy()
        return ModelFacts(tuple(names.names), events, errors[:, 0].astype(np.int64), errors[:, 1], firing, effect)

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        """Fold an epoch's records; returns dead letters and alerts."""
        outputs: list[Output] = []
        for parts in chunks(stretch, self.context.rank_of, lambda: min(CHUNK_RECORDS, self._eviction.records_left)):
            outputs += self._fold(parts)
            survivors = self._eviction.check(sum(len(part.records) for part in parts))
            if survivors is not None:
                self._evict(survivors)
        return outputs

    def new_references(self) -> Digests:
        """See `streamer.runtime.fold.Fold`."""
        return self.context.new_references()

    def refer(self, references: Digests) -> None:
        """See `streamer.runtime.fold.Fold`."""
        self.context.refer(references)

    def to_dead_letter(self, records: Records, i: int) -> Output:
        """See `streamer.runtime.fold.Fold`."""
        reason, letter = set_aside_letter(records, i, self.settings.outputs.dead_letters(records.topic))
        self.tally["dead_letters", records.topic, reason.value] += 1
        return letter

    def dump(self) -> Snapshot:
        """The whole state; it shows this fold's own memory until the next step."""
        meta, arrays = self.context.dump()
        meta |= {"alerts": self.alerts.dump(), "full": self._cardinality.dump()}
        arrays |= self.intake.dump() | nested("pairs", self.pairing.dump())
        arrays |= nested("labels", self.labels.dump()) | nested("idle", self._eviction.dump())
        arrays |= nested("mismatch", self._mismatch.dump()) | {"totals": self._totals}
        arrays |= self._profile_arrays()
        for monitor in self.monitors:
            arrays |= monitor.dump()
        return Snapshot(meta, arrays)

    def load(self, snapshot: Snapshot, reset: Collection[str] = ()) -> None:
        """Restore what was dumped, perhaps under other settings, with an empty state of the detectors `reset`.

        All others must have the settings under which they were dumped. A monitor that was off then begins empty.
        """
        meta, arrays = snapshot.meta, snapshot.arrays
        self.context.load(snapshot)
        self.labels.load(unnested("labels", arrays))
        for monitor in self.monitors:
            mine = {name: array for name, array in arrays.items() if name.partition("/")[0] in monitor.keys}
            if mine:
                monitor.load(mine, reset=reset, owned=snapshot.is_private)
        self.alerts.load(meta["alerts"])
        self._cardinality.load(meta["full"])
        self._eviction.load(unnested("idle", arrays))
        self._mismatch.load(unnested("mismatch", arrays))
        self._totals = arrays.get("totals", self._totals).copy()
        self.intake.load(arrays)
        self.pairing.load(unnested("pairs", arrays))
        if self._profiles is not None:
            self._profiles.load(unnested(PROFILE, arrays), owned=snapshot.is_private)

    def _profile_arrays(self) -> dict[str, Any]:
        return {} if self._profiles is None else nested(PROFILE, self._profiles.dump())

    def _evict(self, survivors: Survivors) -> None:
        """Become the fold that has seen just the survivors."""
        self.tally["forgotten",] += int(np.count_nonzero(~survivors.models))
        fold = DetectFold(self.settings)
        fold.load(self._remapped(survivors))
        fold.tally, fold.stages = self.tally, self.stages
        fold._errors = ensure_length(self._errors, len(survivors.models), 0)[: len(survivors.models)][survivors.models]
        fold.intake.succeed(self.intake)
        vars(self).update(vars(fold))

    def _remapped(self, survivors: Survivors) -> Snapshot:
        """The state without what is evicted; it takes over the memory of this fold, which is of no use afterwards."""
        versions = [monitor.versions(survivors.models) for monitor in self.monitors]
        remaps = self.context.remaps(survivors, [*versions, self.pairing.versions()])
        alarm_rows = {name: rows for one in self.monitors for name, rows in one.alarm_rows(remaps).items()}
        meta, arrays = self.context.remap(remaps)
        meta |= {"alerts": AlertBook.remap(self.alerts.dump(), remaps, alarm_rows)}
        meta |= {"full": Cardinality.remap(self._cardinality.dump())}
        arrays |= self.intake.remap(remaps)
        arrays |= nested("pairs", Pairing.remap(self.pairing.dump(), remaps))
        arrays |= nested("labels", LabelJoin.remap(self.labels.dump(), remaps))
        arrays |= nested("idle", EvictionPolicy.remap(self._eviction.dump(), remaps))
        arrays |= nested("mismatch", self._mismatch.dump()) | {"totals": self._totals}
        arrays |= nested(PROFILE, ProfilePublisher.remap(unnested(PROFILE, self._profile_arrays()), remaps))
        for monitor in self.monitors:
            arrays |= monitor.remap(monitor.dump(), remaps)
        return Snapshot(meta, arrays, is_private=True)

    def _fold(self, parts: Sequence[Part]) -> list[Output]:
        """Fold a chunk; its outputs stand in the order of the records that gave them."""
        with self.stages.of("decode"):
            chunk = self.intake.decode(parts, self.tally)
        with self.stages.of("detect"):
            return self._watch(parts, chunk)

    def _watch(self, parts: Sequence[Part], chunk: DecodedChunk) -> list[Output]:
        """The outputs of a decoded chunk."""
        self._eviction.touch_untracked(chunk.batches)
        alerts = [*chunk.alerts, *self._cardinality.alerts(self._cardinality.of_names(parts, chunk.batches))]
        observed, profiles = self._observe(self.pairing.joined(chunk, self.tally))
        alerts += observed
        times_ms = chunk.time_at([at for at, _ in alerts])
        outputs = chunk.dead_letters + [
            (at, self._output(alert, int(ms))) for (at, alert), ms in zip(alerts, times_ms, strict=True)
        ]
        if self.settings.tells_time:
            topics, partition = self.settings.outputs, chunk.events.partition
            outputs += marked(partition, chunk.clock_ms, chunk.place, chunk.before_ms, topics)
        outputs += profiles
        return [output for _, output in sorted(outputs, key=lambda entry: entry[0])]

    def _observe(self, chunk: DecodedChunk) -> tuple[list[Placed], list[tuple[int, Output]]]:
        """The alerts of a chunk's events, and profiles, each with the place of its event."""
        before = [self.tally[key] for key in TOTALS]
        batch = Batch.of(chunk, self.context, self.labels, self.tally)
        self._totals += [self.tally[key] - n for key, n in zip(TOTALS, before, strict=True)]
        self._eviction.touch(batch)
        self._count_errors(batch.labels)
        mismatched = MonitorFindings(self._mismatch.alarms(batch))
        found = [monitor.observe(batch) for monitor in self.monitors]
        alarms, verdicts = in_order_of_events([*found, mismatched])
        self.tally.update(("alarms", alarm.facts["detector"]) for alarm in alarms)
        alarms = [with_segment(alarm, self.context.subjects) for alarm in alarms]
        alarms = self._sources.with_models(alarms, batch)
        alerts = self._cardinality.alerts(self._cardinality.of_batch(batch, chunk.place))
        alerted = self.alerts.update(Stretch.of(batch, self.context.topics.names), alarms, verdicts)
        for monitor in self.monitors:
            monitor.settle()
        alerts += [(int(chunk.place[event]), alert) for event, alert in alerted]
        profiles = () if self._profiles is None else self._profiles.update(batch, chunk.clock_ms)
        return alerts, [(int(chunk.place[event]), output) for event, output in profiles]

    def _count_errors(self, labels: LabelMatches) -> None:
        if len(labels.subject):
            models = model_ids(self.context.subjects.ids.keys[labels.subject])
            self._errors = ensure_length(self._errors, int(models.max()) + 1, 0)
            counted = np.column_stack([np.ones(len(models)), np.nan_to_num(labels.error)])
            with np.errstate(over="ignore"):  # a sum beyond any number is shown as infinite
                np.add.at(self._errors, models, counted)

    def _output(self, alert: Alert, clock_ms: int) -> Output:
        self.tally["alerts", alert.kind.value, alert.state.value] += 1
        key, headers = alert.model_id.encode(), headers_of_alert(alert) + clock_header(alert, clock_ms)
        return Output(self.settings.outputs.alerts, key, json_of(alert), headers)
