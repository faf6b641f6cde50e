"""Storms, as timelines: one column moves in many models, which is one incident and no request until its release."""

import time
from copy import deepcopy

import pytest
from timeline_kit import handle_all, reasons, requested

from retrain.engine.engine import Engine
from retrain.messages.action import PublishDecision, PublishIncident, PublishRequest
from retrain.messages.incident import IncidentState
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import firing, moment, ready, said

FEW = {"storm_models_min": 3, "storm_window_s": 3600.0}


def still_open(actions) -> list[str]:
    """The models of incidents that are open after these actions."""
    last = {a.incident.incident_id: a.incident for a in actions if isinstance(a, PublishIncident)}
    return [incident.model_id for incident in last.values() if incident.state is IncidentState.OPEN]


def storm(**changes):
    """An engine in a storm of `a`, `b` and `c`, its incident's id, and the actions so far."""
    engine = Engine(RetrainSettings(**FEW | changes))
    actions = handle_all(engine, firing("1h", "a"), firing("1h 10m", "b"), firing("1h 20m", "c"))
    (opened,) = [a.incident for a in actions if a.reason == "storm_opened"]
    return engine, opened.incident_id, actions


def test_a_storm_is_one_incident():
    """The third model within the hour makes it a storm, which takes the place of the incidents of the first two."""
    _, incident_id, actions = storm()
    assert reasons(actions[-4:]) == "storm_opened joined_storm joined_storm waiting_for_data"
    incident = actions[-4].incident
    assert (incident.model_id, incident.model_count, incident.models) == ("fleet:headway_s", 3, ("a", "b", "c"))
    assert (incident.incident_id, incident.opened_at, incident.alerts) == (incident_id, moment("1h 20m"), 3)
    assert still_open(actions) == ["fleet:headway_s"]


@pytest.mark.parametrize(
    "records",
    [
        (firing("1h", "a"), firing("1h 30m", "b"), firing("2h 1s", "c")),
        (firing("1h", "a"), firing("1h 1m", "b"), firing("1h 2m", "c", column="dwell_s")),
        (firing("1h", "a"), firing("1h 1m", "b"), firing("1h 2m", "b")),
        (firing("1h", "a"), firing("1h 1m", "b"), firing("1h 2m", "c", effect=0.1)),
        (firing("1h", "a"), firing("1h 1m", "b"), firing("1h 2m", "source:c")),
    ],
    ids=["too slowly", "another column", "one model twice", "too little", "a source"],
)
def test_what_is_no_storm(records):
    """Models that drift one after another, in other columns, or by little, are each their own incident."""
    assert "storm_opened" not in reasons(handle_all(Engine(RetrainSettings(**FEW)), *records))
    switched_off = Engine(RetrainSettings(storm_models_min=None))
    assert "storm_opened" not in reasons(handle_all(switched_off, *(firing("1h", f"m-{i}") for i in range(300))))


def test_a_storm_asks_for_nothing_until_it_is_released():
    """What is worth a retrain waits; then each model gets a request, with an incident of its own that names why."""
    engine, incident_id, _ = storm()
    actions = handle_all(engine, ready("2h", "1h", "a"), ready("2h", "1h 10m", "b", effect=3.0), firing("2h", "d"))
    assert reasons(actions) == "held_by_storm held_by_storm waiting_for_data"
    actions = engine.handle(said("approve", incident_id, "3h", comment="the timetable has changed"))
    assert requested(actions) == ["b", "a"]
    assert reasons(actions[-2:]) == "storm_released storm_released"
    closed, answer = actions[-2].incident, actions[-1].decision
    assert (closed.state, closed.model_count) == (IncidentState.CLOSED, 4)
    assert (answer.request_id, answer.state, answer.actor) == (incident_id, "approved", "ann")
    assert still_open(actions) == ["b", "a"]
    assert reasons(engine.handle(ready("3h", "1h 20m", "c"))) == "incident_opened request_made"


def test_a_released_storm_keeps_to_the_budget():
    """What was held goes by urgency, as much as there is room for."""
    engine, incident_id, _ = storm(running_max=1)
    handle_all(
        engine, ready("2h", "1h", "a"), ready("2h", "1h 10m", "b", effect=3.0), ready("2h", "1h 20m", "c", effect=2.0)
    )
    actions = engine.handle(said("approve", incident_id, "3h"))
    assert requested(actions) == ["b"]
    request_id = actions[1].request.request_id
    assert requested(engine.handle(said("failed", request_id, "3h"))) == ["c"]


def test_a_dismissed_storm_asks_for_nothing():
    """The data was broken: what waited is dropped, and so are its later alerts; other columns go on."""
    engine, incident_id, _ = storm()
    handle_all(engine, ready("2h", "1h", "a"))
    actions = engine.handle(said("reject", incident_id, "3h", comment="a sensor failed"))
    assert reasons(actions) == "storm_dismissed storm_dismissed"
    assert engine.state.models["a"].waiting is None
    assert reasons(engine.handle(ready("3h", "1h 20m", "c"))) == "held_by_storm"
    assert reasons(engine.handle(ready("4h", "4h", "c", column="dwell_s"))) == "incident_opened request_made"


def test_only_the_first_word_about_a_storm_counts():
    """Release and dismissal exclude each other; other words are not for storms."""
    engine, incident_id, _ = storm()
    assert reasons(engine.handle(said("trained", incident_id, "2h"))) == "too_late"
    engine.handle(said("approve", incident_id, "2h"))
    assert reasons(engine.handle(said("approve", incident_id, "2h", "bob"))) == "no_change"
    assert reasons(engine.handle(said("reject", incident_id, "2h", "bob"))) == "too_late"


def test_a_storm_that_nobody_judges_ends_when_it_is_quiet():
    """A day without its alerts closes it and drops what it held; the next drift is its model's own again."""
    engine, incident_id, _ = storm()
    handle_all(engine, ready("2h", "1h", "a"))
    actions = engine.handle(firing("1d 2h 1s", "x", column="dwell_s"))
    assert reasons(actions) == "quiet incident_opened waiting_for_data"
    assert (actions[0].incident.incident_id, actions[0].incident.state) == (incident_id, IncidentState.CLOSED)
    assert engine.state.models["a"].waiting is None
    assert reasons(engine.handle(said("approve", incident_id, "1d 3h"))) == "unknown_request"
    assert reasons(engine.handle(ready("1d 4h", "1d 4h", "a"))) == "incident_opened request_made"


def test_a_released_storm_does_not_break_out_again_at_once():
    """Until it is quiet, its column's alerts are their models' own; after that, many models are a storm again."""
    engine, incident_id, _ = storm()
    engine.handle(said("approve", incident_id, "2h"))
    assert "storm_opened" not in reasons(handle_all(engine, *(firing("3h", name) for name in "defgh")))
    assert "storm_opened" in reasons(handle_all(engine, *(firing("2d", name) for name in "ijk")))


def test_a_storm_leaves_other_incidents_and_requests_alone():
    """An incident with other columns, or in training, stays; so does what a model waits for because of them."""
    engine = Engine(RetrainSettings(**FEW, running_max=1))
    (request,) = (a.request for a in engine.handle(ready("1h", "1h", "a")) if isinstance(a, PublishRequest))
    handle_all(engine, said("started", request.request_id, "1h"))
    handle_all(engine, ready("1h", "1h", "b", column="dwell_s"), firing("1h", "b"))
    actions = handle_all(engine, firing("1h 10m", "c"), ready("2h", "1h", "b", effect=3.0))
    assert "joined_storm" not in reasons(actions)
    assert engine.state.models["b"].waiting.alert.column == "dwell_s"
    source = engine.handle(firing("2h", "source:weather"))
    assert reasons(source) == "incident_opened source_without_model"


def test_a_promotion_is_not_judged_by_a_storm():
    """A storm is no verdict on one retrain."""
    engine = Engine(RetrainSettings(**FEW))
    (request_id,) = (
        a.request.request_id for a in engine.handle(ready("1h", "1h", "a")) if isinstance(a, PublishRequest)
    )
    handle_all(engine, said("trained", request_id, "2h"), said("promote", request_id, "2h"))
    handle_all(engine, firing("3h", "b"), firing("3h", "c"), firing("3h", "d"), firing("3h", "a"))
    assert engine.state.models["a"].last_request.state == "watching"


def test_an_incident_that_a_storm_closed_is_reopened():
    """Released, what a model waited with belongs to the incident in which it fired, under the same id."""
    engine, incident_id, actions = storm()
    before = next(a.incident for a in actions if isinstance(a, PublishIncident) and a.incident.model_id == "a")
    engine.handle(ready("2h", "1h", "a"))
    opened, request, *_ = engine.handle(said("approve", incident_id, "3h"))
    assert (opened.incident.incident_id, opened.incident.state) == (before.incident_id, IncidentState.OPEN)
    assert opened.incident.opened_at == moment("1h")
    assert request.request.incident_id == before.incident_id


def test_columns_that_alerted_longest_ago_make_room():
    """At most `storm_columns_max` columns are counted."""
    engine = Engine(RetrainSettings(**FEW, storm_columns_max=2))
    for i in range(9):
        engine.handle(firing(f"{i}h", "a", column=f"column-{i}"))
    assert list(engine.state.columns) == ["column-7", "column-8"]


def test_a_storm_of_sixteen_thousand_models():
    """All alert at once, and are ready later: one incident is open, in few records, and there is no request.

    Released, requests go by urgency within the budget. It takes less than a second, the best of three.
    """
    models = [f"bus-{i:05}" for i in range(16_000)]
    fired = [firing("1h", name) for name in models]
    became_ready = [ready("2h", "1h", name, effect=1.0 + i % 7) for i, name in enumerate(models)]
    took_s = []
    for _ in range(3):
        engine = Engine(RetrainSettings(requests_per_hour_max=50))
        started_s = time.process_time()
        actions = handle_all(engine, *fired)
        took_s.append(time.process_time() - started_s)
    assert min(took_s) < 1.0
    actions += handle_all(engine, *became_ready)
    assert requested(actions) == []
    assert still_open(actions) == ["fleet:headway_s"]
    of_the_storm = [a.incident for a in actions if isinstance(a, PublishIncident) and a.incident.model_count > 1]
    assert len(of_the_storm) < 10
    assert len(of_the_storm[-1].models) == 100
    released = deepcopy(engine).handle(said("approve", of_the_storm[0].incident_id, "3h"))
    assert len(requested(released)) == 50
    assert all(int(name[4:]) % 7 == 6 for name in requested(released))
    assert isinstance(released[-1], PublishDecision)
