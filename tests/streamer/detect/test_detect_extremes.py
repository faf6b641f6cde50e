"""The detect fold at the edges: full tables, impossible numbers, far times, epochs of one kind, cuts of any size."""

import json
from dataclasses import replace

import numpy as np
import pytest
from alert_kit import alerts_of
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.registry import settings_of
from retrain.messages.alert import Alert
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.contracts.alert_reader import read_alert
from streamer.detect import fold as detect_fold
from streamer.detect.fold import DetectFold
from streamer.detect.settings import TOPICS_MAX, DetectSettings, Limits
from streamer.errors import UsageError
from streamer.eventlog.base import Records

DETECTORS = {
    "adwin": settings_of("adwin", delta=0.01),
    "ks_window": settings_of("ks_window", window=40, reference_size=40, alpha=1e-4),
}
START_MS = 1_782_889_200_000
END_MS = 253_402_300_799_999  # the last millisecond of the year 9999


def fold(topics=("predictions", "labels"), **changes):
    codecs = dict.fromkeys(topics, JsonCodec(JsonSettings()))
    return DetectFold(
        DetectSettings(**{"codecs": codecs, "detectors": DETECTORS, "min_events_after_onset": 50} | changes)
    )


def records(topic, events, first=0, timestamps_ms=None):
    values = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    times = timestamps_ms or [-1] * len(values)
    rows = [(first + i, times[i], None, value, ()) for i, value in enumerate(values)]
    return Records.build(topic, 0, rows)


def prediction(i, x, model="m", **more):
    return {
        "model_id": model,
        "event_time": START_MS + 1000 * i,
        "prediction_id": f"{model}-{i}",
        "prediction": x,
    } | more


def label(i, x, model="m"):
    return {"model_id": model, "event_time": START_MS + 1000 * i, "prediction_id": f"{model}-{i}", "label": x}


def shifted(n, by, seed=1):
    """n values that move by so many standard deviations half way."""
    return (np.random.default_rng(seed).normal(size=n) + by * (np.arange(n) >= n // 2)).tolist()


def test_an_error_beyond_any_number_is_missing_and_poisons_nothing():
    """Label and prediction at opposite ends of the doubles differ by infinity: counted as missing, and the drift of
    the errors around it is still seen, in alerts that decide can read.
    """
    x = shifted(600, 4)
    predictions = [prediction(i, -1.7e308 if i in (5, 45, 400) else 0.0) for i in range(600)]
    labels = [label(i, 1.7e308 if i in (5, 45, 400) else x[i]) for i in range(600)]
    labels[7] = b'{"model_id": "m", "event_time": %d, "prediction_id": "m-7", "label": 1e999}' % START_MS
    one = fold()
    outputs = one.step([records("predictions", predictions), records("labels", labels)])
    found = [read_alert(o.value) for o in outputs if o.topic == "driftline.alerts"]
    assert {(a.column, a.detector) for a in found if isinstance(a, Alert)} >= {
        ("error", "adwin"),
        ("error", "ks_window"),
    }
    assert all(isinstance(alert, Alert) for alert in found)


@pytest.mark.parametrize("scale", [5e-324, 1e-160, 1e150, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("adwin", [{}, {"clock": 1, "grace_period": 0, "min_window_length": 1, "delta": 0.9}])
def test_every_alert_is_one_that_decide_can_read(scale, adwin):
    """Numbers of any size, constant or not, give alerts of finite numbers alone."""
    one = fold(detectors=DETECTORS | {"adwin": settings_of("adwin", **adwin)})
    noise = np.clip(np.array(shifted(400, 2)) / 8, -1, 1)
    columns = {
        "noise": noise * scale,
        "constant": np.full(400, scale),
        "step": np.where(np.arange(400) < 200, 0.0, scale),
        "flip": np.where(np.arange(400) < 200, -scale, scale),
        "spike": np.where(np.arange(400) % 100 == 99, scale, noise),
    }
    events = [prediction(i, 0.0, features={k: float(v[i]) for k, v in columns.items()}) for i in range(400)]
    found = [read_alert(o.value) for o in one.step([records("predictions", events)])]
    assert [alert for alert in found if not isinstance(alert, Alert)] == []


@settings(max_examples=10)
@given(st.integers(1, 700), st.integers(0, 1000))
def test_outputs_never_depend_on_the_size_of_chunks(size, seed):
    """Two topics in one order, decoded in chunks of any size, give the same outputs."""
    rng = np.random.default_rng(seed)
    x = shifted(300, 3, seed)
    times = START_MS + np.cumsum(rng.integers(0, 3, 600))
    predictions = [prediction(i, x[i], f"m{i % 3}", features={f"f{i % 5}": x[i]}) for i in range(300)]
    labels = [label(int(i), 2 * x[i], f"m{i % 3}") if i % 7 else b"junk" for i in rng.permutation(300)]
    stretch = [
        records("predictions", predictions, timestamps_ms=times[::2].tolist()),
        records("labels", labels, timestamps_ms=times[1::2].tolist()),
    ]
    expected = fold().step(stretch)
    assert alerts_of(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect_fold, "CHUNK_RECORDS", size)
        assert fold().step(stretch) == expected


@pytest.mark.parametrize("time_ms", [0, END_MS])
def test_events_at_the_ends_of_time_are_folded_like_any_other(time_ms):
    """All of 1970's first millisecond or of 9999's last: drift is dated with that time."""
    events = [prediction(i, x, event_time=time_ms) for i, x in enumerate(shifted(400, 4))]
    found = alerts_of(fold().step([records("predictions", events)]))
    assert {a["state"] for a in found} == {"firing", "ready"}
    year = "1970-01-01T00:00:00Z" if time_ms == 0 else "9999-12-31T23:59:59.999000Z"
    assert {a["at"]["event_time"] for a in found} == {year} == {a["onset"]["event_time"] for a in found}


def test_offsets_of_any_size_are_published_exactly():
    """Near 2**63 an onset is still an offset of the log, to the unit."""
    first = 2**63 - 1_000
    events = [prediction(i, x) for i, x in enumerate(shifted(400, 6))]
    plain = alerts_of(fold().step([records("predictions", events)]))
    huge = alerts_of(fold().step([records("predictions", events, first)]))
    assert [a["onset"]["offset"] - first for a in huge] == [a["onset"]["offset"] for a in plain] != []
    assert [a["at"]["offset"] - first for a in huge] == [a["at"]["offset"] for a in plain]


@pytest.mark.parametrize(
    ("topic", "event", "outputs"),
    [
        ("predictions", prediction(0, 1.0), 0),
        ("predictions", b"junk", 1),
        ("labels", label(0, 1.0), 0),
        ("predictions", {"source": "weather", "event_time": 1, "features": {"t": 1}}, 0),
    ],
)
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_an_epoch_of_one_kind_of_record_is_folded(topic, event, outputs, n):
    """Nothing at all, one record, or more than a chunk of dead letters, labels or sources alone.

    Thousands of labels without any prediction are reported once, and so are thousands of repeats of a prediction.
    """
    one = fold()
    is_reported = n == 5000 and isinstance(event, dict) and "prediction_id" in event
    assert len(one.step([records(topic, [event] * n)])) == n * outputs + is_reported
    assert one.tally["records", topic] == n
    again = fold()
    again.load(one.dump())
    assert again.dump().to_bytes() == one.dump().to_bytes()


def test_a_repeated_prediction_id_counts_once():
    """Of two predictions under one id the first gets the label, and the second label finds none."""
    one = fold()
    events = [prediction(0, 1.0), prediction(0, 9.0)]
    one.step([records("predictions", events), records("labels", [label(0, 3.0)] * 2)])
    assert one.labels.counts == {"matched": 1, "unmatched": 1, "early": 0, "expired": 0, "evicted": 0}


def test_as_many_topics_as_fit_and_not_one_more():
    """The last topic that has room alerts under its own name; one more is refused before anything is folded."""
    topics = [f"t{i}" for i in range(TOPICS_MAX)]
    events = [prediction(i, x) for i, x in enumerate(shifted(400, 4))]
    outputs = fold(topics).step([records(topics[-1], events), records(topics[0], events[:10])])
    assert {a["at"]["topic"] for a in alerts_of(outputs)} == {topics[-1]}
    with pytest.raises(UsageError, match="one event topic too many"):
        fold([*topics, "more"])


LIMITS = Limits(models_max=2, columns_max=4, categories_max=2, series_max=3)


def test_full_tables_turn_new_names_away_keep_the_old_and_count_what_is_lost():
    """Models and versions beyond their bound are dead letters; columns and series beyond theirs are counted."""
    one = fold(limits=LIMITS)
    features = {"a": 1.0, "b": "rain", "c": 2.0, "d": "snow"}
    outputs = one.step([records("predictions", [prediction(i, 1.0, f"m{i}", features=features) for i in range(4)])])
    reasons = [dict(o.headers)["__driftline.errors.reason"] for o in outputs if o.topic.endswith("-dlt")]
    assert reasons == [b"too_many_models"] * 2
    assert (one.models, one.series) == (2, 3)
    # of 5 values each: c and d find no column; then m1's prediction, a and b find no room for a series
    assert one.tally["dropped",] == 2 * 2 + 3
    versions = [prediction(9, 1.0, "m0", model_version=i) for i in range(3)]
    (letter,) = one.step([records("predictions", versions, 4)])
    assert dict(letter.headers)["__driftline.errors.reason"] == b"too_many_models"


def test_full_tables_still_see_drift_in_what_they_hold():
    """A model that came in time is watched although the tables are full."""
    events = [prediction(i, x, f"m{i % 7}") for i, x in enumerate(shifted(2000, 4))]
    found = alerts_of(fold(limits=LIMITS).step([records("predictions", events)]))
    drifted = {(a["model_id"], a["column"]) for a in found if a["kind"] == "drift"}
    assert drifted == {("m0", "prediction"), ("m1", "prediction")}


@pytest.mark.parametrize(
    "wrong",
    [{"models_max": 0}, {"models_max": 1 << 24}, {"columns_max": 1}, {"categories_max": 0}, {"series_max": 1 << 31}],
    ids=str,
)
def test_limits_that_cannot_be_are_refused(wrong):
    """Each table needs room for what is ours, and its numbers must fit the keys made of them."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_subjects_beyond_their_bound_are_counted():
    """A model that comes in more versions and topics than there is room for loses values, and says so."""
    topics = [f"t{i}" for i in range(9)]
    one = fold(topics, limits=replace(Limits(), models_max=1))
    one.step([records(topic, [prediction(0, 1.0)]) for topic in topics])
    assert one.series == 4
    assert one.tally["dropped",] == 5
