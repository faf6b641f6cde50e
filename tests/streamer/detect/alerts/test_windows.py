"""What to train on: the windows of an alert that is ready hold its events, their labels and their sources."""

import json

import numpy as np
import pytest
from fold_kit import START_MS, fold
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.series.offsets import EVERY, Offsets, PartnerRange, PartnerRanges
from retrain.policy.source_settings import SourceSettings
from streamer.detect.fold import DetectFold
from streamer.eventlog.base import Records

SHIFT = 600  # the event of m0, and of the source, from which on everything is other
MODELS = ("m0", "m1", "m2")
TOPIC_OF = {"source": "sources", "label": "labels"}


class Simulation:
    """Predictions of three models in a random order, labels some events later, a source; m0 and its errors shift."""

    def __init__(self, seed, events=2700, lag=40):
        rng = np.random.default_rng(seed)
        self.rows = {"predictions": [], "labels": [], "sources": []}  # topic -> (time, event)
        counts = dict.fromkeys(MODELS, 0)
        for i in range(events):
            model = MODELS[rng.integers(3)]
            number, counts[model] = counts[model], counts[model] + 1
            x = float(rng.normal() + 4 * (model == "m0" and number >= SHIFT))
            at = START_MS + 1000 * i
            whose = {"model_id": model, "prediction_id": f"{model}-{number}"}
            self.add("predictions", at, whose | {"features": {"x": x}, "prediction": x, "number": number})
            if rng.random() < 0.9:
                wrong = float(rng.normal() + 9 * (model == "m0" and number >= SHIFT))
                at_label = at + 1000 * int(rng.integers(-3, lag))
                self.add("labels", max(at_label, START_MS), whose | {"label": x + wrong, "number": number})
            if i % 5 == 0:
                self.add("sources", at, {"source": "weather", "features": {"t": float(rng.normal())}})
        for rows in self.rows.values():
            rows.sort(key=lambda row: row[0])

    def add(self, topic, at, event):
        self.rows[topic].append((at, event | {"event_time": at}))

    def fold(self, cuts=(), **changes):
        """The alerts of m0 that are ready; the log is cut at these times, and the fold restored there."""
        settings = {"min_events_after_onset": 50, "history_events": 60} | changes
        now, outputs = fold(sources={"weather": SourceSettings(["m0"])}, **settings), []
        ends = [START_MS + 1000 * cut for cut in sorted(cuts)] + [1 << 60]
        start = -1
        for end in ends:
            outputs += now.step([self.records(topic, start, end) for topic in self.rows])
            start, before = end, now
            now = DetectFold(before.settings)
            now.load(before.dump())
        alerts = [json.loads(output.value) for output in outputs if output.topic == "driftline.alerts"]
        return [one for one in alerts if one["model_id"] == "m0" and one["state"] == "ready"]

    def records(self, topic, start, end):
        rows = [
            (offset, at, b"k", json.dumps(event).encode(), ())
            for offset, (at, event) in enumerate(self.rows[topic])
            if start <= at < end
        ]
        return Records.build(topic, 3, rows)

    def within(self, window, topic, model="m0"):
        """The events of a model in a window."""
        rows = self.rows[topic][window["start_offset"] : window["end_offset"]]
        return [event for _, event in rows if event.get("model_id") == model]


@pytest.mark.parametrize("seed", range(2))
def test_windows_hold_the_events_that_they_count(seed):
    """Events are exact: never fewer than the rule asks for, all since the onset, and few of before it."""
    simulation = Simulation(seed)
    alerts = simulation.fold()
    assert {one["column"] for one in alerts} >= {"x", "error"}
    for alert in alerts:
        window = alert["windows"][0]
        numbers = [event["number"] for event in simulation.within(window, "predictions")]
        assert (window["role"], window["topic"], window["partition"]) == ("predictions", "predictions", 3)
        assert len(numbers) == window["events"] >= 51
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert window["start_offset"] <= alert["onset"]["offset"] < window["end_offset"]
        assert len(numbers) <= 51 + EVERY + alert["events_after_onset"]


@pytest.mark.parametrize("seed", range(2))
def test_windows_hold_the_labels_that_joined(seed):
    """Every label of a prediction in the window that came before the alert was ready lies in the window of labels."""
    simulation = Simulation(seed)
    for alert in simulation.fold():
        predictions, labels = alert["windows"][:2]
        assert (labels["role"], labels["topic"]) == ("labels", "labels")
        wanted = {event["number"] for event in simulation.within(predictions, "predictions")}
        ready_ms = simulation.rows["predictions"][predictions["end_offset"] - 1][0]
        fits = [
            offset
            for offset, (at, event) in enumerate(simulation.rows["labels"])
            if event["model_id"] == "m0" and event["number"] in wanted and at < ready_ms
        ]
        assert labels["start_offset"] <= fits[0]
        assert fits[-1] < labels["end_offset"]
        assert labels["end_offset"] - labels["start_offset"] < 3 * len(fits) + 300


def test_the_history_ends_where_the_window_begins():
    """It holds as many events as are asked for, or up to one mark's distance more; none if none are wanted."""
    simulation = Simulation(1)
    for alert in simulation.fold():
        (window, history) = alert["windows"][0], alert["history"][0]
        assert history["end_offset"] == window["start_offset"]
        assert len(simulation.within(history, "predictions")) == history["events"]
        assert 60 <= history["events"] <= 60 + 4 * EVERY
        assert [one["role"] for one in alert["history"]] == ["predictions", "labels", "source"]
    assert all("history" not in alert for alert in simulation.fold(history_events=0))


def test_windows_hold_the_sources_of_the_model():
    """The events of its source from the one that held when the window begins to the last one before it ends."""
    simulation = Simulation(2)
    for alert in simulation.fold():
        predictions, source = alert["windows"][0], alert["windows"][-1]
        assert (source["role"], source["topic"]) == ("source", "sources")
        times = [at for at, _ in simulation.rows["sources"]]
        first_ms, last_ms = (
            simulation.rows["predictions"][offset][0]
            for offset in (predictions["start_offset"], predictions["end_offset"] - 1)
        )
        assert times[source["start_offset"]] <= first_ms
        assert times[source["end_offset"] - 1] <= last_ms <= times[source["end_offset"] - 1] + 5000
        assert source["events"] == source["end_offset"] - source["start_offset"]


@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(1, 2699), max_size=6))
def test_windows_are_the_same_however_the_log_is_cut(cuts):
    """Windows do not depend on how the log is read, nor on restarts."""
    simulation = Simulation(3)
    assert simulation.fold(cuts) == simulation.fold()


def test_a_floor_is_exact():
    """The floor of an event is a recorded event that is not after it, near the event, with its true offset and time."""
    rng = np.random.default_rng(1)
    offsets, times = np.cumsum(rng.integers(1, 50, 5000)), np.cumsum(rng.integers(1, 900, 5000))
    marks = Offsets()
    marks.record(np.zeros(5000, np.int64), marks.count(np.zeros(5000, np.int64)), offsets, times)
    for number in [0, 1, 15, 16, *range(4000, 5000, 37), 4999, 6000]:
        floor, age = marks.floor(0, number), 4999 - number
        assert (offsets[floor.number], times[floor.number]) == (floor.offset, floor.event_time_ms)
        assert max(0, min(number, 4999) - max(EVERY, age / 8)) <= floor.number <= number
        by_time = marks.floor_time(0, int(times[min(number, 4999)]))
        assert by_time.event_time_ms <= times[min(number, 4999)]
        assert by_time.number >= floor.number


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), spread=st.integers(1, 3000))
def test_ranges_cover_all_partners(seed, spread):
    """A range covers the partners of its events, and none of events twice as old; dumped and loaded it is the same."""
    rng = np.random.default_rng(seed)
    numbers = np.argsort(np.arange(4000) + rng.uniform(0, spread, 4000), kind="stable")
    ranges = PartnerRanges(10)
    zeros = np.zeros(len(numbers), np.int64)
    ranges.record(zeros, zeros + 2, numbers, np.arange(4000) * 3, np.arange(4000) * 7)
    again = PartnerRanges(10)
    again.load(ranges.dump())
    first = int(rng.integers(4000))
    for last in (first, min(first + 100, 3999), 3999):
        found = again.find(0, 2, first, last)
        assert found == ranges.find(0, 2, first, last)
        mine = np.flatnonzero((numbers >= first) & (numbers <= last)) * 3
        assert found.first <= mine[0]
        assert mine[-1] <= found.last
        early = np.flatnonzero(numbers >= first - 2 * max(EVERY, 4000 - first)) * 3
        assert found.first >= early[0]
    assert ranges.find(0, 1, 0, 4000) is None
    assert ranges.find(1, 2, 0, 4000) is None


def test_ranges_of_evicted_subjects_go():
    """Others keep theirs under their new ids."""
    ranges = PartnerRanges(10)
    one = np.ones(1, np.int64)
    for subject in range(3):
        ranges.record(one * subject, one, one * 5, one * (100 + subject), one)
    dumped = PartnerRanges.remap(ranges.dump(), np.array([True, False, True]), np.array([0, -1, 1]))
    left = PartnerRanges(10)
    left.load(dumped)
    assert left.find(1, 1, 0, 9) == PartnerRange(102, 102, 1, 1)
    assert left.find(2, 1, 0, 9) is None
