"""The detect fold: bytes to columns to monitors to alerts, for one partition number of all event topics.

    records ─► codec ─► EventBatch ─► Batch ─► monitors ─► alarms, verdicts ─► alerts
                 └► dead letters

State is a pure function of the settings, the records and how they were cut into epochs. Within an epoch, records are
folded in the order of `streamer/runtime/order.py`; how they were cut into polls or chunks never shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np

from detectors.arrays.types import I64
from retrain.messages.alert import Alert
from streamer.contracts.alert_time import clock_header
from streamer.contracts.dead_letters import set_aside_letter
from streamer.contracts.event_clock import EventClock, is_ahead
from streamer.contracts.watermarks import marked
from streamer.detect.alarm import Stretch, with_segment
from streamer.detect.alert_book import AlertBook, Placed
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.decode import count, letters
from streamer.detect.eviction import EvictionPolicy
from streamer.detect.label_join import LabelJoin
from streamer.detect.monitors.cardinality import Cardinality
from streamer.detect.monitors.table import monitors_of
from streamer.detect.remap import Survivors
from streamer.detect.settings import DetectSettings
from streamer.detect.source_models import SourceModels
from streamer.eventlog.base import Output, Records
from streamer.events import EventBatch, time_of
from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.order import Part, chunks, merged
from streamer.runtime.snapshot import Snapshot, nested, unnested

log = log_of("detect")

CHUNK_RECORDS = 4096  # decoded at once: keeps the Python objects of a codec within the processor's caches


class DetectFold:
    """One unit of the detect fold."""

    def __init__(self, settings: DetectSettings) -> None:
        """Raises `UsageError` when there are too many topics."""
        self.settings = settings
        self.tally: Tally = Counter()
        self.clock = EventClock()
        self.event_times_ms = (1 << 62, -1)  # oldest and newest since this process started; not part of the state
        self._has_logged_ahead = False  # once for each process, so not part of the state
        self.context = Context.create(settings)
        self.monitors = list(monitors_of(self.context))
        self.alerts = AlertBook(self.context.offsets, settings.min_events_after_onset)
        self._labels = LabelJoin(settings.labels, has_segments=bool(self.context.segments))
        self._sources = SourceModels(settings.sources, self.context.subjects)
        self._cardinality = Cardinality(self.context)
        self._eviction = EvictionPolicy(self.context)

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
        return self.clock.now_ms

    def gauges(self) -> Mapping[str, int]:
        return {"models": self.models, "series": self.series, "alerts_firing": len(self.alerts.active)}

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        """Fold an epoch's records; returns dead letters and alerts."""
        outputs: list[Output] = []
        for parts in chunks(stretch, self.context.rank_of, lambda: min(CHUNK_RECORDS, self._eviction.records_left)):
            outputs += self._fold(parts)
            survivors = self._eviction.check(sum(len(part.records) for part in parts))
            if survivors is not None:
                self._evict(survivors)
        return outputs

    def to_dead_letter(self, records: Records, i: int) -> Output:
        """See `streamer.runtime.fold.Fold`."""
        reason, letter = set_aside_letter(records, i, self.settings.outputs.dead_letters(records.topic))
        self.tally["dead_letters", records.topic, reason.value] += 1
        return letter

    def dump(self) -> Snapshot:
        """The whole state; it shows this fold's own memory until the next step."""
        meta, arrays = self.context.dump()
        meta |= {"alerts": self.alerts.dump(), "full": self._cardinality.dump()}
        arrays |= nested("labels", self._labels.dump()) | nested("idle", self._eviction.dump())
        arrays |= nested("clock", self.clock.dump())
        for monitor in self.monitors:
            arrays |= monitor.dump()
        return Snapshot(meta, arrays)

    def load(self, snapshot: Snapshot, reset: Collection[str] = ()) -> None:
        """Restore what was dumped, perhaps under other settings, with an empty state of the detectors `reset`.

        All others must have the settings under which they were dumped. A monitor that was off then begins empty.
        """
        meta, arrays = snapshot.meta, snapshot.arrays
        self.context.load(snapshot)
        self._labels.load(unnested("labels", arrays))
        for monitor in self.monitors:
            mine = {name: array for name, array in arrays.items() if name.partition("/")[0] in monitor.keys}
            if mine:
                monitor.load(mine, reset=reset, owned=snapshot.is_private)
        self.alerts.load(meta["alerts"])
        self._cardinality.load(meta["full"])
        self._eviction.load(unnested("idle", arrays))
        self.clock.load(unnested("clock", arrays))

    def _evict(self, survivors: Survivors) -> None:
        """Become the fold that has seen just the survivors."""
        self.tally["forgotten",] += int(np.count_nonzero(~survivors.models))
        fold = DetectFold(self.settings)
        fold.load(self._remapped(survivors))
        fold.tally, fold.event_times_ms = self.tally, self.event_times_ms
        fold._has_logged_ahead = self._has_logged_ahead
        vars(self).update(vars(fold))

    def _remapped(self, survivors: Survivors) -> Snapshot:
        """The state without what is evicted; it takes over the memory of this fold, which is of no use afterwards."""
        remaps = self.context.remaps(survivors, [monitor.versions(survivors.models) for monitor in self.monitors])
        alarm_rows = {name: rows for one in self.monitors for name, rows in one.alarm_rows(remaps).items()}
        meta, arrays = self.context.remap(remaps)
        meta |= {"alerts": AlertBook.remap(self.alerts.dump(), remaps, alarm_rows)}
        meta |= {"full": Cardinality.remap(self._cardinality.dump())}
        arrays |= nested("clock", EventClock.remap(self.clock.dump(), remaps.models.kept, remaps.models.place))
        arrays |= nested("labels", LabelJoin.remap(self._labels.dump(), remaps))
        arrays |= nested("idle", EvictionPolicy.remap(self._eviction.dump(), remaps))
        for monitor in self.monitors:
            arrays |= monitor.remap(monitor.dump(), remaps)
        return Snapshot(meta, arrays, is_private=True)

    def _fold(self, parts: Sequence[Part]) -> list[Output]:
        """Fold a chunk; its outputs stand in the order of the records that gave them."""
        outputs: list[tuple[int, Output]] = []
        batches, places, before_ms = [], [], self.clock.now_ms
        for part in parts:
            batch, dead = self.settings.codecs[part.records.topic].decode(part.records, self.context.names)
            outputs += letters(part, dead, self.settings.outputs, self.tally)
            count(part.records, batch, self.tally)
            self._eviction.touch_untracked(batch.strangers)
            batches.append(batch)
            places.append(part.at[np.searchsorted(part.records.offset, batch.offset)])
        events, origin = merged(batches, places)
        place = np.sort(np.concatenate(places))
        topic = np.array([self.context.rank_of(part.records.topic) for part in parts])[origin]
        clock_ms = self._advance_clock(events, topic)
        alerts = self._cardinality.alerts(self._cardinality.of_names(parts, batches))
        alerts += self._observe(events, topic, place)
        shown_ms = np.concatenate([[before_ms], clock_ms])[np.searchsorted(place, [at for at, _ in alerts], "right")]
        outputs += [(at, self._output(alert, int(ms))) for (at, alert), ms in zip(alerts, shown_ms, strict=True)]
        if self.settings.tells_time:
            outputs += marked(events.partition, clock_ms, place, before_ms, self.settings.outputs)
        outputs.sort(key=lambda entry: entry[0])
        return [output for _, output in outputs]

    def _advance_clock(self, events: EventBatch, topic: I64) -> I64:
        """The unit's clock after each event [n]. Events that are ahead of it are counted, and the first is logged."""
        times, (oldest, newest) = events.event_time_ms, self.event_times_ms
        self.event_times_ms = int(times.min(initial=oldest)), int(times.max(initial=newest))
        clock_ms = self.clock.advance(events.model, times)
        ahead = np.flatnonzero(is_ahead(times, clock_ms))
        for rank, n in zip(*np.unique(topic[ahead], return_counts=True), strict=True):
            self.tally["ahead", self.context.topics.names[rank]] += int(n)
        if len(ahead) and not self._has_logged_ahead:
            self._has_logged_ahead, i = True, int(ahead[0])
            log.warning(
                "%s[%d] at offset %d: an event of %.60r is dated %s, ahead of %s, the time of its unit. It is folded "
                "and moves no time unless most other models agree. Check the clock of the producer. Further ones are "
                "only counted",
                self.context.topics.names[topic[i]], events.partition, events.offset[i],
                self.context.names.models.names[events.model[i]], time_of(int(times[i])), time_of(int(clock_ms[i])),
            )  # fmt: skip
        return clock_ms

    def _observe(self, events: EventBatch, topic: I64, place: I64) -> list[Placed]:
        """The alerts of events on topics of these ranks, each with the place of its event in the chunk."""
        batch = Batch.of(events, topic, self.context, self._labels, self.tally)
        self._eviction.touch(batch)
        found = [monitor.observe(batch) for monitor in self.monitors]
        alarms = sorted((alarm for one in found for alarm in one.alarms), key=lambda alarm: alarm.event)  # stable
        verdicts = sorted((verdict for one in found for verdict in one.verdicts), key=lambda verdict: verdict.event)
        for alarm in alarms:
            self.tally["alarms", alarm.facts["detector"]] += 1
        if self.context.segments:
            alarms = [with_segment(alarm, self.context.subjects) for alarm in alarms]
        alarms = self._sources.with_models(alarms, batch)
        alerts = self._cardinality.alerts(self._cardinality.of_batch(batch, place))
        alerted = self.alerts.update(Stretch.of(batch, self.context.topics.names), alarms, verdicts)
        return alerts + [(int(place[event]), alert) for event, alert in alerted]

    def _output(self, alert: Alert, clock_ms: int) -> Output:
        self.tally["alerts", alert.state.value] += 1
        key, headers = alert.model_id.encode(), clock_header(alert, clock_ms)
        return Output(self.settings.outputs.alerts, key, msgspec.json.encode(alert), headers)
