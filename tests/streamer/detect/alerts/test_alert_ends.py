"""How an alert ends: whichever detector raised it, and however the stream is cut and the fold restored."""

import json

import numpy as np
import pytest
from alert_kit import alerts_of

from detectors.reference import Reference
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

NUMBERS = ("adwin", "ks_window", "shiryaev_roberts")
PART_OF_THE_WAY = [0.0] * 3000 + [3.0] * 2000 + [1.0] * 2000 + [2.6] * 1500 + [0.0] * 3000
THERE_AND_BACK = [0.0] * 3000 + [2.0] * 1500 + [0.0] * 2500 + [-2.0] * 1500


def fold(*detectors, references=None, enough=500):
    chosen = {name: settings_of(name) for name in detectors}
    codecs = {"p": JsonCodec(JsonSettings())}
    return DetectFold(DetectSettings(codecs, chosen, enough, references=references or References({})))


def events(levels, model="m", version=""):
    """One event a level, whose feature is that far off; the category follows it."""
    random, rows = np.random.default_rng(1), []
    for i, level in enumerate(levels):
        features = {"x": float(random.normal(level)), "way": "ab"[int(random.random() < 0.2 + 0.6 * (level > 0))]}
        event = {"model_id": model, "event_time": 1_782_889_200_000 + 60_000 * i, "features": features}
        rows.append((i, -1, None, json.dumps(event | {"model_version": version}).encode(), ()))
    return rows


def story(levels, *detectors, **more):
    """What is published of each alert in turn: number of the alert, state, and why it is over."""
    alerts = alerts_of(fold(*detectors, **more).step([Records.build("p", 0, events(levels))]))
    number = {alert_id: i for i, alert_id in enumerate(dict.fromkeys(alert["alert_id"] for alert in alerts))}
    return [(number[a["alert_id"]], a["resolution"] or a["state"]) for a in alerts]


@pytest.mark.parametrize("detector", NUMBERS)
def test_a_column_that_drifts_and_comes_back(detector, conforms):
    """One alert that ends, with no alert for the recovery; and another for the drift that comes later."""
    assert story(THERE_AND_BACK, detector) == [
        (0, "firing"), (0, "ready"), (0, "back_to_normal"), (1, "firing"), (1, "ready"),
    ]  # fmt: skip
    outputs = fold(detector).step([Records.build("p", 0, events(THERE_AND_BACK))])
    over = conforms("alert.v1", outputs[2].value)
    assert 4500 < over["resolved_at"]["offset"] < 5800
    assert over["ready_at"] is not None
    assert over["distance"] < over["distance_max"] / 2


def test_categories_come_back():
    """Shares of categories, too."""
    assert story(THERE_AND_BACK, "category_window") == [(0, "firing"), (0, "ready"), (0, "back_to_normal")]


def test_back_before_it_was_ready():
    """What is over before there was enough to retrain on is never ready."""
    levels = [0.0] * 3000 + [3.0] * 100 + [0.0] * 3000
    one = fold("adwin", enough=5000)
    assert [a["state"] for a in alerts_of(one.step([Records.build("p", 0, events(levels))]))] == ["firing", "resolved"]
    assert one.alerts.dump() == {"waiting": [], "live": []}


def test_a_different_drift_is_another_alert():
    """Past the baseline, to the other side: the first alert is superseded; the second ends when all is as before."""
    assert story([0.0] * 3000 + [1.5] * 2000 + [-2.0] * 2000 + [0.0] * 3000, "adwin") == [
        (0, "firing"), (0, "ready"), (1, "firing"), (0, "superseded"), (1, "ready"), (1, "back_to_normal"),
    ]  # fmt: skip


@pytest.mark.parametrize("detector", ["adwin", "shiryaev_roberts"])
def test_part_of_the_way_back_is_another_drift(detector, conforms):
    """What seems to go back, but stops short of it, is another alert once a whole window has shown that it does."""
    assert story(PART_OF_THE_WAY, detector) == [
        (0, "firing"), (0, "ready"), (1, "firing"), (0, "superseded"), (1, "ready"),
        (2, "firing"), (1, "superseded"), (2, "ready"), (2, "back_to_normal"),
    ]  # fmt: skip
    outputs = fold(detector).step([Records.build("p", 0, events(PART_OF_THE_WAY))])
    second = conforms("alert.v1", outputs[2].value)
    assert 4950 < second["onset"]["offset"] < 5020 < second["at"]["offset"] < 5400
    assert second["before"] == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize("detector", NUMBERS)
def test_a_gradual_drift_is_one_alert(detector):
    """However many alarms it raises on its way."""
    assert story([0.0] * 3000 + list(np.linspace(0, 4, 6000)) + [4.0] * 1000, detector) == [(0, "firing"), (0, "ready")]


@pytest.mark.parametrize("detector", NUMBERS)
def test_a_column_that_flaps_raises_fewer_alerts_each_time(detector):
    """Fifty ways there and fifty back are a handful of alerts, each of which must last longer to end."""
    alerts = story([0.0] * 3000 + ([2.0] * 800 + [0.0] * 800) * 25, detector)
    assert 2 <= alerts[-1][0] + 1 <= 10


def test_with_training_data_the_way_back_is_to_them():
    """They are what was before, also for a column that was never like them until now."""
    trained = References({("m", "", "x"): Reference.of(np.random.default_rng(0).normal(size=5000), 500)})
    assert story([2.0] * 2000 + [0.0] * 2000, "ks_window", references=trained) == [
        (0, "firing"), (0, "ready"), (0, "back_to_normal"),
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [THERE_AND_BACK, PART_OF_THE_WAY])
@pytest.mark.parametrize("cuts", [(3050, 3300, 3501, 4700, 4701, 5000, 5100, 7020), tuple(range(257, 8500, 257))])
def test_cuts_and_restores_change_nothing(cuts, levels):
    """The same alerts and the same state, with a snapshot taken and restored at each cut."""
    rows, detectors = events(levels), ("adwin", "ks_window", "category_window")
    whole, cut, alerts, start = fold(*detectors), fold(*detectors), [], 0
    expected = alerts_of(whole.step([Records.build("p", 0, rows)]))
    for end in (*cuts, len(rows)):
        alerts += alerts_of(cut.step([Records.build("p", 0, rows[start:end])]))
        snapshot = Snapshot.from_bytes(cut.dump().to_bytes())
        cut, start = fold(*detectors), end
        cut.load(snapshot)
    assert alerts == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()
