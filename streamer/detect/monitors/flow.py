"""Flows of events: models, sources and labels whose events stop, or change their rate.

The events of a model on a topic are one flow, whatever their version, because a new version that takes over is no
silence. Labels that are events of their own are another flow, and so is each source. A flow is judged by the other
events on its topic, labels by labels and the rest by the rest, because labels often arrive together; see
`detectors/delivery/flow.py`. So a topic without any events raises no alarm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final, Self

import numpy as np

from detectors.arrays.types import I64
from detectors.delivery.flow import FlowAlarm, Flows
from detectors.delivery.flow_kernels import LAST_VERSION, Events
from detectors.delivery.label_rate import FALL_MIN, Counted, LabelShares, ShareAlarm
from detectors.series.id_table import IdTable
from detectors.series.offsets import OffsetMark
from retrain.messages.alert import AlertKind
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.label_matches import LabelMatches
from streamer.detect.monitor import Monitor, MonitorFindings
from streamer.detect.remap import Array, Arrays, Mask, Remap, Remaps, compact_all
from streamer.detect.settings import DetectSettings
from streamer.detect.subjects import model_ids, topic_ranks
from streamer.events import EventKind
from streamer.runtime.snapshot import nested, unnested

FLOW: Final = "flow"  # the detector
KEY: Final = "flow"
EVENTS_COLUMN, LABELS_COLUMN = "(events)", "(labels)"  # the columns of alerts
FLOW_BITS: Final = 9  # of a key, below the model: the rank of the topic, and whether the events are labels
PER_MODEL: Final = 8  # flows, on average: the limit of the table


class FlowMonitor(Monitor):
    """The flows of a fold unit, by name."""

    name: ClassVar = "flow"
    keys: ClassVar = (KEY,)

    def __init__(self, context: Context) -> None:
        settings = context.settings.flows
        self._flows = Flows(settings)
        self._shares = LabelShares(settings.window_s, context.settings.labels.timeout_s)
        self._subjects = context.subjects
        self._names = context.names
        self._topics = context.topics
        self._ids = IdTable(PER_MODEL * context.names.models.limit)

    @classmethod
    def create(cls, context: Context) -> Self | None:
        return cls(context) if context.settings.flows.watch else None

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return (FLOW,) if settings.flows.watch else ()

    @classmethod
    def depends_on(cls, settings: DetectSettings) -> Mapping[str, object]:
        return {FLOW: (settings.flows, settings.labels.timeout_s)}

    def observe(self, batch: Batch) -> MonitorFindings:
        events, rank = batch.events, batch.topic
        if not len(events):
            return MonitorFindings()
        is_label = (events.kind & (EventKind.PREDICTION | EventKind.SOURCE)) == 0
        clock = rank << 1 | is_label
        key = events.model.astype(np.int64) << FLOW_BITS | clock
        of = Events(self._ids.add(key), clock, events.event_time_ms, events.offset, events.version)
        found = self._flows.update(of, len(self._ids))
        is_made = (events.kind & EventKind.PREDICTION != 0) & (events.prediction.view(np.int64) != QUIET_NAN)
        made = np.flatnonzero(is_made & ((events.join_id != 0) | (events.kind & EventKind.LABEL != 0)))
        counted = Counted(made, of.flow[made], clock[made], events.event_time_ms[made])
        matched = self._matched(batch.labels)
        fallen = self._shares.update(counted, events.offset[made], matched, self._flows.windows, len(self._ids))
        return MonitorFindings([self._alarm(one) for one in found] + [self._alarm_of_share(one) for one in fallen])

    def dump(self) -> Arrays:
        flows, shares = nested("flows", self._flows.dump()), nested("shares", self._shares.dump())
        return nested(KEY, {"keys": self._ids.keys} | flows | shares)

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:  # noqa: ARG002
        mine = unnested(KEY, arrays)
        if FLOW not in reset:
            self._ids.load(mine["keys"])
            self._flows.load(unnested("flows", mine))
            self._shares.load(unnested("shares", mine))

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        mine = unnested(KEY, arrays)
        of_topics = {name: mine.pop(name) for name in ("flows/topic", "shares/now")}
        keys, models = mine["keys"], remaps.models
        mine["keys"] = models.new(keys >> FLOW_BITS) << FLOW_BITS | keys & ((1 << FLOW_BITS) - 1)
        mine = compact_all(mine, Remap.of(models.kept[keys >> FLOW_BITS]))
        head = mine["flows/head"]
        head[:, LAST_VERSION] = remaps.versions.new(head[:, LAST_VERSION])
        return nested(KEY, mine | of_topics)

    def versions(self, models: Mask) -> I64:
        of_flows: I64 = self._flows.dump()["head"][models[self._ids.keys >> FLOW_BITS], LAST_VERSION]
        return of_flows

    def _matched(self, labels: LabelMatches) -> Counted:
        """The predictions that labels have matched, by the events that completed the pairs."""
        found = labels.labelled
        known = found.subject >= 0
        event, key = found.event[known], self._subjects.ids.keys[found.subject[known]]
        clock = topic_ranks(key) << 1
        flow = self._ids.find(model_ids(key) << FLOW_BITS | clock)
        return Counted(event, flow, clock, found.predicted_ms[known])

    def _alarm(self, alarm: FlowAlarm) -> Alarm:
        key, versions = self._ids.key_of(alarm.flow), self._names.versions.names
        kind = AlertKind.SILENT if alarm.is_silence else AlertKind.EVENT_RATE
        facts = {
            "model_id": self._names.models.names[key >> FLOW_BITS],
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
            "model_id": self._names.models.names[key >> FLOW_BITS],
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
