"""How alerts end, and what ends with them, as timelines."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.engine.engine import Engine
from retrain.messages.action import PublishIncident, PublishRequest
from retrain.messages.alert import AlertState, Resolution
from retrain.messages.incident import IncidentState
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import firing, place, ready, said


def resolved(time, fired, *args, why="back_to_normal", was_ready=None, **changes):
    """The alert that fired at `fired`, over at `time`."""
    ready_at = place(was_ready) if was_ready else None
    return firing(
        fired, *args, state=AlertState.RESOLVED, resolution=Resolution(why), resolved_at=place(time), ready_at=ready_at,
        **changes,
    )  # fmt: skip


def reasons(engine, *records):
    """The reasons of all actions on these records."""
    return " ".join(str(action.reason) for record in records for action in engine.handle(record))


def incident_of(engine, model="bus-099"):
    return engine.state.models[model].incident


def test_back_to_normal_before_ready_asks_for_nothing():
    """The incident closes and names why, and the next drift, to another state, opens another."""
    engine = Engine(RetrainSettings())
    assert reasons(engine, firing("1h")) == "incident_opened waiting_for_data"
    *published, _ = engine.handle(resolved("2h", "1h"))
    assert [(a.incident.state, a.reason) for a in published if isinstance(a, PublishIncident)] == [
        (IncidentState.CLOSED, "back_to_normal")
    ]
    assert reasons(engine, ready("3h", "1h")) == "duplicate"
    first = incident_of(engine)
    assert "incident_opened" in reasons(engine, firing("4h", after=300.0))
    assert incident_of(engine).incident_id != first.incident_id


def test_an_incident_is_over_when_all_of_it_is():
    """Two columns moved: one that comes back leaves the incident open."""
    engine = Engine(RetrainSettings())
    reasons(engine, firing("1h"), firing("1h", column="dwell_s"))
    assert reasons(engine, resolved("2h", "1h")) == "back_to_normal"
    assert incident_of(engine).state is IncidentState.OPEN
    assert reasons(engine, resolved("3h", "1h", column="dwell_s")) == "back_to_normal back_to_normal"
    assert incident_of(engine).state is IncidentState.CLOSED


def test_an_alert_ends_once():
    """A repeated record, and the end of what nobody knows, change nothing."""
    engine = Engine(RetrainSettings())
    reasons(engine, firing("1h"), resolved("2h", "1h"))
    before = deepcopy(engine.state)
    assert reasons(engine, resolved("2h", "1h")) == "duplicate"
    assert engine.state == before
    assert reasons(engine, resolved("4h", "3h")) == "not_firing"


@pytest.mark.parametrize("why", ["superseded", "settled"])
def test_other_ends_leave_the_incident(why):
    """What has drifted on, or stays away for good, is not back to normal."""
    engine = Engine(RetrainSettings())
    reasons(engine, firing("1h"), firing("2h"))
    assert reasons(engine, resolved("2h", "1h", why=why)) == why
    assert incident_of(engine).state is IncidentState.OPEN


def test_what_waits_for_room_is_withdrawn():
    """A drift that has ended by the time there is room triggers no request."""
    engine = Engine(RetrainSettings(requests_per_hour_max=1))
    reasons(engine, firing("1h", "a"), firing("1h", "b"), ready("2h", "1h", "a"))
    assert reasons(engine, ready("2h", "1h", "b")).endswith("budget_exhausted")
    assert reasons(engine, resolved("2h 30m", "1h", "b", was_ready="2h")) == "withdrawn back_to_normal back_to_normal"
    assert "request_made" not in reasons(engine, firing("9h", "c"))


def test_what_a_storm_holds_is_withdrawn_and_the_storm_ends():
    """Each model that is back leaves the storm; the last one ends it, and no request is made."""
    engine = Engine(RetrainSettings(storm_models_min=3))
    reasons(engine, *(firing("1h", model) for model in "abc"), *(ready("2h", "1h", model) for model in "abc"))
    assert reasons(engine, resolved("3h", "1h", "a")) == "withdrawn back_to_normal"
    assert reasons(engine, resolved("3h", "1h", "b")) == "withdrawn back_to_normal"
    actions = engine.handle(resolved("3h", "1h", "c"))
    (storm,) = [a.incident for a in actions if isinstance(a, PublishIncident)]
    assert (storm.model_id, storm.state, storm.reason) == ("fleet:headway_s", IncidentState.CLOSED, "back_to_normal")
    assert engine.state.storms == {}
    assert reasons(engine, firing("4h", "a")) == "incident_opened waiting_for_data"


def test_what_a_storm_holds_of_a_column_that_is_back_is_withdrawn_while_others_move():
    """A model leaves the storm with what it held of it, though another of its columns has not come back."""
    engine = Engine(RetrainSettings(storm_models_min=2))
    reasons(engine, firing("1h", "bus-001"), firing("1h", "bus-002"), ready("2h", "1h", "bus-001"))
    assert engine.state.waits_with("bus-001", "headway_s")
    reasons(engine, firing("2h", "bus-001", column="dwell_s"))
    assert reasons(engine, resolved("3h", "1h", "bus-001", was_ready="2h")) == "withdrawn back_to_normal"
    model = engine.state.models["bus-001"]
    assert model.waiting is None
    assert incident_of(engine, "bus-001").state is IncidentState.OPEN
    assert list(engine.state.storms["headway_s"].models) == ["bus-002"]


def test_a_silenced_alert_that_is_over_does_not_come_back():
    """When the silence ends, there is nothing left of it."""
    engine = Engine(RetrainSettings())
    until = firing("9h").at.event_time
    reasons(engine, firing("0s", "other"), said("silence", "s", "30m", matcher=Matcher(model="bus-*"), until=until))
    reasons(engine, firing("1h"))
    assert reasons(engine, resolved("2h", "1h")) == "back_to_normal"
    assert engine.state.silenced == {}
    assert "incident_opened" not in reasons(engine, said("unsilence", "s", "3h"))


def test_what_a_silence_keeps_for_the_models_of_a_source_that_is_over_is_let_go():
    """The source alone was its cause; what the models have themselves stays."""
    sources = {"weather": SourceSettings(["bus-*"])}
    engine = Engine(RetrainSettings(requests_per_hour_max=1), None, sources)
    until = firing("90h").at.event_time
    weather = {"model": "source:weather", "column": "rain_mm", "models": ("bus-1", "bus-2"), "model_count": 2}
    reasons(engine, firing("1h", **weather))
    reasons(engine, ready("2h", "1h", **weather))
    (waits,) = [name for name, model in engine.state.models.items() if model.waiting]
    reasons(engine, said("silence", "s", "2h 10m", matcher=Matcher(model="bus-*"), until=until))
    reasons(engine, firing("2h 15m", waits, column="dwell_s"))
    assert sorted(one.source for one in engine.state.silenced.values()) == ["", "source:weather"]
    assert "withdrawn" in reasons(engine, resolved("2h 30m", "1h", was_ready="2h", **weather))
    assert [one.source for one in engine.state.silenced.values()] == [""]
    assert "request_made" not in reasons(engine, said("unsilence", "s", "30h"))


def test_a_new_version_ends_what_the_old_one_had():
    """Its incident closes with its first alert; the end of the old alert has no effect any more."""
    engine = Engine(RetrainSettings())
    reasons(engine, firing("1h", version="7"))
    assert reasons(engine, firing("2h", version="8")).startswith("new_version incident_opened")
    assert reasons(engine, resolved("3h", "1h", version="7")) == "older_version"
    assert incident_of(engine).state is IncidentState.OPEN
    assert reasons(engine, resolved("3h", "2h", version="8")) == "back_to_normal back_to_normal"


def test_a_promotion_ends_what_came_before_it():
    """The alert was about the version before; the promoted version has a watch of its own."""
    engine = Engine(RetrainSettings())
    actions = [a for r in (firing("1h"), ready("2h", "1h")) for a in engine.handle(r)]
    (request,) = [a.request for a in actions if isinstance(a, PublishRequest)]
    assert "promoted" in reasons(
        engine, said("trained", request.request_id, "3h"), said("promote", request.request_id, "4h")
    )
    assert engine.state.models["bus-099"].firing == {}
    assert reasons(engine, resolved("5h", "1h")) == "before_promotion"
    assert "incident_opened" in reasons(engine, firing("6h"))


def test_a_request_outlives_the_drift_it_was_made_for():
    """It is with people or trainers already: they reject it, or it expires."""
    engine = Engine(RetrainSettings(approval="required"))
    reasons(engine, firing("1h"), ready("2h", "1h"))
    assert reasons(engine, resolved("3h", "1h")) == "back_to_normal back_to_normal"
    assert engine.state.models["bus-099"].last_request.is_open(place("4h").event_time)


def test_a_clock_that_runs_back_does_not_matter():
    """An end whose time lies before that of other alerts ends its alert, and no time turns."""
    engine = Engine(RetrainSettings())
    reasons(engine, firing("5h"), firing("1h", column="dwell_s"))
    now = engine.state.now
    assert reasons(engine, resolved("2h", "1h", column="dwell_s"), resolved("3h", "5h")) == (
        "back_to_normal back_to_normal back_to_normal"
    )
    assert engine.state.now == now


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.integers(0, 2)), max_size=60), st.data()
)
def test_any_prefix_and_then_the_rest_is_the_whole(steps, data):
    """With a state that is copied in between; every record gets an answer with a reason; no alert fires for ever."""
    live, records = {}, []
    for i, (model, column, step) in enumerate(steps):
        fired = live.get((model, column))
        if fired is None or step == 0:
            live[model, column] = f"{i}h"
            records.append(firing(f"{i}h", model, column))
        elif step == 1:
            records.append(ready(f"{i}h", fired, model, column))
        else:
            records.append(resolved(f"{i}h", fired, model, column))
            del live[model, column]
    settings = RetrainSettings(storm_models_min=3, requests_per_hour_max=1, storm_window_s=7200.0)
    whole, cut = Engine(settings), data.draw(st.integers(0, len(records)))
    answers = [whole.handle(record) for record in records]
    first = Engine(settings)
    again = [first.handle(record) for record in records[:cut]]
    second = Engine(settings, deepcopy(first.state))
    again += [second.handle(record) for record in records[cut:]]
    assert again == answers
    assert second.state == whole.state
    assert all(actions and actions[-1].reason for actions in answers)
    assert all(set(model.firing) <= {r.alert_id for r in records} for model in whole.state.models.values())
