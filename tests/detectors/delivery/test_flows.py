"""Flows: quiet where traffic is as it was, whatever its shape, and one alarm where it stops or changes."""

from itertools import pairwise

import numpy as np
import pytest

from detectors.delivery.flow import Flows, FlowSettings
from detectors.delivery.flow_kernels import Events

DAY_MS = 86_400_000
START_MS = 20_500 * DAY_MS
DAYS = 40


def poisson(random, per_day, days=DAYS):
    """Times of independent events."""
    return np.sort(random.random(random.poisson(per_day * days)) * days * DAY_MS)


def with_nights(random, per_day, phase=0.0):
    """None for eight hours of each day."""
    times = poisson(random, per_day)
    return times[(times / DAY_MS + phase) % 1 > 1 / 3]


def in_bursts(random, per_day, size=30):
    """Bursts of some 30 events, 2 s apart on average."""
    begins = poisson(random, per_day / size)
    parts = [at + np.cumsum(random.exponential(2000, random.geometric(1 / size))) for at in begins]
    return np.sort(np.concatenate(parts))


RATES = np.geomspace(50, 1500, 12)
TRAFFIC = {
    "poisson": lambda r: [poisson(r, rate) for rate in RATES],
    "nights that all share": lambda r: [with_nights(r, rate) for rate in RATES],
    "nights of each its own": lambda r: [with_nights(r, rate, i / 12) for i, rate in enumerate(RATES)],
    "bursts": lambda r: [in_bursts(r, rate) for rate in RATES],
    "two of a kind": lambda r: [poisson(r, 800) for _ in range(2)],
}


def events_of(flows):
    """The events of flows on one topic, in order of time, of which there are at least 16 at the start."""
    flow, times = np.concatenate([np.full(len(times), i) for i, times in enumerate(flows)]), np.concatenate(flows)
    order = np.argsort(times, kind="stable")
    n = len(order)
    times = times[order].astype(np.int64) + START_MS
    return Events(flow[order].astype(np.int64), np.zeros(n, np.int64), times, np.arange(n), np.full(n, -1, np.int32))


def alarms_on(flows, settings=None):
    """The alarms on flows, and their events."""
    events = events_of(flows)
    return Flows(settings or FlowSettings()).update(events, len(flows)), events


@pytest.mark.parametrize("kind", TRAFFIC)
def test_traffic_that_goes_on_raises_nothing(kind):
    """No shape of traffic raises an alarm, from the first event on: nights, bursts and chance are what they were."""
    for seed in range(3):
        assert alarms_on(TRAFFIC[kind](np.random.default_rng(seed)))[0] == []


@pytest.mark.parametrize("kind", ["poisson", "nights that all share", "nights of each its own", "two of a kind"])
def test_a_flow_that_stops_is_one_alarm(kind):
    """It says since when and how long events were apart; nothing follows, though nothing comes again."""
    for seed in range(3):
        flows = TRAFFIC[kind](np.random.default_rng(seed))
        flows[-1] = flows[-1][flows[-1] < 30 * DAY_MS]
        (alarm,), events = alarms_on(flows)
        assert (alarm.flow, alarm.is_silence) == (len(flows) - 1, True)
        assert alarm.began_ms == START_MS + int(flows[-1][-1])
        assert alarm.before == pytest.approx(DAYS * 0.75 * 86_400 / len(flows[-1]), rel=0.02)
        assert alarm.after == pytest.approx((int(events.time_ms[alarm.event]) - alarm.began_ms) / 1000, abs=3600)
        assert alarm.after < 1.5 * 86_400


def test_a_flow_that_comes_back_can_fall_silent_again():
    """Each silence is one alarm."""
    random = np.random.default_rng(1)
    flows = TRAFFIC["poisson"](random)
    day = flows[-1] / DAY_MS
    flows[-1] = flows[-1][(day < 15) | ((day > 20) & (day < 30))]
    first, second = alarms_on(flows)[0]
    assert START_MS + 14.9 * DAY_MS < first.began_ms < START_MS + 15 * DAY_MS
    assert START_MS + 29.9 * DAY_MS < second.began_ms < START_MS + 30 * DAY_MS


@pytest.mark.parametrize("share", [0.25, 4.0])
def test_another_rate_is_one_alarm_after_two_windows(share):
    """It says the rates, and that it began with the first of them; then the new rate is what is usual."""
    random = np.random.default_rng(2)
    flows = [poisson(random, 1000) for _ in range(5)]
    other = poisson(random, 1000 * share)
    flows[2] = np.concatenate([flows[2][flows[2] < 20 * DAY_MS], other[other >= 20 * DAY_MS]])
    (alarm,), events = alarms_on(flows)
    assert (alarm.flow, alarm.is_silence) == (2, False)
    assert (events.time_ms[alarm.event] - START_MS) // DAY_MS == 22
    assert 0 <= START_MS + 20 * DAY_MS - alarm.began_ms < DAY_MS / 20
    assert (alarm.before, alarm.after) == (pytest.approx(1000 / 24, rel=0.1), pytest.approx(1000 / 24 * share, rel=0.2))


def test_a_topic_that_is_away_says_nothing():
    """A day without any event of any flow is no silence of one of them, and no other rate."""
    flows = [times[abs(times / DAY_MS - 25.3) > 0.7] for times in TRAFFIC["poisson"](np.random.default_rng(3))]
    assert alarms_on(flows)[0] == []


@pytest.mark.parametrize("ahead_ms", [2_000_000, 250_000_000_000_000])
def test_clocks_that_are_ahead_hide_no_silence_and_make_none(ahead_ms):
    """One event in ten of one flow comes with a time half an hour, or thousands of years, ahead; another flow stops."""
    random = np.random.default_rng(4)
    flows = TRAFFIC["poisson"](random)
    flows[-1] = flows[-1][flows[-1] < 30 * DAY_MS]
    events = events_of(flows)
    spoilt = (events.flow == 3) & (random.random(len(events.flow)) < 0.1)
    events.time_ms[spoilt] += ahead_ms
    (alarm,) = Flows(FlowSettings()).update(events, len(flows))
    assert (alarm.flow, alarm.is_silence) == (len(flows) - 1, True)


def test_the_cut_of_the_stream_never_shows():
    """Events one by one, or with a restart in between, give the alarms and the state of all at once."""
    random = np.random.default_rng(5)
    flows = [poisson(random, 1000) for _ in range(5)]
    flows[2] = flows[2][(flows[2] < 18 * DAY_MS) | (flows[2] > 25 * DAY_MS)]
    flows[3] = flows[3][(flows[3] < 20 * DAY_MS) | (random.random(len(flows[3])) < 0.2)]
    expected, events = alarms_on(flows)
    assert sorted(alarm.is_silence for alarm in expected) == [False, True]
    found, one = [], Flows(FlowSettings())
    edges = [0, *np.sort(random.integers(0, len(events.flow), 400)).tolist(), *(a.event for a in expected)]
    edges = sorted({*edges, *(edge + 1 for edge in edges), len(events.flow)})
    for start, end in pairwise(edges):
        part = Events(*(array[start:end] for array in events))
        seen = int(events.flow[:end].max()) + 1
        found += [(start + alarm.event, *list(vars_of(alarm))[1:]) for alarm in one.update(part, seen)]
        other = Flows(FlowSettings())
        other.load({name: array.copy() for name, array in one.dump().items()})
        one = other
    assert found == [tuple(vars_of(alarm)) for alarm in expected]
    whole = Flows(FlowSettings())
    whole.update(events, len(flows))
    assert {k: v.tolist() for k, v in one.dump().items()} == {k: v.tolist() for k, v in whole.dump().items()}


def vars_of(alarm):
    """The fields of an alarm."""
    return [getattr(alarm, name) for name in alarm.__slots__]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("learn_s", 0), ("silence_min_s", -1), ("arl0", 1), ("window_s", 1), ("factor", 1.0)],
)
def test_settings_out_of_range_are_refused(setting, value):
    """Each says what it may be."""
    with pytest.raises(ValueError, match=f"{setting} must lie between"):
        FlowSettings(**{setting: value})
