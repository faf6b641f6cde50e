"""The numbers of an alert are those of the values before and after its onset, whatever detector raised it."""

import json

import numpy as np
import pytest
from alert_kit import alerts_of
from fold_kit import START_MS, fold, prediction, records

from detectors.registry import settings_of
from retrain.engine.engine import Engine
from retrain.messages.action import PublishRequest
from retrain.policy.settings import RetrainSettings
from streamer.contracts.alert_reader import read_alert

SHIRYAEV = {"shiryaev_roberts": settings_of("shiryaev_roberts")}
BOTH = SHIRYAEV | {"adwin": settings_of("adwin")}


def jumped(seed, by, at=700, n=1400):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, n) + by * (np.arange(n) >= at)


def of_x(outputs):
    return [alert for alert in alerts_of(outputs) if alert["column"] == "x"]


def alerts_for(values, model="m0", size=500, **changes):
    """The alerts on `x` of a model with these values, one event each."""
    one = fold(min_events_after_onset=500, **changes)
    given = [prediction(model, i, float(x), prediction=0.0) for i, x in enumerate(values)]
    return [
        alert for i in range(0, len(given), size) for alert in of_x(one.step([records("t", given[i : i + size], i)]))
    ]


@pytest.mark.parametrize("seed", range(12))
def test_a_jump_of_eight_standard_deviations(seed):
    """The alert names the new location at once, the effect, and the first value of the new regime."""
    firing, ready = alerts_for(jumped(seed, 8.0), detectors=SHIRYAEV, codecs=codecs())[:2]
    assert (firing["state"], ready["state"]) == ("firing", "ready")
    assert abs(firing["onset"]["offset"] - 700) <= 1
    assert firing["after"] == pytest.approx(8.0, abs=3 / np.sqrt(firing["n_current"]) + 0.4)
    assert firing["effect"] > 0.9
    assert ready["after"] == pytest.approx(8.0, abs=0.2)
    assert ready["before"] == pytest.approx(0.0, abs=0.6)
    assert ready["n_current"] >= 499
    assert ready["summary"].startswith("x moved by ")


def test_the_request_names_what_all_values_show():
    """Errors whose median grows from 5.4 to 30: the request says so, though the alarm came with a few of them."""
    rng = np.random.default_rng(3)
    scale = np.where(np.arange(1500) < 800, 5.4, 30.0) / np.log(2)
    errors = rng.exponential(scale)
    one = fold(detectors=SHIRYAEV, min_events_after_onset=500)
    outputs = []
    for i in range(0, 1500, 100):
        given = [prediction("m0", j, 0.0, prediction=0.0) for j in range(i, i + 100)]
        label = {"model_id": "m0", "event_time": START_MS + 1000 * i}
        labels = [
            json.dumps(label | {"prediction_id": f"m0-{j}", "label": float(errors[j])}).encode()
            for j in range(i, i + 100)
        ]
        outputs += one.step([records("predictions", given, i), records("labels", labels, i)])
    engine, requests = Engine(RetrainSettings()), []
    for output in outputs:
        if output.topic == "driftline.alerts":
            actions = engine.handle(read_alert(output.value))
            requests += [action.request for action in actions if isinstance(action, PublishRequest)]
    (shift,) = [shift for shift in requests[0].evidence if shift.column == "error"]
    assert shift.before == pytest.approx(5.4, rel=0.4)
    assert shift.after == pytest.approx(30.0, rel=0.15)
    assert shift.n_current >= 450
    assert shift.distribution.n_after == shift.n_current
    assert requests[0].summary == shift.summary
    assert "times as large" in shift.summary


def codecs():
    return {"t": fold().settings.codecs["predictions"]}


@pytest.mark.parametrize("size", [1, 64, 900])
def test_cuts_and_restores_change_no_evidence(size):
    """Alerts are the same in any cut of the stream, and by a fold that is restored after each piece."""
    given = [prediction("m0", i, float(x)) for i, x in enumerate(jumped(5, 2.0))]
    whole = of_x(fold(detectors=BOTH, min_events_after_onset=300).step([records("predictions", given)]))
    one, found = fold(detectors=BOTH, min_events_after_onset=300), []
    for i in range(0, len(given), size):
        found += of_x(one.step([records("predictions", given[i : i + size], i)]))
        if size > 1 or i % 200 == 0:
            restored = fold(detectors=BOTH, min_events_after_onset=300)
            restored.load(one.dump())
            one = restored
    assert {alert["state"] for alert in whole} >= {"firing", "ready"}
    assert found == whole


def test_the_window_holds_enough_events():
    """However often the onset is estimated, the window of a ready alert holds as many events as were asked for."""
    windows = []
    for seed in range(8):
        alerts = alerts_for(jumped(seed, 0.8), detectors=BOTH, codecs=codecs())
        windows += [a["ready_at"]["offset"] - a["onset"]["offset"] for a in alerts if a["state"] == "ready"]
    assert len(windows) >= 4
    assert min(windows) >= 500


def test_a_new_category():
    """The shares are those of the category that the detector names, and the distribution lists all of them."""
    rng = np.random.default_rng(1)
    one = fold(detectors={"category_window": settings_of("category_window")}, min_events_after_onset=500)
    names = [("sun", "rain", "2")[k] for k in rng.choice(3, 1300, p=[0.6, 0.3, 0.1])]
    names[600:] = ["hail" if rng.random() < 0.4 else name for name in names[600:]]
    given = [prediction("m0", i, 0.0, features={"weather": name}) for i, name in enumerate(names)]
    alerts = alerts_of(one.step([records("predictions", given)]))
    (ready,) = [alert for alert in alerts if alert["state"] == "ready" and alert["column"] == "weather"]
    end = ready["ready_at"]["offset"] + 1
    true = np.mean([name == "hail" for name in names[end - ready["n_current"] : end]])
    assert ready["n_current"] >= 32
    assert ready["category"] == "(unseen)"
    assert ready["summary"] == f"weather has new categories in {100 * true:.0f} % of the values."
    assert (ready["before"], ready["after"]) == (0.0, pytest.approx(true, rel=1e-6))
    assert set(ready["distribution"]["categories"]) == {"sun", "rain", "2", "hail"}


def test_an_onset_that_the_values_contradict():
    """A detector's onset hundreds of values ago gives way where the latest values are plainly those of before."""
    late = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        names = [("sun", "rain", "fog")[k] for k in rng.choice(3, 2000, p=[0.5, 0.3, 0.2])]
        names[1600:] = ["hail" if rng.random() < 0.7 else name for name in names[1600:]]
        one = fold(detectors={"category_rates": settings_of("category_rates")}, min_events_after_onset=300)
        given = [prediction("m0", i, 0.0, features={"weather": name}) for i, name in enumerate(names)]
        alerts = [a for a in alerts_of(one.step([records("predictions", given)])) if a["column"] == "weather"]
        (ready,) = [alert for alert in alerts if alert["state"] == "ready"][:1]
        late.append(ready["onset"]["offset"] - 1600)
        assert ready["after"] == pytest.approx(0.7, abs=0.08)
    assert np.abs(late).max() <= 12
