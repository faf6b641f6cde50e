"""One class and one line in `MONITORS` make a new kind of watching: alerts, state, restarts, evictions, pages."""

import json

import numpy as np
import pytest
from monitor_kit import alone, fold_with, stream
from world_kit import bytes_of, kept_models, owner, records

from detectors.arrays.growth import ensure_length
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.inspect import columns_of
from streamer.detect.monitor import ColumnStatus, Monitor, MonitorFindings
from streamer.detect.monitors.table import MONITORS, detectors_of, reset_by
from streamer.detect.remap import compact
from streamer.runtime.snapshot import Snapshot

STREAM = list(stream(1))
HALF = len(STREAM) // 2
EVERY = 100


class Milestones(Monitor):
    """Alarms with every hundredth event of a subject."""

    keys = ("milestones",)

    def __init__(self, context):
        self._subjects = context.subjects
        self._events = np.zeros(0, np.int64)

    @classmethod
    def create(cls, context):
        return cls(context)

    @classmethod
    def detectors(cls, settings):  # noqa: ARG003
        return ("milestones",)

    @classmethod
    def depends_on(cls, settings):
        return {"milestones": settings.min_events_after_onset}

    def observe(self, batch):
        self._events = ensure_length(self._events, int(batch.subject.max(initial=-1)) + 1, 0)
        counted = batch.subject[batch.subject >= 0]
        event = np.nonzero(batch.subject >= 0)[0]
        alarms = []
        for subject, at in zip(counted.tolist(), event.tolist(), strict=True):
            self._events[subject] += 1
            if self._events[subject] % EVERY == 0:
                alarms.append(self._alarm(subject, at))
        return MonitorFindings(alarms)

    def describe(self, subjects):
        for subject in subjects:
            yield ColumnStatus(
                subject, "(milestones)", ("milestones",), kind="events", values=int(self._events[subject])
            )

    def dump(self):
        return {"milestones/events": self._events[: len(self._subjects.ids)]}

    def load(self, arrays, *, reset, owned):  # noqa: ARG002
        if "milestones" not in reset:
            self._events = arrays["milestones/events"].copy()

    @staticmethod
    def remap(arrays, remaps):
        return {"milestones/events": compact(arrays["milestones/events"], remaps.subjects)}

    def _alarm(self, subject, event):
        model, version, _ = self._subjects.name_of(subject, 0)
        n = int(self._events[subject])
        facts = {
            "model_id": model, "model_version": version, "column": "(milestones)", "detector": "milestones",
            "statistic": n, "threshold": n, "effect": 1.0, "effect_unit": "events", "before": 0.0, "after": n,
            "n_reference": 0, "n_current": n, "kind": AlertKind.EVENT_RATE,
        }  # fmt: skip
        topic = self._subjects.topic_of(subject)
        return Alarm(event, (subject, "milestones"), subject, topic, n - 1, facts, becomes_ready=False)


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    """The line in the table."""
    alone(monkeypatch, *MONITORS, Milestones)


def milestones(outputs):
    found = [json.loads(value) for topic, _, value in bytes_of(outputs) if topic == "driftline.alerts"]
    return [alert for alert in found if alert["detector"] == "milestones"]


def test_its_alarms_come_out_as_alerts(conforms):
    """At the very events, of models and of segments, counted as alarms, beside those of all others."""
    one = fold_with()
    alerts = milestones(one.step(records(STREAM)))
    assert {alert["n_current"] for alert in alerts if alert["model_id"] == "m0"} >= {100, 200, 300}
    assert {alert.get("segment", "") for alert in alerts} == {"", "depot=north", "depot=south"}
    assert one.tally["alarms", "milestones"] == len(alerts)
    assert one.tally["alarms", "adwin"] > 0
    for alert in alerts[:3]:
        conforms("alert.v1", json.dumps(alert).encode())


def test_its_name_is_expected_in_metrics_and_its_rows_stand_in_columns():
    """Whoever walks the table finds it."""
    one = fold_with()
    one.step(records(STREAM))
    assert detectors_of(one.settings)[-1] == "milestones"
    (row,) = (column for column in columns_of("u", one, "m2") if column.column == "(milestones)")
    events = [event for _, (topic, event) in STREAM if topic == "p" and owner(event) == "m2"]
    assert (row.kind, row.values, row.detectors) == ("events", len(events), ("milestones",))


def test_its_state_is_dumped_and_loaded():
    """A restart in the middle changes nothing."""
    whole, one = fold_with(), fold_with()
    expected, found = milestones(whole.step(records(STREAM))), milestones(one.step(records(STREAM[:HALF])))
    two = fold_with()
    two.load(Snapshot.from_bytes(one.dump().to_bytes()))
    assert found + milestones(two.step(records(STREAM[HALF:]))) == expected
    assert np.array_equal(two.dump().arrays["milestones/events"], whole.dump().arrays["milestones/events"])


def test_its_state_is_remapped():
    """What is evicted leaves no trace, and who survives is counted on."""
    forgetful, never = fold_with(), fold_with()
    before, after = ([one for one in part if owner(one[1][1]) != "m0"] for part in (STREAM[:HALF], STREAM[HALF:]))
    forgetful.step(records(STREAM[:HALF]))
    forgetful._evict(kept_models(forgetful, {"m0"}))
    never.step(records(before))
    assert np.array_equal(forgetful.dump().arrays["milestones/events"], never.dump().arrays["milestones/events"])
    assert milestones(forgetful.step(records(after))) == milestones(never.step(records(after))) != []


def test_its_state_is_reset_by_its_settings():
    """By what it depends on, and by nothing else."""
    before, after = fold_with(), fold_with(min_events_after_onset=77)
    before.step(records(STREAM))
    assert reset_by(before.settings, after.settings) == ["milestones"]
    after.load(before.dump(), ["milestones"])
    assert not after.dump().arrays["milestones/events"].any()
