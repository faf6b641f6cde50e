"""Drift that comes and goes between two states is one incident, with at most one request, as timelines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.engine.engine import Engine
from retrain.messages.action import PublishIncident, PublishRequest
from retrain.messages.alert import AlertState, Resolution
from retrain.messages.incident import IncidentState
from retrain.messages.outcome import Outcome
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import firing, place, ready, said, seconds

HOUR = "{}h".format


def back(time, fired, **changes):
    """The alert that fired at `fired` is back to normal."""
    return firing(
        fired, state=AlertState.RESOLVED, resolution=Resolution.BACK_TO_NORMAL, resolved_at=place(time), **changes
    )


def episodes(hours, settings=None, enough=False):
    """An engine that has seen drift at each of these hours, which was gone an hour later, and all it did."""
    engine, actions = Engine(settings or RetrainSettings()), []
    for hour in hours:
        actions += engine.handle(firing(HOUR(hour)))
        if enough:
            actions += engine.handle(ready(f"{hour}h 30m", HOUR(hour)))
        actions += engine.handle(back(HOUR(hour + 1), HOUR(hour)))
    return engine, actions


def incidents(actions):
    return [action.incident for action in actions if isinstance(action, PublishIncident)]


def requests(actions):
    return [action.request for action in actions if isinstance(action, PublishRequest)]


def test_drift_that_comes_back_is_the_same_incident():
    """It reopens, counts its returns, and closes again; each record has the same id."""
    engine, actions = episodes([1, 3, 5, 7])
    assert len({one.incident_id for one in incidents(actions)}) == 1
    opened = [one for one in incidents(actions) if one.state is IncidentState.OPEN]
    assert [(one.returns, one.reason) for one in opened] == [
        (0, "incident_opened"), (1, "recurred"), (2, "recurred"), (3, "recurred"),
    ]  # fmt: skip
    last = engine.state.models["bus-099"].incident
    assert (last.state, last.reason, last.returns, last.alerts) == (IncidentState.CLOSED, "back_to_normal", 3, 4)


def test_one_request_is_made_though_drift_is_ready_each_time():
    """Also where no cooldown holds the others back, which say why."""
    settings = RetrainSettings(cooldown_s=0, expires_after_s=60)
    _, actions = episodes([1, 3, 5, 7], settings, enough=True)
    assert len(requests(actions)) == 1
    assert [str(action.reason) for action in actions].count(Outcome.RECURRING) == 3


def test_the_request_names_both_states_and_trains_on_both():
    """The first time is over before it is ready; the window of the second one begins with the first drift."""
    engine, _ = episodes([1])
    engine.handle(firing("3h", before=410.0, after=528.0))
    (request,) = requests(engine.handle(ready("4h", "3h", before=410.0, after=528.0)))
    (window,) = request.training_window
    assert (window.start_offset, window.end_offset) == (seconds("1h"), seconds("4h") + 1)
    assert window.start_time == place("1h").event_time
    assert {(shift.before, shift.after) for shift in request.evidence} >= {(410.0, 528.0)}
    assert request.incident_id == engine.state.models["bus-099"].incident.incident_id


def test_the_way_back_as_a_drift_of_its_own_is_a_return():
    """A state that had settled is left again: the incident, which had become quiet, reopens."""
    engine = Engine(RetrainSettings())
    engine.handle(firing("1h"))
    first = engine.state.models["bus-099"].incident.incident_id
    engine.handle(firing("1h", state=AlertState.RESOLVED, resolution=Resolution.SETTLED, resolved_at=place("20h")))
    engine.handle(firing("2d", before=530.0, after=412.0))
    last = engine.state.models["bus-099"].incident
    assert (last.incident_id, last.returns, last.reason) == (first, 1, "recurred")


def test_another_column_has_a_request_of_its_own():
    """Once what recurs is over, its drift is an incident of its own, whose window is its own."""
    settings = RetrainSettings(cooldown_s=0, expires_after_s=60)
    engine, _ = episodes([1, 3], settings, enough=True)
    engine.handle(firing("5h", column="dwell_s"))
    (request,) = requests(engine.handle(ready("6h", "5h", column="dwell_s")))
    assert request.training_window[0].start_offset == seconds("5h")
    assert engine.state.models["bus-099"].incident.recurring == ()


@pytest.mark.parametrize(
    ("changes", "time"),
    [
        ({"after": 600.0}, "3h"),  # another state
        ({"before": 480.0, "after": 590.0}, "3h"),  # a shift as large, elsewhere
        ({"detector": "ks_window"}, "3h"),  # another series, whose states are not known
        ({}, "9d"),  # too long after
    ],
)
def test_other_drift_opens_an_incident_of_its_own(changes, time):
    """Another state, another series, or after more than a week."""
    engine, _ = episodes([1])
    first = engine.state.models["bus-099"].incident.incident_id
    engine.handle(firing(time, **changes))
    last = engine.state.models["bus-099"].incident
    assert last.incident_id != first
    assert last.returns == 0


def test_drift_after_a_promotion_is_not_a_return():
    """The model that serves was trained on it, so it is a verdict on the promotion, and a new incident."""
    engine, actions = episodes([1], enough=True)
    (request,) = requests(actions)
    for kind, time in (("started", "3h"), ("trained", "4h"), ("promote", "5h")):
        engine.handle(said(kind, request.request_id, time))
    engine.handle(firing("6h"))
    last = engine.state.models["bus-099"].incident
    assert last.returns == 0
    assert last.incident_id != request.incident_id


def test_recurrence_can_be_switched_off():
    """With 0 each drift is an incident, as before there was recurrence."""
    _, actions = episodes([1, 3, 5], RetrainSettings(recurrence_s=0))
    assert len({one.incident_id for one in incidents(actions)}) == 3


@given(st.lists(st.integers(2, 40), min_size=2, max_size=12), st.sampled_from([0.0, 3600.0, 86_400.0]))
def test_however_often_drift_comes_and_goes_there_is_one_request(gaps, cooldown_s):
    """One incident and at most one request, whatever the cooldown, however long each state lasts within a week."""
    hours = [1 + sum(gaps[:k]) for k in range(len(gaps))]
    engine, actions = episodes(hours, RetrainSettings(cooldown_s=cooldown_s, expires_after_s=3600), enough=True)
    assert len({one.incident_id for one in incidents(actions)}) == 1
    assert len(requests(actions)) == 1
    assert engine.state.models["bus-099"].incident.returns == len(hours) - 1
