"""Marks of event time, and what they end: reported by detect, folded by decide."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.silence import Matcher
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from streamer.app.folds import ConfiguredFolds
from streamer.codecs.base import Reason
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config import Config
from streamer.contracts.event_clock import EventClock
from streamer.contracts.topics import OutputTopics
from streamer.contracts.watermarks import EVERY_MS, marks
from streamer.decide import DecideFold
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.testing.alerts import firing, moment, ready, said

TOPICS = OutputTopics()
BEGUN = ready("1d", fired="1d")


@given(times=st.lists(st.integers(0, 12 * EVERY_MS), max_size=30), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_marks_depend_on_the_events_alone(times, cuts):
    """However the events are cut, a mark stands at each that reaches a stretch of time for the first time."""
    newest, expected = -1, []
    for i, time in enumerate(times):
        if time // EVERY_MS > newest // EVERY_MS:
            expected.append((i, time // EVERY_MS * EVERY_MS))
        newest = max(newest, time)
    found, clock, bounds = [], EventClock(), [0, *sorted(min(cut, len(times)) for cut in cuts), len(times)]
    for start, end in pairwise(bounds):
        before_ms, part = clock.now_ms, np.array(times[start:end], np.int64)
        for i, value in marks("detect-0", clock.advance(np.zeros(len(part), np.int64), part), before_ms):
            at = msgspec.json.decode(value, type=Watermark).at
            found.append((start + i, round(at.timestamp() * 1000)))
    assert found == expected


def step(fold, *records):
    """Fold these in one epoch; returns the reasons and times of what is published."""
    stretches = []
    for topic, type_ in ((TOPICS.alerts, Alert), (TOPICS.control, Control), (TOPICS.watermarks, Watermark)):
        of = [one for one in records if isinstance(one, type_)]
        rows = [(i, -1, None, msgspec.json.encode(one), ()) for i, one in enumerate(of)]
        stretches += [Records.build(topic, 0, rows)] if rows else []
    outputs = [msgspec.json.decode(output.value) for output in fold.step(stretches)]
    return [(one["reason"], one.get("at") or one.get("opened_at") or one["requested_at"]) for one in outputs]


def mark(time):
    """The mark of this time."""
    return Watermark("detect-0", moment(time))


def test_a_request_expires_and_a_promotion_helps_without_an_alert():
    """Time that events bring is enough: nobody has to drift for what is due to end."""
    fold = DecideFold(RetrainSettings())
    step(fold, BEGUN)
    assert step(fold, mark("7d 23h 55m")) == []
    assert step(fold, mark("8d")) == [("expired", "2026-01-09T00:00:00Z")]
    fold = DecideFold(RetrainSettings())
    outputs = fold.step([Records.build(TOPICS.alerts, 0, [(0, -1, None, msgspec.json.encode(BEGUN), ())])])
    name = msgspec.json.decode(outputs[-1].value)["request_id"]
    step(fold, said("trained", name, "1d 1h"), said("promote", name, "2d"))
    assert step(fold, mark("9d")) == [("helped", "2026-01-10T00:00:00Z")]


def test_a_silence_ends_by_a_mark():
    """What it has kept opens its incident at the mark, also where an alert of later times is in the same epoch."""
    fold = DecideFold(RetrainSettings())
    step(fold, said("silence", "s-1", "1d", matcher=Matcher("bus-*"), until=moment("2d")))
    reported = step(fold, firing("1d 2h"), firing("3d", model="tram-1"), mark("2d"), mark("2d 5m"))
    assert [reason for reason, _ in reported][-3:] == ["silence_expired", "incident_opened", "incident_opened"]
    assert reported[-2:] == [("incident_opened", "2026-01-03T00:00:00Z"), ("incident_opened", "2026-01-04T00:00:00Z")]


def test_a_mark_that_is_too_far_ahead_moves_no_time():
    """It is a dead letter: time would never come back. It may be ahead as far as events and their records may."""
    recorded_ms, day = 1_767_225_600_000, 86_400  # 2026-01-01
    for skew_max_s, at, letters in [(3600.0, "2h", 0), (3600.0, "2h 5m", 1), (2.0 * day, "2d 1h", 0)]:
        fold = DecideFold(RetrainSettings(), skew_max_s=skew_max_s)
        step(fold, BEGUN)
        value = msgspec.json.encode(mark(at))
        dead = fold.step([Records.build(TOPICS.watermarks, 0, [(0, recorded_ms, None, value, ())])])
        assert len(dead) == letters == fold.tally["dead_letters", TOPICS.watermarks, Reason.TIME_TOO_FAR_AHEAD.value]
    fold = DecideFold(RetrainSettings())
    step(fold, BEGUN)
    value = b'{"unit":"detect-0","at":"2099-01-01T00:00:00Z"}'
    (letter,) = fold.step([Records.build(TOPICS.watermarks, 0, [(0, recorded_ms, None, value, ())])])
    assert letter.topic == "driftline.watermarks-dlt"
    assert step(fold, mark("8d")) == [("expired", "2026-01-09T00:00:00Z")]


def test_an_event_of_2099_makes_no_mark():
    """What is dated too far behind its record is a dead letter of the detect fold, and time goes on from the others."""
    codecs = {"bus": JsonCodec(JsonSettings())}
    fold = DetectFold(DetectSettings(codecs, {}, tells_time=True))
    times = ["2026-01-01T00:01:00Z", "2099-01-01T00:00:00Z", "2026-01-01T00:06:00Z", "2026-01-01T00:02:00Z"]
    events = [b'{"model_id":"bus-1","event_time":"%s","prediction":1}' % time.encode() for time in times]
    rows = [(i, 1_767_225_600_000, None, event, ()) for i, event in enumerate(events)]
    outputs = fold.step([Records.build("bus", 0, rows)])
    assert [output.topic for output in outputs] == ["driftline.watermarks", "bus-dlt", "driftline.watermarks"]
    marked = [
        msgspec.json.decode(output.value, type=Watermark) for output in outputs if output.topic == TOPICS.watermarks
    ]
    assert marked == [mark("0s"), mark("5m")]


def test_the_topic_says_how_far_its_events_may_be_ahead():
    """Of several topics the most lenient counts for marks."""
    topics = {"bus": {"format": "json", "skew_max_s": 7200}, "tram": {"format": "json"}}
    config = Config.model_validate_json(msgspec.json.encode({"topics": topics}))
    value = msgspec.json.encode(mark("3h"))
    fold = ConfiguredFolds(config).fresh("decide", config.settings_text)
    assert fold.step([Records.build(TOPICS.watermarks, 0, [(0, 1_767_225_600_000, None, value, ())])]) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"{}", Reason.WRONG_TYPE), (b'{"unit":"u","at":"2026-01-01T00:00:00"}', Reason.BAD_EVENT_TIME)],
)
def test_what_is_no_mark_is_a_dead_letter(value, reason):
    """The topic is open to others: what can't be read is kept, and moves no time."""
    fold = DecideFold(RetrainSettings())
    (letter,) = fold.step([Records.build(TOPICS.watermarks, 0, [(0, 5, None, value, ())])])
    assert (letter.topic, letter.value) == ("driftline.watermarks-dlt", value)
    assert fold.tally["dead_letters", TOPICS.watermarks, reason.value] == 1
