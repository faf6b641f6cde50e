"""Models, sources and labels whose events stop coming, or come at another rate: events to flows, alarms to alerts.

What comes of a model on a topic is one flow, whatever its version, as a new version taking over is no silence; labels
that come as events of their own are another, and so is each source. All are judged by what else comes on the same
topic, labels by labels and the rest by the rest, as labels often come together; see `detectors/flows.py`. So a topic on
which nothing comes any more says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.flow_kernels import Events
from detectors.flows import FlowAlarm, Flows, FlowSettings
from detectors.ids import IdTable
from detectors.marks import Mark
from retrain.alert import AlertKind
from streamer.alerting import Alarm
from streamer.events import EventBatch, Kind, Names, NameTable
from streamer.snapshot import nested, unnested

I64 = NDArray[np.int64]

FLOW: Final = "flow"  # the detector
EVENTS_COLUMN, LABELS_COLUMN = "(events)", "(labels)"  # what alerts have as their column
RANK_BITS: Final = 8
PER_MODEL: Final = 8  # flows that there is room for, for each model


class FlowWatch:
    """The flows of a fold unit, by name."""

    def __init__(self, settings: FlowSettings, names: Names, topics: NameTable) -> None:
        self._flows = Flows(settings)
        self._names = names
        self._topics = topics
        self._ids = IdTable(PER_MODEL * names.models.limit)
        self._is_on = settings.watch

    def alarms(self, batch: EventBatch, rank: I64, tally: Counter[tuple[str, ...]]) -> list[Alarm]:
        """The alarms of a batch whose events come from the topics of these ranks, in the order of events."""
        if not self._is_on or not len(batch):
            return []
        is_label = (batch.kind & (Kind.PREDICTION | Kind.SOURCE)) == 0
        clock = rank << 1 | is_label
        key = batch.model.astype(np.int64) << (RANK_BITS + 1) | clock
        events = Events(self._ids.lookup(key), clock, batch.event_time_ms, batch.offset, batch.version)
        found = self._flows.fold(events, len(self._ids))
        tally["alarms", FLOW] += len(found)
        return [self._alarm(one) for one in found]

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        return {"keys": self._ids.keys} | nested("flows", self._flows.dump())

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what was dumped; nothing of it, while flows are not watched."""
        if self._is_on:
            self._ids.load(arrays["keys"])
            self._flows.load(unnested("flows", arrays))

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
        began = Mark(0, alarm.began_offset, alarm.began_ms)
        topic = self._topics.names[key >> 1 & 0xFF]
        return Alarm(alarm.event, (alarm.flow, FLOW), -1, topic, 0, facts, becomes_ready=False, began=began)
