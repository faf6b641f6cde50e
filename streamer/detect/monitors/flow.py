"""Models, sources and labels whose events stop coming, or come at another rate: events to flows, alarms to alerts.

What comes of a model on a topic is one flow, whatever its version, as a new version taking over is no silence; labels
that come as events of their own are another, and so is each source. All are judged by what else comes on the same
topic, labels by labels and the rest by the rest, as labels often come together; see
`detectors/delivery/flow.py`. So a topic on which nothing comes any more says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.delivery.flow import FlowAlarm, Flows, FlowSettings
from detectors.delivery.flow_kernels import Events
from detectors.delivery.label_rate import FALL_MIN, Counted, LabelShares, ShareAlarm
from detectors.series.id_table import IdTable
from detectors.series.offsets import OffsetMark
from retrain.messages.alert import AlertKind
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.alarm import Alarm
from streamer.detect.label_join import LabelMatches
from streamer.detect.subjects import MODEL_MASK, Subjects
from streamer.events import EventBatch, EventKind, Names, NameTable
from streamer.runtime.snapshot import nested, unnested

FLOW: Final = "flow"  # the detector
EVENTS_COLUMN, LABELS_COLUMN = "(events)", "(labels)"  # what alerts have as their column
RANK_BITS: Final = 8
PER_MODEL: Final = 8  # flows that there is room for, for each model


class FlowMonitor:
    """The flows of a fold unit, by name."""

    def __init__(
        self, settings: FlowSettings, timeout_s: float, names: Names, topics: NameTable, subjects: Subjects
    ) -> None:
        self._flows = Flows(settings)
        self._shares = LabelShares(settings.window_s, timeout_s)
        self._subjects = subjects
        self._names = names
        self._topics = topics
        self._ids = IdTable(PER_MODEL * names.models.limit)
        self._is_on = settings.watch

    def alarms(
        self, batch: EventBatch, rank: I64, errors: LabelMatches, tally: Counter[tuple[str, ...]]
    ) -> list[Alarm]:
        """The alarms of a batch whose events come from the topics of these ranks, and whose labels gave `errors`."""
        if not self._is_on or not len(batch):
            return []
        is_label = (batch.kind & (EventKind.PREDICTION | EventKind.SOURCE)) == 0
        clock = rank << 1 | is_label
        key = batch.model.astype(np.int64) << (RANK_BITS + 1) | clock
        events = Events(self._ids.add(key), clock, batch.event_time_ms, batch.offset, batch.version)
        found = self._flows.update(events, len(self._ids))
        met = self._met(batch, errors)
        is_made = (batch.kind & EventKind.PREDICTION != 0) & (batch.prediction.view(np.int64) != QUIET_NAN)
        made = np.flatnonzero(is_made & ((batch.join_id != 0) | (batch.kind & EventKind.LABEL != 0)))
        of = Counted(made, events.flow[made], clock[made], batch.event_time_ms[made])
        fallen = self._shares.update(of, batch.offset[made], met, self._flows.windows, len(self._ids))
        tally["alarms", FLOW] += len(found) + len(fallen)
        return [self._alarm(one) for one in found] + [self._alarm_of_share(one) for one in fallen]

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        return {"keys": self._ids.keys} | nested("flows", self._flows.dump()) | nested("shares", self._shares.dump())

    def load(self, arrays: Mapping[str, NDArray[Any]], anew: Collection[str]) -> None:
        """Become what was dumped; nothing of it while flows are not watched, or where they are to begin anew."""
        if self._is_on and FLOW not in anew:
            self._ids.load(arrays["keys"])
            self._flows.load(unnested("flows", arrays))
            self._shares.load(unnested("shares", arrays))

    def _met(self, batch: EventBatch, errors: LabelMatches) -> Counted:
        """The predictions whose labels have come, by the events that brought those."""
        event, subject = errors.event[errors.subject >= 0], errors.subject[errors.subject >= 0]
        key = self._subjects.ids.keys[subject]
        clock = (key & 0xFF) << 1
        lag_ms = np.rint(errors.lag_s[errors.subject >= 0] * 1000).astype(np.int64)
        flow = self._ids.find((key >> 32 & MODEL_MASK) << (RANK_BITS + 1) | clock)
        return Counted(event, flow, clock, batch.event_time_ms[event] - lag_ms)

    def _alarm(self, alarm: FlowAlarm) -> Alarm:
        key, versions = self._ids.key_of(alarm.flow), self._names.versions.names
        kind = AlertKind.SILENT if alarm.is_silence else AlertKind.EVENT_RATE
        facts = {
            "model_id": self._names.models.names[key >> (RANK_BITS + 1)],
            "model_version": versions[alarm.version] if alarm.version >= 0 else "",
            "column": LABELS_COLUMN if key & 1 else EVENTS_COLUMN,
            "detector": FLOW,
            "statistic": alarm.statistic,
            "threshold": alarm.threshold,
            "effect": abs(alarm.after - alarm.before),
            "effect_unit": "s" if alarm.is_silence else "per_hour",
            "before": alarm.before,
            "after": alarm.after,
            "n_reference": alarm.n_reference,
            "n_current": alarm.n_current,
            "kind": kind,
        }
        began = OffsetMark(0, alarm.began_offset, alarm.began_ms)
        topic = self._topics.names[key >> 1 & 0xFF]
        return Alarm(alarm.event, (alarm.flow, FLOW), -1, topic, 0, facts, becomes_ready=False, began=began)

    def _alarm_of_share(self, alarm: ShareAlarm) -> Alarm:
        key, versions = self._ids.key_of(alarm.flow), self._names.versions.names
        facts = {
            "model_id": self._names.models.names[key >> (RANK_BITS + 1)],
            "model_version": versions[alarm.version] if alarm.version >= 0 else "",
            "column": LABELS_COLUMN,
            "detector": FLOW,
            "statistic": alarm.before - alarm.after,
            "threshold": FALL_MIN,
            "effect": alarm.before - alarm.after,
            "effect_unit": "rate",
            "before": alarm.before,
            "after": alarm.after,
            "n_reference": alarm.n_reference,
            "n_current": alarm.n_current,
            "kind": AlertKind.LABEL_RATE,
        }
        began = OffsetMark(0, alarm.began_offset, alarm.began_ms)
        topic = self._topics.names[key >> 1 & 0xFF]
        return Alarm(alarm.event, (alarm.flow, LABELS_COLUMN), -1, topic, 0, facts, becomes_ready=False, began=began)
