"""The detect fold as a whole: bytes in, alerts and dead letters out."""

import json
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_kit import alerts_of
from fold_kit import DETECTORS, JUNK, START_MS, TRAINED, fired, fold, prediction, records, wild
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.registry import settings_of
from streamer.contracts.topics import OutputTopics
from streamer.detect.batch import later
from streamer.detect.references.table import References, load_references
from streamer.detect.settings import ErrorKind, LabelSettings
from streamer.errors import UsageError
from streamer.runtime.snapshot import Snapshot


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 420), max_size=5), st.integers(0, 5), st.booleans())
def test_outputs_and_state_never_depend_on_how_an_epoch_is_cut(seed, cuts, restart, trained):
    """Cut anywhere, and restarted from a dump in between, the fold gives the same bytes and the same state."""
    stretches = [records(topic, values) for topic, values in wild(seed).items()]
    changes = {"references": TRAINED, "labels": LabelSettings(watch_lag=True)} if trained else {}
    whole, cut = fold(**changes), fold(**changes)
    expected = whole.step(stretches)
    outputs = []
    for i, part in enumerate(parts_of(stretches, cuts)):
        outputs += cut.step([part])
        if i == restart:
            dumped, cut = cut.dump(), fold(**changes)
            cut.load(Snapshot.from_bytes(dumped.to_bytes()))
    assert outputs == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


def parts_of(stretches, cuts):
    for whole in stretches:
        bounds = sorted({0, len(whole), *(c for c in cuts if c < len(whole))})
        yield from (whole.part(a, b) for a, b in pairwise(bounds))


def test_a_shift_is_one_alert_a_detector_first_firing_then_ready():
    """The shifted model alone has alerts, with the onset near the truth, and ready when there is enough to train on."""
    rng = np.random.default_rng(5)
    values = [prediction(f"m{i % 2}", i, float(rng.normal() + 4 * (i % 2 == 0 and i >= 1000))) for i in range(2000)]
    published = alerts_of(fold().step([records("predictions", values)]))
    assert {(a["model_id"], a["column"]) for a in published} == {("m0", "x"), ("m0", "prediction")}
    for alert in published:
        assert abs(alert["onset"]["offset"] - 1000) <= 40
        assert alert["after"] > alert["before"]
        if alert["state"] == "ready":
            assert alert["ready_at"]["offset"] == alert["onset"]["offset"] + 2 * 50 or alert["detector"] == "ks_window"
    assert [a["alert_id"] for a in published if a["state"] == "ready"] == [
        a["alert_id"] for a in published if a["state"] == "firing"
    ]


def test_an_alert_is_a_cloud_event():
    """Each state of an alert is an event with an id of its own; subject and key are the model."""
    rng = np.random.default_rng(4)
    values = [prediction("bus-ü", i, float(rng.normal() + 4 * (i >= 1000))) for i in range(2000)]
    outputs = [o for o in fold().step([records("predictions", values)]) if o.topic == OutputTopics().alerts]
    states = []
    for output in outputs:
        alert = json.loads(output.value)
        states.append(alert["state"])
        assert alert["schema_version"] == 1
        assert {name: value.decode() for name, value in output.headers} == {
            "ce_specversion": "1.0",
            "ce_id": f"{alert['alert_id']}-{alert['state']}",
            "ce_source": "/driftline/detect",
            "ce_type": f"io.driftline.alert.{alert['state']}.v1",
            "ce_subject": "bus-ü",
            "ce_time": (alert["resolved_at"] or alert["ready_at"] or alert["at"])["event_time"],
            "ce_partitionkey": output.key.decode(),
            "ce_dataschema": "urn:driftline:schema:alert.v1",
            "content-type": "application/json",
        }
    assert {"firing", "ready"} <= set(states)
    assert len({dict(o.headers)["ce_id"] for o in outputs}) == len(outputs)


def test_unreadable_records_are_kept_byte_for_byte_with_their_coordinates():
    """A dead letter has the record's key, value and headers, and says where it was and what is wrong."""
    outputs = fold().step([records("predictions", JUNK, first=70)])
    assert [o.value for o in outputs] == list(JUNK)
    assert [o.key for o in outputs] == [b"k%d" % i for i in range(len(JUNK))]
    for i, output in enumerate(outputs):
        assert output.topic == "predictions-dlt"
        headers = dict(output.headers)
        assert headers["trace"] == b"t%d" % i
        assert headers["__driftline.errors.topic"] == b"predictions"
        assert headers["__driftline.errors.partition"] == b"3"
        assert headers["__driftline.errors.offset"] == b"%d" % (70 + i)
    reasons = [dict(o.headers)["__driftline.errors.reason"].decode() for o in outputs]
    assert reasons == [
        "not_json", "not_json", "not_an_object", "null_value", "missing_model", "not_utf8", "bad_event_time",
    ]  # fmt: skip


def test_an_error_that_grows_is_drift_though_no_feature_moves():
    """Labels that part from their predictions are drift of `error`, with an onset among the predictions."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=2000)
    values = [prediction("m", i, float(x[i])) for i in range(2000)]
    labels = [
        json.dumps(
            {
                "model_id": "m", "prediction_id": f"m-{i}", "event_time": 1000 * i + START_MS,
                "label": float(2 * x[i] + rng.normal() * (3 if i >= 1200 else 0.5)),
            }
        ).encode()
        for i in range(2000)
    ]  # fmt: skip
    published = alerts_of(fold().step([records("predictions", values), records("labels", labels)]))
    assert {a["column"] for a in published} == {"error"}
    for alert in published:
        assert alert["onset"]["topic"] == "predictions"
        assert alert["at"]["topic"] == "labels"
        assert abs(alert["onset"]["offset"] - 1200) <= 40


def test_classes_that_are_texts_give_an_error_that_can_drift():
    """A classifier that goes from 5 % to 60 % wrong drifts in its error, whose mean says so; labels come late."""
    rng = np.random.default_rng(1)
    kinds = LabelSettings(errors={"m": ErrorKind.ZERO_ONE})
    predictions = [prediction("m", i, 0.0, prediction="fine") for i in range(3000)]
    wrong = [rng.random() < (0.6 if i > 2000 else 0.05) for i in range(3000)]
    labels = [
        json.dumps(
            {
                "model_id": "m",
                "prediction_id": f"m-{i}",
                "label": ("fine", "fraud")[w],
                "event_time": START_MS + 1000 * i,
            }
        ).encode()
        for i, w in enumerate(wrong)
    ]
    published = alerts_of(fold(labels=kinds).step([records("predictions", predictions), records("labels", labels)]))
    error = next(a for a in published if a["column"] == "error")
    assert abs(error["onset"]["offset"] - 2000) < 60
    assert error["before"] < 0.1 < 0.4 < error["after"]


def test_labels_that_take_longer_are_an_alert_and_no_reason_to_retrain():
    """A lag that goes from about 60 s to about 90 s is an alert of its own kind, which never becomes ready."""
    rng = np.random.default_rng(1)
    predictions = [prediction("m", i, 0.0) for i in range(3000)]
    lag_ms = rng.normal(60_000, 5000, 3000) + 30_000 * (np.arange(3000) > 2000)
    labels = [
        json.dumps(
            {"model_id": "m", "prediction_id": f"m-{i}", "label": 0.0, "event_time": START_MS + 1000 * i + int(lag)}
        ).encode()
        for i, lag in enumerate(lag_ms.tolist())
    ]
    stretches = [records("predictions", predictions), records("labels", labels)]
    published = alerts_of(fold(labels=LabelSettings(watch_lag=True)).step(stretches))
    assert {(a["column"], a["kind"], a["state"]) for a in published} == {("label_lag_s", "label_lag", "firing")}
    assert published[0]["before"] == pytest.approx(60, rel=0.1)
    assert abs(published[0]["onset"]["offset"] - 2000) < 60
    assert alerts_of(fold().step(stretches)) == []


def test_a_new_version_starts_from_nothing():
    """What a new version is fed is not compared with what the old one saw."""
    rng = np.random.default_rng(7)
    values = [prediction("m", i, float(rng.normal() + 5 * (i >= 500)), model_version=i // 500) for i in range(1000)]
    assert fired(fold().step([records("predictions", values)])) == []


def test_an_alert_names_the_version_and_the_topic_it_is_about():
    """Two versions of two models on two topics drift; each alert has its own names."""
    rng = np.random.default_rng(11)
    values = [
        prediction(f"m{i // 2 % 2}", i, float(rng.normal() + 5 * (i >= 1200)), model_version=("old", None)[i % 2])
        for i in range(2400)
    ]
    published = alerts_of(fold().step([records("predictions", values), records("sources", values)]))
    found = {(a["model_id"], a["model_version"], a["at"]["topic"]) for a in published}
    assert found == {(f"m{m}", v, topic) for m in (0, 1) for v in ("old", "") for topic in ("predictions", "sources")}
    assert all(a["onset"]["topic"] == a["at"]["topic"] for a in published)


def test_the_onset_of_a_column_that_most_events_lack_is_an_event_that_had_it():
    """A step is found at the event of its value, though the column begins late and is in every seventh event alone."""
    onsets = {}
    for every in (1, 3, 7):
        features = [
            {"x": float(i >= 210 * every)} if i % every == 0 and i >= 70 * every else {} for i in range(300 * every)
        ]
        values = [prediction("m", i, 0.0, features=has) for i, has in enumerate(features)]
        adwin = {"adwin": settings_of("adwin", clock=1, delta=0.01)}
        published = alerts_of(fold(detectors=adwin).step([records("predictions", values)]))
        onsets[every] = next(a["onset"]["offset"] for a in published if a["column"] == "x")
    assert abs(onsets[1] - 210) <= 4
    assert onsets == {every: every * onsets[1] for every in onsets}


def test_the_onset_of_errors_is_right_though_labels_come_in_reverse():
    """Labels of the newest predictions first: the change is found among the predictions where it was."""
    values = [prediction("m", i, 0.0) for i in range(400)]
    labels = [
        json.dumps(
            {"model_id": "m", "prediction_id": f"m-{i}", "event_time": START_MS + i, "label": float(i < 150)}
        ).encode()
        for i in reversed(range(400))
    ]
    adwin = {"adwin": settings_of("adwin", clock=1, delta=0.01)}
    published = alerts_of(fold(detectors=adwin).step([records("predictions", values), records("labels", labels)]))
    assert abs(published[0]["onset"]["offset"] - 150) <= 8


@given(st.lists(st.integers(0, 5), max_size=60), st.data())
def test_values_that_follow_are_counted_as_by_a_plain_loop(rows, data):
    """Of any values of a batch, how many more of their row come."""
    at = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True).map(sorted)) if rows else []
    expected = [rows[a + 1 :].count(rows[a]) for a in at]
    assert later(np.array(rows, np.int64), np.array(at, np.int64)).tolist() == expected


def test_alerts_of_one_event_stand_by_detector_then_column():
    """Several columns that step at once alert in the order of the settings and of the event."""
    values = [prediction("m", i, float(i >= 200), features={"b": i >= 200, "a": i >= 200}) for i in range(300)]
    both = {"ks_window": DETECTORS["ks_window"], "adwin": settings_of("adwin", clock=1, delta=0.01)}
    alerts = alerts_of(fold(detectors=both).step([records("predictions", values)]))
    order = [
        (a["at"]["offset"], list(both).index(a["detector"]), ["prediction", "b", "a"].index(a["column"]))
        for a in alerts
        if a["state"] == "firing"
    ]
    assert order == sorted(order)
    assert len(order) == 6


def test_a_source_is_watched_once_for_all_who_use_it():
    """A feature event without a model is published under the name of its source."""
    rng = np.random.default_rng(8)
    values = [
        json.dumps(
            {"source": "weather", "event_time": i, "features": {"t": float(rng.normal() + 4 * (i > 300))}}
        ).encode()
        for i in range(600)
    ]
    assert set(fired(fold().step([records("sources", values)]))) == {("source:weather", "t")}


def test_a_training_reference_shows_drift_that_was_there_from_the_start(tmp_path):
    """Against its training data a model is off from its first events; the alert names the reference by its digest."""
    rng = np.random.default_rng(9)
    file = tmp_path / "training.parquet"
    pq.write_table(pa.table({"model_id": ["m"] * 500, "x": rng.normal(size=500), "unused": ["text"] * 500}), file)
    values = [prediction("m", i, float(rng.normal() + 2)) for i in range(200)]
    references = load_references(str(file), 40)
    assert fired(fold().step([records("predictions", values)])) == []
    published = alerts_of(fold(references=references).step([records("predictions", values)]))
    assert {a["column"] for a in published} == {"x"}
    assert published[0]["reference_digest"] == references.of("m", "1", "x").digest != ""


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"x": [1.0]}, "needs a column model_id"),
        ({"model_id": ["m"], "x": [[1.0]]}, "needs feature columns of numbers or text"),
        ({"model_id": [[1]], "x": [1.0]}, "must be text"),
    ],
)
def test_a_reference_that_cannot_be_one_says_why(tmp_path, table, sentence):
    """A file without models or without features is refused with a sentence."""
    file = tmp_path / "training.parquet"
    pq.write_table(pa.table(table), file)
    with pytest.raises(UsageError, match=sentence):
        load_references(str(file), 40)
    with pytest.raises(UsageError, match="can't be read"):
        load_references(str(tmp_path / "nowhere.parquet"), 40)


def test_a_model_without_a_reference_of_its_version_uses_that_of_any_version():
    """A reference without a version serves all versions."""
    assert References().of("m", "1", "x") is None


def test_values_that_are_missing_or_of_the_wrong_kind_are_counted_and_kept_from_the_detectors():
    """null, NaN, infinities, texts among numbers and lists raise nothing and reach no detector."""
    rng = np.random.default_rng(10)
    odd = ["null", "NaN", "Infinity", "-Infinity", '"text"', "[1]", "{}", "1e999"]
    values = []
    for i in range(800):
        x = odd[i % len(odd)] if i % 3 == 0 and i > 10 else repr(float(rng.normal()))
        values.append(f'{{"model_id": "m", "event_time": {i}, "features": {{"x": {x}}}}}'.encode())
    one = fold()
    outputs = one.step([records("predictions", values)])
    assert outputs == []
    assert one.tally["events", "predictions"] == 800


def test_alerts_on_the_wire_are_those_of_the_contract(conforms):
    """Every alert meets its schema and decodes to an `Alert`."""
    from retrain.messages.alert import Alert
    from streamer.contracts.encoding import json_of

    outputs = fold().step([records(topic, values) for topic, values in wild(3).items()])
    published = [o for o in outputs if o.topic == "driftline.alerts"]
    assert published
    for output in published:
        conforms("alert.v1", output.value)
        assert json_of(msgspec.json.decode(output.value, type=Alert)) == output.value
