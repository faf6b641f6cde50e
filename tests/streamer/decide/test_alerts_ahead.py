"""Alerts dated too far ahead: they are folded, and move nobody's time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from retrain.messages.alert import Alert, Place
from retrain.messages.control import Control
from retrain.messages.request import Approval
from retrain.messages.silence import Matcher
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from streamer.codecs.base import Reason
from streamer.contracts.alert_time import CLOCK_HEADER
from streamer.contracts.control_reader import read_control
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot
from streamer.testing.alerts import START, firing, moment, ready, said

TOPICS = OutputTopics()
START_MS, DAY = 1_767_225_600_000, timedelta(days=1)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
AHEAD = [timedelta(hours=3), 30 * DAY, 3650 * DAY, LAST - moment("2d")]
SETTINGS = RetrainSettings(cooldown_s=0, expires_after_s=3 * 86_400, storm_models_min=None)


def clock(time):
    """The header of an alert whose unit's clock showed this time."""
    return ((CLOCK_HEADER, str(round(time.timestamp() * 1000)).encode()),)


# How it is known that an alert dated more than a step ahead of 2d is: by its record, by its unit, by the marks.
KNOWN = {
    "record": (START_MS + 2 * 86_400_000, ()),
    "unit": (-1, clock(moment("2d"))),
    "marks": (-1, ()),
}


def step(fold, record, timestamp_ms=-1, headers=()):
    """Fold a record; returns what is published."""
    topic = {Alert: TOPICS.alerts, Control: TOPICS.control, Watermark: TOPICS.watermarks}.get(
        type(record), TOPICS.alerts
    )
    value = record if isinstance(record, bytes) else msgspec.json.encode(record)
    outputs = fold.step([Records.build(topic, 0, [(0, timestamp_ms, None, value, headers)])])
    return [(output, msgspec.json.decode(output.value)) for output in outputs if output.value != b"?"]


def reasons(published):
    """The reasons of what is published."""
    return [value["reason"] for _, value in published if "reason" in value]


def dated(time, model="bad"):
    """An alert of another model, of this time."""
    return firing("0s", model=model, onset=Place("t", 0, 5, time), at=Place("t", 0, 6, time))


def begun(settings=SETTINGS):
    """A fold with a request that waits for three days from 1d on, and a mark of 2d; and the request's id."""
    fold = DecideFold(settings)
    made = step(fold, ready("1d", fired="1d"))
    step(fold, Watermark("detect-0", moment("2d")))
    return fold, next(value["request_id"] for _, value in made if "requested_at" in value)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("known", KNOWN)
def test_a_request_of_another_model_lives_on(ahead, known):
    """It does not expire, and can be approved; the alert opens its incident as of the fleet's time."""
    fold, request_id = begun(replace(SETTINGS, approval=Approval.REQUIRED))
    record_ms, headers = KNOWN[known]
    published = step(fold, dated(moment("2d") + ahead), record_ms, headers)
    assert reasons(published) == ["incident_opened"]
    is_held = known == "record" or ahead > 7 * DAY or (known == "unit" and ahead > DAY)
    opened = moment("2d") if is_held else moment("2d") + ahead
    assert datetime.fromisoformat(published[0][1]["opened_at"]) == opened
    assert fold.tally["ahead", TOPICS.alerts] == is_held
    assert fold.newest_event_time_ms == round(opened.timestamp() * 1000)
    assert reasons(step(fold, said("approve", request_id, "2d 1h"))) == ["approved"]


@pytest.mark.parametrize("known", KNOWN)
def test_silences_and_budget_stay(known):
    """A silence goes on to its end, and the hour of the budget is not over, for an alert ten years ahead."""
    fold, _ = begun(replace(SETTINGS, requests_per_hour_max=1))
    until = moment("3d")
    step(fold, said("silence", "s-1", "2d", matcher=Matcher("bus-*"), until=until))
    made = step(fold, ready("2d 1m", "2d 1m", "tram-1"))
    assert [value["model_id"] for _, value in made if "requested_at" in value] == ["tram-1"]
    record_ms, headers = KNOWN[known]
    step(fold, dated(moment("2d") + 3650 * DAY), record_ms, headers)
    assert not any("requested_at" in value for _, value in step(fold, ready("2d 2m", "2d 2m", "tram-2")))
    assert step(fold, firing("2d 3m", model="bus-7")) == [] or fold.tally["outcomes", "silenced"] == 1
    assert reasons(step(fold, Watermark("detect-0", until)))[0] == "silence_expired"


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("known", ["record", "unit"])
def test_it_brings_no_watermark_forward(ahead, known):
    """In one epoch with a watermark beyond a deadline, an answer before the deadline comes in time all the same."""
    fold, request_id = begun(replace(SETTINGS, approval=Approval.REQUIRED))
    record_ms, headers = KNOWN[known]
    alert, mark = dated(moment("2d") + ahead), Watermark("detect-0", moment("5d"))
    rows = {
        TOPICS.alerts: (0, record_ms, None, msgspec.json.encode(alert), headers),
        TOPICS.watermarks: (0, -1, None, msgspec.json.encode(mark), ()),
        TOPICS.control: (
            0,
            START_MS + 3 * 86_400_000,
            None,
            msgspec.json.encode(said("approve", request_id, "3d")),
            (),
        ),
    }
    outputs = fold.step([Records.build(topic, 0, [row]) for topic, row in rows.items()])
    assert [msgspec.json.decode(output.value)["reason"] for output in outputs] == ["incident_opened", "approved"]


@pytest.mark.parametrize("first", [START + 3650 * DAY, LAST])
def test_the_first_alert_ever_sets_no_wrong_time(first):
    """It is folded as of its record's time, or its unit's, where the fleet has none yet."""
    for record_ms, headers in [(START_MS, ()), (START_MS, clock(first)), (-1, clock(START))]:
        fold = DecideFold(SETTINGS)
        ((_, incident),) = step(fold, dated(first), record_ms, headers)
        assert datetime.fromisoformat(incident["opened_at"]) == START
        made = step(fold, ready("1d", fired="1d"))
        assert [value["requested_at"] for _, value in made if "requested_at" in value] == ["2026-01-02T00:00:00Z"]


def test_a_model_is_not_held_by_one_alert_of_its_own():
    """Its clock is wrong once: its later alerts make requests at their own times."""
    fold, _ = begun()
    step(fold, dated(moment("2d") + 3650 * DAY), *KNOWN["record"])
    made = step(fold, ready("2d 2h", "2d 1h", "bad"))
    assert [value["requested_at"] for _, value in made if "requested_at" in value] == ["2026-01-03T02:00:00Z"]


@pytest.mark.parametrize("year", ["0001", "1969"])
def test_an_alert_of_before_1970_is_a_dead_letter(year):
    """So are marks and commands; nothing fails, whatever the record's own time is."""
    alert = msgspec.json.encode(firing("0s")).replace(b"2026-01-01", f"{year}-01-01".encode())
    word = msgspec.json.encode(said("approve", "r", "0s")).replace(b"2026-01-01", f"{year}-01-01".encode())
    mark = b'{"unit":"detect-0","at":"%s-01-01T00:00:00Z"}' % year.encode()
    for topic, value in [(TOPICS.alerts, alert), (TOPICS.control, word), (TOPICS.watermarks, mark)]:
        for timestamp_ms in (-1, 0, START_MS, 2**62):
            fold = DecideFold(SETTINGS)
            (letter,) = fold.step([Records.build(topic, 0, [(0, timestamp_ms, None, value, ())])])
            assert letter.topic == f"{topic}-dlt"
            assert fold.tally["dead_letters", topic, Reason.BAD_EVENT_TIME.value] == 1


@pytest.mark.parametrize("timestamp_ms", [-(2**63), -1, 2**53, 2**62, 2**63 - 1])
def test_any_time_of_a_record_can_be_read(timestamp_ms):
    """What no calendar has bounds nothing, and nothing fails."""
    assert read_control(msgspec.json.encode(said("approve", "r", "0s")), timestamp_ms) == said("approve", "r", "0s")
    fold = DecideFold(SETTINGS)
    assert reasons(step(fold, firing("1d"), timestamp_ms)) == ["incident_opened"]


@pytest.mark.parametrize("text", [b"", b"-5", b"soon", b"9" * 400, "٣".encode(), None])
def test_a_header_that_is_no_time_says_nothing(text):
    """Others may write to the topic: the alert is folded as one without the header."""
    fold = DecideFold(SETTINGS)
    assert reasons(step(fold, firing("1d"), -1, ((CLOCK_HEADER, text),))) == ["incident_opened"]
    assert fold.tally["ahead", TOPICS.alerts] == 0


def test_cuts_and_restarts_do_not_show():
    """What tells that an alert is ahead is part of the state."""
    story = [
        (ready("1d", fired="1d"), -1, ()),
        (Watermark("detect-0", moment("2d")), -1, ()),
        (dated(moment("2d") + 3650 * DAY), -1, ()),
        (dated(moment("2d") + 9 * DAY, "late"), -1, ()),
        (Watermark("detect-0", moment("3d")), -1, ()),
    ]
    whole, fold, expected, found = DecideFold(SETTINGS), DecideFold(SETTINGS), [], []
    for record in story:
        expected += step(whole, *record)
    for a, b in pairwise(range(len(story) + 1)):
        resumed = DecideFold(SETTINGS)
        resumed.load(Snapshot.from_bytes(fold.dump().to_bytes()))
        fold = resumed
        for record in story[a:b]:
            found += step(fold, *record)
    assert found == expected
    assert fold.dump().to_bytes() == whole.dump().to_bytes()


def test_it_is_said_once(caplog):
    """The log names the model, its time and what is done; a thousand of these are one line."""
    fold, _ = begun()
    for _ in range(3):
        step(fold, dated(LAST), *KNOWN["record"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "'bad' is dated 9999-12-31 23:59:59+00:00" in line
    assert "folded as of 2026-01-03" in line
