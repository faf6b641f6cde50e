"""Records with several events give what the same events give one by one."""

from __future__ import annotations

import json

import pytest
from alert_kit import alerts_of
from fold_kit import START_MS, fold, records

from retrain.state.dedup import SeriesMark, series_of
from streamer.contracts.alert_reader import read_alert

EVENTS = 600
PLACES = ("onset", "at", "ready_at", "resolved_at")


def events():
    """Predictions of two models that shift once, and back again."""
    made = []
    for i in range(EVENTS):
        x = (i * 7919 % 101) / 50 + 4 * (200 <= i < 400)
        event = {"model_id": f"m{i % 2}", "event_time": START_MS + 1000 * i, "features": {"x": x}}
        made.append(event)
    return made


def outputs(rows, cut=None):
    """What comes of records of so many events each."""
    made = events()
    values = [json.dumps(made[i : i + rows] if rows > 1 else made[i]).encode() for i in range(0, EVENTS, rows)]
    detect, all_of_it = fold(), []
    for start in range(0, len(values), cut or len(values)):
        all_of_it += detect.step([records("predictions", values[start : start + (cut or len(values))], start)])
    return all_of_it


def facts(found):
    """The alerts without ids, places and offsets."""
    shown = [{name: value for name, value in one.items() if name not in ("alert_id", *PLACES)} for one in found]
    for one in shown:
        for name in ("windows", "history"):
            one[name] = [
                {key: value for key, value in window.items() if "offset" not in key} for window in one.get(name, ())
            ]
    return shown


@pytest.mark.parametrize("rows", [2, 7, 50, 600])
def test_alerts_are_those_of_single_events(rows):
    """The same alerts, at the same events: an offset and a row instead of an offset."""
    single, several = alerts_of(outputs(1)), alerts_of(outputs(rows))
    assert len(single) > 4
    assert facts(several) == facts(single)
    for one, other in zip(single, several, strict=True):
        for place in ("at", "resolved_at"):
            if one[place]:
                assert divmod(one[place]["offset"], rows) == (other[place]["offset"], other[place].get("row", 0))
        for window, wide in zip(one.get("windows", ()), other.get("windows", ()), strict=True):
            assert wide["start_offset"] == window["start_offset"] // rows
            assert wide["end_offset"] == (window["end_offset"] - 1) // rows + 1
    assert len({one["alert_id"] for one in several}) == len({one["alert_id"] for one in single})


def test_where_records_are_cut_does_not_show():
    """Any cut between records gives the same bytes."""
    assert outputs(7, cut=1) == outputs(7, cut=5) == outputs(7)


def test_alerts_of_one_record_are_no_repetition_of_each_other():
    """A series that alarms, ends and alarms within one record: each of them counts."""
    found = [read_alert(json.dumps(one).encode()) for one in alerts_of(outputs(600)) if one["column"] == "x"]
    assert {one.at.offset for one in found} == {0}
    marks = {}
    for alert in found:
        mark = marks.setdefault((alert.model_id, series_of(alert)), SeriesMark())
        assert not mark.is_duplicate(alert), alert
        mark.record(alert)
        assert mark.is_duplicate(alert)
