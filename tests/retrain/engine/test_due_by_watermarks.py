"""What ends, and which requests are made, by a watermark alone, with no alert after it; as timelines."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline_kit import handle_all, reasons

from retrain.engine.engine import Engine
from retrain.messages.action import PublishRequest
from retrain.messages.alert import AlertKind
from retrain.messages.silence import Matcher
from retrain.messages.watermark import Watermark
from retrain.policy.model_rules import ModelRules
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import firing, moment, random_alerts, ready, said

SOURCES = {"weather": SourceSettings(["bus-*"])}


def engine_of(sources=None, **changes):
    """An engine with these settings."""
    return Engine(RetrainSettings(**changes), None, sources)


def mark(engine, time):
    """What the engine does when event time has come so far."""
    return engine.handle(Watermark("detect-0", moment(time)))


def requested(actions) -> list[tuple[str, object]]:
    """The models with a request, and its time."""
    return [(a.request.model_id, a.request.requested_at) for a in actions if isinstance(a, PublishRequest)]


def request_of(engine, model):
    """The id of the model's last request."""
    return engine.state.models[model].last_request.request_id


def test_a_request_expires_by_a_mark():
    """At its exact time, and once."""
    engine = engine_of(expires_after_s=86_400.0)
    handle_all(engine, ready("1h", "1h", "a"))
    assert reasons(mark(engine, "24h 55m")) == ""
    (action,) = mark(engine, "25h")
    assert (action.reason, action.decision.at) == ("expired", moment("25h"))
    assert reasons(mark(engine, "25h 5m")) == ""


def test_a_promotion_has_helped_by_a_mark():
    """No drift within the watch is good news, which takes no alert to be published."""
    engine = engine_of(watch_s=86_400.0)
    handle_all(engine, ready("1h", "1h", "a"))
    request = request_of(engine, "a")
    handle_all(engine, said("trained", request, "2h"), said("promote", request, "3h"))
    assert reasons(mark(engine, "26h 55m")) == ""
    (action,) = mark(engine, "27h 5m")
    assert (action.reason, action.decision.at) == ("helped", moment("27h"))


def test_who_waits_gets_room_by_a_mark():
    """An hour after the last request the budget has room again, for the most urgent of those that wait."""
    engine = engine_of(requests_per_hour_max=1)
    handle_all(engine, ready("1h", "1h", "a"), ready("1h 1m", "1h 1m", "b"), ready("1h 2m", "1h 2m", "c", effect=3.0))
    assert requested(mark(engine, "1h 55m")) == []
    assert requested(mark(engine, "2h")) == [("c", moment("2h"))]
    assert requested(mark(engine, "2h 5m")) == []
    assert requested(mark(engine, "9h")) == [("b", moment("9h"))]


def test_who_waits_gets_the_room_of_what_expires_by_a_mark():
    """The same mark ends one request and makes the next."""
    engine = engine_of(running_max=1, expires_after_s=86_400.0)
    handle_all(engine, ready("1h", "1h", "a"), ready("1h 1m", "1h 1m", "b"))
    actions = mark(engine, "25h")
    assert reasons(actions) == "expired request_made request_made"
    assert requested(actions) == [("b", moment("25h"))]


def test_a_fault_while_a_model_waits_prevents_a_request_by_a_mark():
    """The rules decide again when there is room: broken data are no reason then either."""
    engine = engine_of(requests_per_hour_max=1)
    fault = firing("1h 3m", "b", kind=AlertKind.MISSING, detector="rate", effect_unit="rate")
    handle_all(engine, ready("1h", "1h", "a"), ready("1h 1m", "1h 1m", "b"), fault)
    assert reasons(mark(engine, "2h")) == "inhibited_by_data_fault"
    assert reasons(mark(engine, "9d")) == "expired"


def test_a_silence_ends_by_a_mark():
    """The kept alert is judged at the watermark: it opens its incident and triggers a request, by the mark's time."""
    engine = engine_of()
    handle_all(engine, said("silence", "s-1", "1d", matcher=Matcher("bus-*"), until=moment("2d")))
    handle_all(engine, firing("1d 1h"), ready("1d 2h", "1d 1h"))
    assert reasons(mark(engine, "1d 23h 55m")) == ""
    actions = mark(engine, "2d 5m")
    assert reasons(actions) == "silence_expired incident_opened request_made"
    assert (actions[0].decision.at, requested(actions)) == (moment("2d"), [("bus-099", moment("2d 5m"))])


def test_a_quiet_storm_ends_by_a_mark():
    """Nobody wanted what it held: it is dropped, and the fleet's incident closed."""
    engine = engine_of(storm_models_min=2)
    handle_all(engine, firing("1h", "a"), ready("1h 10m", "1h 10m", "b"))
    assert reasons(mark(engine, "25h 10m")) == ""
    (action,) = mark(engine, "25h 15m")
    assert (action.reason, action.incident.model_id, action.incident.state) == ("quiet", "fleet:headway_s", "closed")
    assert requested(mark(engine, "9d")) == []


def test_a_quiet_source_that_is_held_ends_by_a_mark():
    """So does the incident of a source that waits for a person."""
    engine = engine_of(SOURCES, storm_models_min=2)
    of = {"models": ("bus-1", "bus-2"), "model_count": 2}
    handle_all(engine, ready("1h", "1h", "source:weather", "temp_c", "", **of))
    assert reasons(mark(engine, "25h")) == ""
    (action,) = mark(engine, "25h 5m")
    assert (action.reason, action.incident.model_id) == ("quiet", "source:weather")


def test_a_models_own_incident_is_quiet_by_its_own_time():
    """A model that lags has not been quiet; its incident closes when its next alert shows that it was."""
    engine = engine_of()
    handle_all(engine, firing("1h", "a"))
    assert reasons(mark(engine, "9d")) == ""
    assert reasons(handle_all(engine, firing("2h", "a", "dwell_s"))) == "absorbed waiting_for_data"


def test_a_model_that_lags_behind_the_marks_is_in_its_storm():
    """The first of a storm is taken back by its own time, however far others have come meanwhile."""
    engine = engine_of(storm_models_min=2)
    mark(engine, "9h")
    assert requested(handle_all(engine, ready("1h", "1h", "a"))) == [("a", moment("1h"))]
    actions = handle_all(engine, firing("1h 10m", "b"))
    assert reasons(actions) == "storm_opened withdrawn_by_storm joined_storm waiting_for_data"
    assert engine.state.models["a"].waiting is not None
    assert requested(mark(engine, "10h")) == []


def test_age_is_met_by_an_alert_alone():
    """Time alone triggers no request by age: a shift does, when it happens, and its room may come later."""
    rules = {"*": ModelRules(when=["feature and age"], age_s=86_400.0)}
    engine = engine_of(rules_by_model=rules, requests_per_hour_max=1)
    handle_all(engine, ready("1h", "1h", "a"), ready("1h 1m", "1h 1m", "b"))
    assert reasons(mark(engine, "9d")) == ""
    actions = handle_all(engine, ready("9d 1h", "9d 1h", "a"), ready("9d 1h 1m", "9d 1h 1m", "b"))
    assert requested(actions) == [("a", moment("9d 1h"))]
    assert requested(mark(engine, "9d 2h")) == [("b", moment("9d 2h"))]


@pytest.mark.parametrize("time", ["0s", "8d 2h", "9d"])
def test_a_mark_that_is_late_changes_nothing(time):
    """Time does not go back, and what is due by newer time waits for the next mark that is newer than that."""
    engine = engine_of(requests_per_hour_max=1)
    mark(engine, "9d")
    handle_all(engine, ready("1h", "1h", "a"))
    before = deepcopy(engine.state)
    assert mark(engine, time) == []
    assert engine.state == before
    assert reasons(mark(engine, "9d 5m")) == "expired"


def test_the_last_time_of_the_calendar_is_one_like_others():
    """The budget's hour may end behind it."""
    engine = engine_of(requests_per_hour_max=1)
    last = moment("0s").replace(year=9999, month=12, day=31, hour=23, minute=55)
    engine.handle(Watermark("detect-0", last))
    actions = handle_all(engine, ready("1h", "1h", "a"), ready("2h", "2h", "b"))
    assert requested(actions) == [("a", moment("1h"))]


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.lists(st.integers(0, 60), max_size=12))
def test_marks_bring_no_verdict_and_take_none_away(random, n, halfdays):
    """Where alerts come in order of time, marks of times before them change no request and no state of a model."""
    alerts = sorted(random_alerts(random, n), key=lambda alert: alert.event_time)
    plain, marked = Engine(RetrainSettings()), Engine(RetrainSettings())
    marks = sorted(moment("0s") + (moment("12h") - moment("0s")) * k for k in halfdays)
    for alert in alerts:
        while marks and marks[0] <= alert.event_time:
            marked.handle(Watermark("detect-0", marks.pop(0)))
        plain_actions, marked_actions = plain.handle(alert), marked.handle(alert)
        assert requested(plain_actions) == requested(marked_actions)
    mark(plain, "99d"), mark(marked, "99d")
    assert plain.state.models == marked.state.models
