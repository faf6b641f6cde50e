"""Limits of requests for the sake of the fleet, as timelines: cooldown with back-off, and the budget."""

import pytest
from timeline_kit import reasons, requested

from retrain.engine.engine import Engine
from retrain.messages.action import NoAction, PublishDecision, PublishIncident, PublishRequest
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import firing, moment, ready, said

DAY_S = 86_400.0


def id_in(actions) -> str:
    """The id of the request among the actions."""
    return next(action.request.request_id for action in actions if isinstance(action, PublishRequest))


def test_three_retrains_in_a_row_that_do_not_help_back_off():
    """Each promotion that drift follows makes the cooldown twice as long; one that helps makes it short again."""
    engine = Engine(RetrainSettings(cooldown_s=DAY_S, watch_s=20 * DAY_S))
    day = 1
    for wait in (1, 2, 4, 8):  # days, after no, one, two and three promotions that did not help
        request_id = id_in(engine.handle(ready(f"{day}d", f"{day}d")))
        engine.handle(said("trained", request_id, f"{day}d 1h"))
        engine.handle(said("promote", request_id, f"{day}d 1h"))
        if wait == 8:
            break
        assert reasons(engine.handle(firing(f"{day}d 2h"))).split()[0] == "drifted_again"
        day += 2 * wait
        early = engine.handle(ready(f"{day - 1}d 23h", f"{day - 1}d 23h"))
        assert reasons(early) == "absorbed backing_off"
    assert engine.state.models["bus-099"].unhelpful == 3
    helped = engine.handle(firing(f"{day + 20}d 1h", model="tram-1"))
    assert reasons(helped).split()[0] == "helped"
    assert engine.state.models["bus-099"].unhelpful == 0


@pytest.mark.parametrize(("unhelpful", "days"), [(0, 1), (1, 2), (4, 16), (5, 30), (1_000_000, 30)])
def test_the_cooldown_grows_up_to_its_maximum(unhelpful, days):
    """It doubles by default, up to a month."""
    assert RetrainSettings().cooldown_after(unhelpful) == days * DAY_S
    assert RetrainSettings(cooldown_s=40 * DAY_S).cooldown_after(unhelpful) == 40 * DAY_S
    assert RetrainSettings(cooldown_factor=1).cooldown_after(unhelpful) == DAY_S


def test_a_drift_during_cooldown_waits_for_the_next():
    """The cooldown is named, and an alert after it may trigger a request."""
    engine = Engine(RetrainSettings(cooldown_s=DAY_S, expires_after_s=60))
    assert reasons(engine.handle(ready("1h", "1h"))) == "incident_opened request_made"
    assert reasons(engine.handle(ready("20h", "20h"))) == "expired absorbed cooling_down"
    assert reasons(engine.handle(ready("1d 1h", "1d 1h"))) == "absorbed request_made"


def test_the_budget_of_an_hour_is_spent_and_freed():
    """Two an hour: the third waits with its incident open, and is made by the first alert that shows an hour passed."""
    engine = Engine(RetrainSettings(requests_per_hour_max=2))
    assert reasons(engine.handle(ready("1h", "1h", "a"))) == "incident_opened request_made"
    assert reasons(engine.handle(ready("1h 10m", "1h 10m", "b"))) == "incident_opened request_made"
    assert reasons(engine.handle(ready("1h 20m", "1h 20m", "c"))) == "incident_opened budget_exhausted"
    assert reasons(engine.handle(firing("1h 59m 59s", "x"))) == "incident_opened waiting_for_data"
    actions = engine.handle(firing("2h", "y"))
    assert reasons(actions) == "request_made request_made incident_opened waiting_for_data"
    incident, request = actions[0].incident, actions[1].request
    assert (incident.model_id, incident.request_id, incident.decision) == ("c", request.request_id, "request_made")
    assert request.requested_at == moment("2h")
    assert reasons(engine.handle(ready("2h 5m", "2h 5m", "d"))) == "incident_opened budget_exhausted"


@pytest.mark.parametrize("word", ["failed", "trained", "reject"])
def test_the_budget_of_those_on_the_way_is_freed_by_a_word(word):
    """One at once: the next request is made when the trainer has finished or a person rejects, before the answer."""
    engine = Engine(RetrainSettings(running_max=1))
    request_id = id_in(engine.handle(ready("1h", "1h", "a")))
    assert reasons(engine.handle(ready("2h", "2h", "b"))) == "incident_opened budget_exhausted"
    engine.handle(said("started", request_id, "3h"))
    actions = engine.handle(said(word, request_id, "3h"))
    assert requested(actions) == ["b"]
    assert isinstance(actions[-1], PublishDecision)


def test_a_silent_trainer_frees_the_budget():
    """What expires is not on the way any more."""
    engine = Engine(RetrainSettings(running_max=1, expires_after_s=3600))
    engine.handle(ready("1h", "1h", "a"))
    engine.handle(ready("1h 30m", "1h 30m", "b"))
    assert requested(engine.handle(firing("2h", "x"))) == ["b"]


def test_the_most_urgent_goes_first():
    """Errors before all else, then what moved most, then what is used most, then by name."""
    engine = Engine(RetrainSettings(running_max=1))
    request_id = id_in(engine.handle(ready("1h", "1h", "first")))
    waiting = {
        "small": {"effect": 0.5},
        "busy": {"n_current": 900},
        "b-usual": {},
        "a-usual": {},
        "wrong": {"effect": 0.4, "column": "error"},
        "large": {"effect": 3.0},
    }
    for model, changes in waiting.items():
        assert reasons(engine.handle(ready("2h", "2h", model, **changes))).endswith("budget_exhausted")
    order = []
    while request_id:
        actions = engine.handle(said("failed", request_id, "3h"))
        order += requested(actions)
        request_id = id_in(actions) if requested(actions) else ""
    assert order == ["wrong", "large", "busy", "a-usual", "b-usual", "small"]


def test_a_model_waits_with_its_most_urgent_alert():
    """Later and lesser alerts of a model that waits do not make it wait longer; its evidence names them all."""
    engine = Engine(RetrainSettings(running_max=1))
    request_id = id_in(engine.handle(ready("1h", "1h", "a")))
    engine.handle(ready("2h", "2h", "b", column="error"))
    engine.handle(ready("3h", "3h", "b", effect=0.4))
    engine.handle(ready("3h", "3h", "c", effect=3.0))
    actions = engine.handle(said("failed", request_id, "4h"))
    (request,) = (action.request for action in actions if isinstance(action, PublishRequest))
    assert request.model_id == "b"
    assert request.training_window[0].end_time == moment("2h")
    assert {move.column for move in request.evidence} == {"error", "headway_s"}


def test_a_new_version_does_not_wait_for_its_predecessor():
    """What waited for room is dropped with the version that drifted."""
    engine = Engine(RetrainSettings(running_max=1))
    request_id = id_in(engine.handle(ready("1h", "1h", "a")))
    engine.handle(ready("2h", "2h", "b"))
    engine.handle(firing("3h", "b", version="8"))
    assert requested(engine.handle(said("failed", request_id, "4h"))) == []


def test_settings_that_ask_more_end_the_wait_by_name():
    """The rules decide again when there is room; one that objects now is named, and nothing is published."""
    engine = Engine(RetrainSettings(running_max=1))
    request_id = id_in(engine.handle(ready("1h", "1h", "a")))
    alert = ready("2h", "2h", "b", effect=0.5)
    engine.handle(alert)
    stricter = Engine(RetrainSettings(running_max=1, sd_min=1.0), engine.state)
    noted, _ = stricter.handle(said("failed", request_id, "3h"))
    assert noted == NoAction(alert.alert_id, "effect_too_small")
    assert stricter.state.models["b"].waiting is None


def test_waiting_keeps_an_incident_open():
    """An incident whose request waits for room is not over, however quiet."""
    engine = Engine(RetrainSettings(running_max=1, incident_quiet_s=60))
    engine.handle(ready("1h", "1h", "a"))
    engine.handle(ready("2h", "2h", "b"))
    actions = engine.handle(firing("9h", "b"))
    assert reasons(actions) == "absorbed waiting_for_data"
    assert isinstance(actions[0], PublishIncident)
