"""What is wrong with the data is an alert of its own kind, one for each change, and never a retrain request."""

import json

import numpy as np
import pytest
from alert_kit import alerts_of

from detectors.reference import CategoryReference, Reference
from detectors.registry import settings_of
from streamer.app import replay as app
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

N, CHANGE = 3000, 1500
TRAINED = References(
    {
        ("m", "", "x"): Reference.of(np.random.default_rng(0).normal(size=5000), 500),
        ("m", "", "weather"): CategoryReference.of({"sun": 3000, "rain": 1990, "hail": 10}),
    }
)


def fold(detectors=("rate",), references=TRAINED):
    codec = JsonCodec(JsonSettings())
    return DetectFold(
        DetectSettings({"p": codec}, {name: settings_of(name) for name in detectors}, references=references)
    )


def stretch(change, model="m"):
    random = np.random.default_rng(1)
    rows = []
    for i in range(N):
        features = {"x": float(np.clip(random.normal(), -3, 3)), "weather": ("sun", "rain")[i % 2]}
        event = {"model_id": model, "event_time": 1_782_889_200_000 + 60_000 * i, "features": features}
        if i >= CHANGE and random.random() < 0.3:
            change(features)
        rows.append((i, -1, None, json.dumps(event).encode(), ()))
    return Records.build("p", 0, rows)


CHANGES = {
    "missing": ("x", lambda f: f.update(x=None), 0.3),
    "type_fault": ("x", lambda f: f.update(x="n/a"), 0.3),
    "out_of_range": ("x", lambda f: f.update(x=9.0), 0.3),
    "unseen": ("weather", lambda f: f.update(weather="snow"), 0.3),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_is_one_alert_with_its_rates(kind, conforms):
    """It names the column, the kind, the rates before and after and the onset; and is not followed by `ready`."""
    column, change, rate = CHANGES[kind]
    (alert,) = alerts_of(fold().step([stretch(change)]))
    conforms("alert.v1", json.dumps(alert).encode())
    assert (alert["kind"], alert["column"], alert["detector"], alert["state"]) == (kind, column, "rate", "firing")
    assert abs(alert["onset"]["offset"] - CHANGE) < 30
    assert CHANGE <= alert["at"]["offset"] < CHANGE + 100
    assert 0.6 * rate < alert["after"] < 2.5 * rate  # an early alarm has seen more of them than there are
    assert alert["before"] < 0.01
    assert alert["reference_digest"] == TRAINED.by_series["m", "", column].digest


def test_clean_data_raise_nothing_and_take_no_row():
    """Nothing is wrong, so there is no alert, and the bank is empty."""
    watching = fold()
    assert alerts_of(watching.step([stretch(lambda _: None)])) == []
    assert len(watching.dump().arrays["quality/keys"]) == 0


def test_ranges_and_categories_need_training_data():
    """Without a reference there is no range to be out of."""
    for kind in ("out_of_range", "unseen"):
        assert alerts_of(fold(references=References()).step([stretch(CHANGES[kind][1])])) == []


def test_values_beyond_training_from_the_start_are_an_alert_at_once():
    """What is out of range is known from training, and not from the first values."""
    rows = [(i, -1, None, b'{"model_id": "m", "event_time": %d, "features": {"x": 50}}' % i, ()) for i in range(30)]
    (alert,) = alerts_of(fold().step([Records.build("p", 0, rows)]))
    assert (alert["kind"], alert["n_reference"]) == ("out_of_range", 5000)


@pytest.mark.parametrize("cut", [1, 1501, 1540, 2000])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_restart_changes_nothing(kind, cut):
    """Restored from a snapshot anywhere, the fold publishes the same and becomes the same."""
    records = stretch(CHANGES[kind][1])
    whole, first, second = fold(), fold(), fold()
    expected = whole.step([records])
    begun = first.step([records.part(0, cut)])
    second.load(Snapshot.from_bytes(first.dump().to_bytes()))
    assert begun + second.step([records.part(cut, len(records))]) == expected
    assert second.dump().to_bytes() == whole.dump().to_bytes()


def test_a_detector_that_begins_late_learns_what_is_usual_first():
    """Faults that were there before anybody counted raise no alert when counting begins."""
    usual = stretch(lambda _: None).part(0, CHANGE)
    bad = stretch(CHANGES["missing"][1]).part(CHANGE, N)
    before, after = (fold(detectors, References()) for detectors in (("adwin",), ("adwin", "rate")))
    before.step([usual, bad.part(0, 700)])
    after.load(before.dump(), ["rate"])
    assert [a for a in alerts_of(after.step([bad.part(700, len(bad))])) if a["detector"] == "rate"] == []


def nulls(*parts, run=1, n_missing=3000):
    """Alerts on a column that was null in 30 of 100 rows of training, and is now in these shares of so many events,
    in runs of so many.
    """
    random = np.random.default_rng(5)
    rows = []
    for n, share in parts:
        is_null = np.repeat(random.random(n // run) < share, run)
        rows += [
            b'{"model_id": "m", "event_time": 1782889200, "features": {"x": %s}}' % x
            for x in np.where(is_null, b"null", b"1")
        ]
    values = np.concatenate([np.ones(7000), np.full(n_missing, np.nan)])
    trained = References({("m", "", "x"): Reference.of(values, 500)})
    records = Records.build("p", 0, [(i, -1, None, row, ()) for i, row in enumerate(rows)])
    return trained, alerts_of(fold(references=trained).step([records]))


@pytest.mark.parametrize("run", [1, 20])
def test_nulls_as_in_training_raise_no_alert_and_more_of_them_do(run):
    """30 of 100 were null when the model was trained: so they may stay, in runs too, and 60 of 100 are one alert."""
    assert nulls((12_000, 0.3), run=run)[1] == []
    trained, (alert,) = nulls((6000, 0.3), (6000, 0.6), run=run)
    assert (alert["kind"], alert["before"], alert["n_reference"]) == ("missing", 0.3, 10_000)
    assert 6000 < alert["at"]["offset"] < (6300 if run == 1 else 12_000)  # runs are less evidence than their ones
    assert alert["reference_digest"] == trained.of("m", "", "x").digest


def test_more_nulls_than_in_training_from_the_start_are_an_alert():
    """Once it is known in which runs they come; where training had none, at once."""
    _, (alert,) = nulls((3000, 0.6))
    assert 1000 <= alert["at"]["offset"] < 1200
    _, (alert,) = nulls((3000, 0.3), n_missing=0)
    assert alert["at"]["offset"] < 100


def test_no_retrain_is_asked_for_because_of_a_fault(tmp_path):
    """An incident is opened, and no request made: retraining on broken data would not help."""
    records = stretch(CHANGES["missing"][1])
    (tmp_path / "p.jsonl").write_bytes(b"\n".join(records.value_of(i) or b"" for i in range(len(records))))
    outputs = []
    config = Config(detectors={"rate": settings_of("rate")})
    summary = app.replay(config, [str(tmp_path / "p.jsonl")], "p", outputs.append, lambda *_: None)
    assert (summary.alerts, summary.incidents, summary.requests) == (1, 1, 0)
