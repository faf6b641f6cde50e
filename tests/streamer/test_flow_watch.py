"""Models, sources and labels whose events stop coming, through the detect fold."""

import json
from itertools import pairwise
from random import Random

import pytest

from detectors.flows import FlowSettings
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect import DetectFold, DetectSettings, Limits
from streamer.logs.base import Records
from streamer.snapshot import Snapshot

START_MS, MINUTE_MS, DAY = 1_782_889_200_000, 60_000, 1440
STOPS = 3 * DAY


def fold(flows=None, **limits):
    codecs = dict.fromkeys(("p", "l"), JsonCodec(JsonSettings()))
    detectors = {"rate": settings_of("rate")}
    return DetectFold(DetectSettings(codecs, detectors, flows=flows or FlowSettings(), limits=Limits(**limits)))


def events(of_first, days=4, every=10, version=None):
    """Three models and a source, an event of each every ten minutes; those of the first as `of_first` makes them."""
    random, rows = Random(1), []
    for minute in range(0, days * DAY, every):
        for k in range(4):
            time = START_MS + minute * MINUTE_MS + random.randrange(every * MINUTE_MS)
            event = {"model_id": f"m{k}", "prediction": 1} if k < 3 else {"source": "s", "features": {"x": 1}}
            if k == 0:
                event = of_first(minute, event)
            if event:
                rows.append(json.dumps(event | {"event_time": time}).encode())
    return Records.build("p", 0, [(i, -1, None, row, ()) for i, row in enumerate(rows)])


def stops(minute, event):
    """Nothing comes any more from the third day on."""
    return event if minute < STOPS else None


def told(outputs):
    return [json.loads(output.value) for output in outputs if output.topic == "driftline.alerts"]


def test_an_alert_says_since_when_and_is_seen_by_what_others_send(conforms):
    """It names the last event that came, the usual gap and the present one, and is not followed by `ready`."""
    records = events(lambda minute, event: stops(minute, event | {"model_version": "7"}))
    (alert,) = told(fold().step([records]))
    conforms("alert.v1", json.dumps(alert).encode())
    assert (alert["kind"], alert["model_id"], alert["model_version"], alert["column"]) == (
        "silent",
        "m0",
        "7",
        "(events)",
    )
    last = max(i for i in range(len(records)) if b'"m0"' in records.value_of(i))
    at = alert["at"]["offset"]
    assert (alert["onset"]["offset"], b'"m0"' in records.value_of(at)) == (last, False)
    assert alert["before"] == pytest.approx(600, rel=0.01)
    assert alert["effect_unit"] == "s"
    assert 300 < alert["after"] < 86_400


def test_a_source_that_stops_is_silent_too():
    """It is named as in its alerts of drift."""
    records = events(lambda minute, _: stops(minute, {"source": "t", "features": {"x": 1}}))
    (alert,) = told(fold().step([records]))
    assert (alert["kind"], alert["model_id"]) == ("silent", "source:t")


def test_a_new_version_is_no_silence():
    """The model's events go on under another version: the old one's need not."""
    records = events(lambda minute, event: event | {"model_version": "7" if minute < STOPS else "8"})
    assert told(fold().step([records])) == []


def test_labels_that_come_together_make_nobody_silent():
    """Predictions are judged by predictions: a day's labels between two of them are no time that passes."""
    random, rows = Random(2), []
    for minute in range(0, 2 * DAY, 2):
        rows.append(
            {"model_id": f"m{random.randrange(3)}", "prediction": 1, "event_time": START_MS + minute * MINUTE_MS}
        )
        if minute == 1.5 * DAY:
            late = range(START_MS + minute * MINUTE_MS, START_MS + (minute + 30) * MINUTE_MS, 1000)
            rows += [{"model_id": "m0", "prediction_id": str(i), "label": 1, "event_time": i} for i in late]
    values = [json.dumps(row).encode() for row in rows]
    assert told(fold().step([Records.build("p", 0, [(i, -1, None, row, ()) for i, row in enumerate(values)])])) == []


def test_who_goes_on_is_told_nothing_and_off_is_off():
    """Neither do all that come as they came raise anything, nor does anybody when `flows.watch` is off."""
    assert told(fold().step([events(lambda _, event: event)])) == []
    assert told(fold(FlowSettings(watch=False)).step([events(stops)])) == []


@pytest.mark.parametrize("step", [1, 97, 2000])
def test_batches_and_restarts_change_nothing(step):
    """Alerts and state are the same in pieces of any size, each after a restart from what the one before kept."""
    records, whole, one = events(stops), fold(), fold()
    expected = whole.step([records])
    assert told(expected)
    found, near = [], told(expected)[0]["at"]["offset"]
    edges = range(near - 5, near + 5) if step == 1 else range(0, len(records), step)
    edges = [0, *edges, len(records)]
    for start, end in pairwise(edges):
        found += one.step([records.part(start, end)])
        other = fold()
        other.load(Snapshot.from_bytes(one.dump().to_bytes()))
        one = other
    assert found == expected
    assert one.dump().to_bytes() == whole.dump().to_bytes()


def test_more_models_than_there_is_room_for_change_nothing_for_the_rest():
    """Names without end are dead letters, and the models that have room are judged as before."""
    records = events(stops)
    rows, n = [], 0
    for i in range(len(records)):
        rows += [records.value_of(i), b'{"model_id": "other-%d", "event_time": %d, "prediction": 1}' % (i, START_MS)]
    flood = Records.build("p", 0, [(n + i, -1, None, row, ()) for i, row in enumerate(rows)])
    watching = fold(models_max=4 + 100)
    (alert,) = told(watching.step([flood]))
    assert (alert["kind"], alert["model_id"]) == ("silent", "m0")
    assert watching.models == 104
    assert len(watching.dump().arrays["flow/keys"]) <= 104
