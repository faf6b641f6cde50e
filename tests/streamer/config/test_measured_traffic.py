"""Where traffic is measured, a span of time between false alarms is one of values, by each model's own traffic."""

from itertools import pairwise

import numpy as np
import pytest
from alert_kit import alerts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from world_kit import DETECTORS, START_MS, kept_models, records, world
from world_kit import fold as world_fold

from detectors.registry import settings_of
from streamer.runtime.snapshot import Snapshot

DAY_S = 86_400.0
SPANS = dict.fromkeys(("shiryaev_roberts", "category_rates", "joint", "rate"), 30 * DAY_S)
RATED = {name: DETECTORS[name] for name in SPANS}
EVENTS = 700
STREAM = [(i, ("p", event)) for i, (_, event) in enumerate(world(3, EVENTS))]


def fold(**changes):
    return world_fold(detectors=RATED, **changes)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(0, EVENTS), max_size=4), st.integers(0, 4))
def test_outputs_and_state_never_depend_on_cuts_or_restarts(cuts, restart):
    """Cut anywhere, and restarted from a dump in between, the fold gives the same bytes and the same state."""
    whole, cut = fold(false_alarm_spans=SPANS), fold(false_alarm_spans=SPANS)
    expected, outputs = whole.step(records(STREAM)), []
    for i, (first, end) in enumerate(pairwise([0, *sorted(cuts), len(STREAM)])):
        outputs += cut.step(records(STREAM[first:end]))
        if i == restart:
            dumped, cut = cut.dump(), fold(false_alarm_spans=SPANS)
            cut.load(Snapshot.from_bytes(dumped.to_bytes()))
    assert outputs == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


def shifted(apart_s, before=1500, after=300):
    """Events of a model, so many seconds apart, whose feature moves by three deviations."""
    random = np.random.default_rng(5)
    for i in range(before + after):
        x = float(random.normal() + 3 * (i >= before))
        event = {"model_id": "m0", "prediction_id": f"m0-{i}", "features": {"x": x}, "prediction": None}
        yield i, ("p", event | {"event_time": START_MS + 1000 * i * apart_s})


@pytest.mark.parametrize("apart_s", [30, 300])
def test_an_alarm_needs_the_values_of_its_span_at_the_models_traffic(apart_s):
    """Ten times the traffic, ten times the evidence: 30 days at one event in 30 s are 86,400 values."""
    alone = {"detectors": {"shiryaev_roberts": settings_of("shiryaev_roberts")}, "segments": {}}
    events = records(shifted(apart_s))
    one = world_fold(false_alarm_spans={"shiryaev_roberts": 30 * DAY_S}, **alone)
    first = alerts_of(one.step(events))[0]
    assert first["threshold"] == pytest.approx(30 * DAY_S / apart_s - 256, rel=0.1)  # without those learned from
    plain = alerts_of(world_fold(**alone).step(events))[0]
    assert plain["threshold"] == 1e5 - 256


def test_traffic_of_other_models_is_forgotten_with_them():
    """What an eviction keeps has the traffic that it had."""
    one = fold(false_alarm_spans=SPANS)
    one.step(records(STREAM))
    survivors = kept_models(one, {"m1", "m2"})
    before = one.dump().arrays["traffic/state"].copy()
    one._evict(survivors)
    assert one.dump().arrays["traffic/state"].tolist() == before[survivors.subjects].tolist()
    assert 0 < np.count_nonzero(survivors.subjects) < len(before)


def test_without_a_span_nothing_is_measured():
    """A fold whose rates are stated keeps no traffic, and can begin to measure it from any state."""
    plain = fold()
    plain.step(records(STREAM[:300]))
    dumped = plain.dump()
    assert not any(name.startswith("traffic/") for name in dumped.arrays)
    one = fold(false_alarm_spans=SPANS)
    one.load(dumped)
    one.step(records(STREAM[300:]))
    assert one.dump().arrays["traffic/state"][:, 2].sum() > 0
