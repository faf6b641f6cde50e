"""Models, sources and labels whose events stop coming, through the detect fold."""

import json
from datetime import datetime
from itertools import pairwise
from random import Random

import pytest
from alert_kit import alerts_of

from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, LabelSettings, Limits
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS, MINUTE_MS, DAY = 1_782_889_200_000, 60_000, 1440
STOPS = 3 * DAY
MIDNIGHT_MS = START_MS - START_MS % 86_400_000


def fold(flows=None, timeout_s=604_800.0, **limits):
    codecs = dict.fromkeys(("p", "l"), JsonCodec(JsonSettings()))
    detectors = {"rate": settings_of("rate")}
    return DetectFold(
        DetectSettings(
            codecs, detectors, flows=flows or FlowSettings(), labels=LabelSettings(timeout_s), limits=Limits(**limits)
        )
    )


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


def test_an_alert_says_since_when_and_is_seen_by_what_others_send(conforms):
    """It names the last event that came, the usual gap and the present one, and is not followed by `ready`."""
    records = events(lambda minute, event: stops(minute, event | {"model_version": "7"}))
    (alert,) = alerts_of(fold().step([records]))
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
    (alert,) = alerts_of(fold().step([records]))
    assert (alert["kind"], alert["model_id"]) == ("silent", "source:t")


def test_a_new_version_is_no_silence():
    """The model's events go on under another version: the old one's need not."""
    records = events(lambda minute, event: event | {"model_version": "7" if minute < STOPS else "8"})
    assert alerts_of(fold().step([records])) == []


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
    batch = [(i, -1, None, json.dumps(row).encode(), ()) for i, row in enumerate(rows)]
    assert alerts_of(fold().step([Records.build("p", 0, batch)])) == []


def test_who_goes_on_raises_no_alert_and_off_is_off():
    """Neither do all that come as they came raise anything, nor does anybody when `flows.watch` is off."""
    assert alerts_of(fold().step([events(lambda _, event: event)])) == []
    assert alerts_of(fold(FlowSettings(watch=False)).step([events(stops)])) == []


@pytest.mark.parametrize("step", [1, 97, 2000])
def test_batches_and_restarts_change_nothing(step):
    """Alerts and state are the same in pieces of any size, each after a restart from what the one before kept."""
    records, whole, one = events(stops), fold(), fold()
    expected = whole.step([records])
    assert alerts_of(expected)
    found, near = [], alerts_of(expected)[0]["at"]["offset"]
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
    (alert,) = [alert for alert in alerts_of(watching.step([flood])) if alert["kind"] != "limit"]
    assert (alert["kind"], alert["model_id"]) == ("silent", "m0")
    assert watching.models == 104
    assert len(watching.dump().arrays["flow/keys"]) <= 104


def labelled(share_of, days=30, every=12):
    """Three models with a prediction every 12 minutes, of whose labels, an hour later, these shares come."""
    random, rows = Random(3), []
    for minute in range(0, days * DAY, every):
        for k in range(3):
            at, name = MIDNIGHT_MS + (minute + k) * MINUTE_MS, f"m{k}-{minute}"
            rows.append((at, {"model_id": f"m{k}", "prediction_id": name, "prediction": 1, "model_version": "7"}))
            if random.random() < (share_of(minute // DAY) if k == 0 else 0.9):
                rows.append((at + 60 * MINUTE_MS, {"model_id": f"m{k}", "prediction_id": name, "label": 1}))
    rows.sort(key=lambda row: row[0])
    values = [json.dumps(row | {"event_time": at}).encode() for at, row in rows]
    return Records.build("p", 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])


def test_fewer_labels_are_one_alert_once_their_time_is_over(conforms):
    """From 9 in 10 to 6 in 10: it says the shares, since when, and is seen after two days and the time-out."""
    (alert,) = alerts_of(fold(timeout_s=2 * 86_400).step([labelled(lambda day: 0.9 if day < 15 else 0.6)]))
    conforms("alert.v1", json.dumps(alert).encode())
    named = (alert["kind"], alert["model_id"], alert["model_version"], alert["column"], alert["effect_unit"])
    assert named == ("label_rate", "m0", "7", "(labels)", "rate")
    assert (alert["before"], alert["after"]) == (pytest.approx(0.9, abs=0.03), pytest.approx(0.6, abs=0.1))
    assert 14 < day_of(alert["onset"]) < 16
    assert 19 <= day_of(alert["at"]) < 19.1


def day_of(place):
    return (datetime.fromisoformat(place["event_time"]).timestamp() * 1000 - MIDNIGHT_MS) / DAY / MINUTE_MS


@pytest.mark.parametrize("usual", [0.0, 0.5, 1.0])
def test_labels_as_they_were_raise_no_alert(usual):
    """Neither are models that never get any, nor a day with fewer than usual."""
    shares = {20: usual / 3}
    assert alerts_of(fold(timeout_s=2 * 86_400).step([labelled(lambda day: shares.get(day, usual))])) == []


@pytest.mark.parametrize("step", [701, 5000])
def test_restarts_do_not_change_the_share_of_labels(step):
    """In pieces, with restarts in between, alerts and state are those of the whole."""
    records = labelled(lambda day: 0.9 if day < 15 else 0.6)
    whole, one, found = fold(timeout_s=2 * 86_400), fold(timeout_s=2 * 86_400), []
    expected = whole.step([records])
    for start in range(0, len(records), step):
        found += one.step([records.part(start, min(start + step, len(records)))])
        other = fold(timeout_s=2 * 86_400)
        other.load(Snapshot.from_bytes(one.dump().to_bytes()))
        one = other
    assert found == expected
    assert one.dump().to_bytes() == whole.dump().to_bytes()
