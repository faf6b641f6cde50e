"""Events dated too far ahead: they are folded, and move nobody's time."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from fold_kit import START_MS, fold, prediction, records
from hypothesis import given
from hypothesis import strategies as st

from retrain.messages.alert import Alert, AlertState
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.contracts.alert_time import CLOCK_HEADER
from streamer.contracts.topics import OutputTopics
from streamer.contracts.watermarks import EVERY_MS
from streamer.decide import DecideFold
from streamer.detect.eviction import RECORDS_MIN
from streamer.detect.settings import LabelSettings, Limits
from streamer.eventlog.base import Records
from streamer.events import Names
from streamer.runtime.snapshot import Snapshot

HOUR, DAY = 3_600_000, 86_400_000
AHEAD = {"1 h": HOUR, "2 h": 2 * HOUR, "30 d": 30 * DAY, "10 y": 3650 * DAY}
LAST_MS = 253_402_300_799_999
N = 900  # events of three models, a minute apart: fifteen hours


def fleet(n=N, first=0):
    """Events of three models a minute apart."""
    return [prediction(f"m{i % 3}", i, float(i % 7), event_time=START_MS + 60_000 * i) for i in range(first, first + n)]


def bad(time_ms, model="bad", x=1.0):
    """An event of a producer with this clock."""
    return prediction(model, 0, x, event_time=time_ms)


def telling(**changes):
    """A detect fold that publishes marks."""
    return fold(tells_time=True, **changes)


def marks(outputs):
    """The times of marks, in ms since 1970."""
    found = [msgspec.json.decode(o.value, type=Watermark).at for o in outputs if o.topic == OutputTopics().watermarks]
    return [round(at.timestamp() * 1000) for at in found]


@pytest.mark.parametrize("time_ms", [START_MS + 300 * 60_000 + ahead for ahead in AHEAD.values()] + [LAST_MS, 0, 1])
def test_marks_go_on_after_one_event(time_ms):
    """Those further ahead than a day, and early ones, change no mark; the others hold marks until time has come."""
    values = fleet()
    outputs = telling().step([records("predictions", [*values[:300], bad(time_ms), *values[300:]])])
    expected = marks(telling().step([records("predictions", values)]))
    if time_ms > START_MS + 301 * 60_000 + DAY or time_ms < START_MS:
        assert marks(outputs) == expected
    else:
        at_ms = time_ms // EVERY_MS * EVERY_MS
        kept = [one for one in expected if one < START_MS + 300 * 60_000 or one > at_ms]
        assert marks(outputs) == sorted({*kept, at_ms})


@pytest.mark.parametrize("record_ms", [-1, START_MS + 3650 * DAY])
def test_the_codec_lets_what_it_cannot_judge_pass(record_ms):
    """A record without a time, or with the producer's wrong one, bounds nothing: the unit's clock does."""
    rows = [(0, record_ms, None, bad(START_MS + 3650 * DAY), ()), (1, record_ms, None, bad(LAST_MS), ())]
    codec = JsonCodec(JsonSettings())
    batch, dead = codec.decode(Records.build("predictions", 0, rows), Names.fresh(9, 9, 9))
    assert (len(batch), len(dead.index)) == ((2, 0) if record_ms < 0 else (1, 1))


@pytest.mark.parametrize("ahead", [*AHEAD.values(), LAST_MS - START_MS - 1])
def test_by_its_record_an_event_ahead_is_a_dead_letter(ahead):
    """Where the record's time is a broker's, or that of a right clock, an hour is the bound."""
    rows = [(0, START_MS, None, bad(START_MS + ahead + 1), ())]
    _, dead = JsonCodec(JsonSettings()).decode(Records.build("predictions", 0, rows), Names.fresh(9, 9, 9))
    assert [reason.value for reason in dead.reason] == ["time_too_far_ahead"]


def test_it_is_counted_and_said_once(caplog):
    """The log names the record, the model and both times."""
    one = telling()
    one.step([records("predictions", [*fleet(30), bad(LAST_MS), bad(LAST_MS, x=2.0), *fleet(30, 30)])])
    assert one.tally["ahead", "predictions"] == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("predictions[3] at offset 30: an event of 'bad' is dated 9999-12-31 23:59:59.999")
    assert one.newest_event_time_ms == START_MS + 59 * 60_000


def drifting(time_of):
    """Events of a model that shifts, among three that do not; `time_of` gives the time of event `i` of that model."""
    values = fleet(3)
    for i in range(400):
        values.append(bad(time_of(i), x=float(np.sin(i * 7.7)) + 9 * (i > 200)))
        values += fleet(3, 3 * i)
    return values


def test_alerts_of_a_wrong_clock_carry_the_units_time():
    """The bad model's drift is found, and published with its own times; decide folds it as of the fleet's."""
    one = telling()
    outputs = one.step([records("predictions", drifting(lambda i: START_MS + 3650 * DAY + 1000 * i))])
    alerts = [o for o in outputs if o.topic == OutputTopics().alerts]
    assert [o.key for o in alerts] == [b"bad"] * len(alerts)
    assert alerts
    for output in alerts:
        name, text = output.headers[-1]
        assert name == CLOCK_HEADER
        assert START_MS <= int(text) <= START_MS + 1200 * 60_000
        assert json.loads(output.value)["at"]["event_time"].startswith("2036-")
    decide, stretches = DecideFold(RetrainSettings()), []
    for topic in (OutputTopics().alerts, OutputTopics().watermarks):
        rows = [(i, -1, o.key, o.value, o.headers) for i, o in enumerate(o for o in outputs if o.topic == topic)]
        stretches.append(Records.build(topic, 0, rows))
    published = decide.step(stretches)
    requests = [json.loads(o.value) for o in published if o.topic == OutputTopics().requests]
    assert [one["model_id"] for one in requests] == ["bad"]
    assert all(datetime.fromisoformat(one["requested_at"]).year == 2026 for one in requests)
    assert decide.newest_event_time_ms < START_MS + 1200 * 60_000


def test_alerts_of_right_clocks_have_no_header_of_the_clock():
    """What is within a step is published as it always was: a CloudEvent without the unit's time."""
    outputs = telling().step([records("predictions", drifting(lambda i: START_MS + 180_000 * i))])
    found = [o for o in outputs if o.topic == OutputTopics().alerts]
    assert {msgspec.json.decode(o.value, type=Alert).state for o in found} >= {AlertState.FIRING}
    assert all(len(o.headers) == 9 and CLOCK_HEADER not in dict(o.headers) for o in found)


@given(st.lists(st.integers(0, 240), max_size=4))
def test_cuts_and_restarts_do_not_show(cuts):
    """The clock and those it asks are part of the state."""
    values = fleet(120)
    for i in range(120):
        values.insert(2 * i, bad(START_MS + (3650 if i % 3 else 0) * DAY + i, model=f"bad-{i % 2}"))
    expected = marks(telling().step([records("predictions", values)]))
    one, found = telling(), []
    for start, end in pairwise([0, *sorted(cuts), 240]):
        found += marks(one.step([records("predictions", values[start:end], start)]))
        fresh = telling()
        fresh.load(Snapshot.from_bytes(one.dump().to_bytes()))
        one = fresh
    assert found == expected


@pytest.mark.parametrize("time_ms", [START_MS + 3650 * DAY, LAST_MS, 0])
def test_one_wrong_clock_evicts_nobody(time_ms):
    """Models heard of all the time stay, however full the tables are; the bad one is one of them."""
    limits = Limits(models_max=6, forget_after="1d")
    one = telling(limits=limits, detectors={}, labels=LabelSettings(timeout_s=3600))
    values = fleet(4 * RECORDS_MIN)
    values[::50] = [bad(time_ms, x=float(i)) for i in range(len(values[::50]))]
    one.step([records("predictions", values)])
    assert sorted(one.context.names.models.names) == ["bad", "m0", "m1", "m2"]


def test_the_clock_forgets_with_the_models():
    """Models that are evicted are asked no more, and ids that move are followed: marks are those of a whole fold."""
    limits, labels = Limits(models_max=8, forget_after="1d"), LabelSettings(timeout_s=3600)
    values = [prediction(f"old-{i % 3}", i, 1.0, event_time=START_MS + 1000 * i) for i in range(RECORDS_MIN)]
    values += fleet(5 * RECORDS_MIN)
    one = telling(limits=limits, detectors={}, labels=labels)
    one.step([records("predictions", values)])
    assert sorted(one.context.names.models.names) == ["m0", "m1", "m2"]
    assert sorted(one.intake.clock.dump()["jurors"][:, 0]) == [0, 1, 2]
    spring = START_MS + 400 * DAY
    later = [prediction(f"m{i % 3}", i, 1.0, event_time=spring + 60_000 * i) for i in range(9)]
    assert marks(one.step([records("predictions", later, len(values))]))[0] == spring // EVERY_MS * EVERY_MS
