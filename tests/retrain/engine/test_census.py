"""What the metrics show of the decide fold: requests, incidents, holds and the budget, with their ages."""

from __future__ import annotations

import pytest
from engine_kit import check_story

from retrain.engine.census import OVERDUE_SHARE, census_of, scope_of, tables_of
from retrain.engine.engine import Engine
from retrain.messages.request import Approval
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import firing, moment, ready, said

DAY_S = 86_400
ASKS = RetrainSettings(approval=Approval.REQUIRED, expires_after_s=4 * DAY_S)


def census(engine: Engine) -> dict[tuple[str, ...], float]:
    return census_of(engine.settings, engine.state)


def test_requests_by_state_with_the_age_of_the_oldest():
    """Each open request counts in its state, and the age of a state begins with the last change."""
    engine = Engine(ASKS)
    for model, day in (("a", "1d"), ("b", "2d")):
        engine.handle(ready(day, fired=day, model=model))
    engine.handle(Watermark("detect-0", moment("2d 12h")))
    counts = census(engine)
    assert counts["requests", "requested"] == 2
    assert counts["request_age", "requested"] == 1.5 * DAY_S
    assert counts["requests", "approved"] == counts["request_age", "approved"] == 0
    first = engine.state.models["a"].last_request.request_id
    check_story(engine, (said("approve", first, "2d 12h"), "approved"))
    counts = census(engine)
    assert (counts["requests", "requested"], counts["requests", "approved"]) == (1, 1)
    assert counts["request_age", "requested"] == DAY_S / 2


@pytest.mark.parametrize(("day", "overdue"), [("2d 23h", 0), ("3d 1h", 1)])
def test_a_request_is_overdue_after_half_of_its_time(day, overdue):
    """It expires after four days, so it is overdue after two."""
    engine = Engine(ASKS)
    engine.handle(ready("1d", fired="1d"))
    engine.handle(Watermark("detect-0", moment(day)))
    assert census(engine)["requests_overdue", "requested"] == overdue
    assert OVERDUE_SHARE == 0.5


def test_a_request_that_expired_is_no_longer_counted():
    """Its state is none of those that wait."""
    engine = Engine(ASKS)
    engine.handle(ready("1d", fired="1d"))
    engine.handle(Watermark("detect-0", moment("6d")))
    assert sum(n for key, n in census(engine).items() if key[0] == "requests") == 0


def test_storms_are_held_and_have_an_age():
    """A storm is one open incident of the fleet, held until a person releases it; its models wait."""
    engine = Engine(RetrainSettings(storm_models_min=2, storm_window_s=DAY_S))
    for model in ("a", "b", "c"):
        engine.handle(ready("1d", fired="1d", model=model))
    engine.handle(Watermark("detect-0", moment("1d 6h")))
    counts = census(engine)
    assert counts["held", "fleet"] == counts["incidents_open", "fleet"] == 1
    assert counts["held_age", "fleet"] == counts["incident_age", "fleet"] == DAY_S / 4
    assert counts["waiting", "storm"] > 0
    storm = next(iter(engine.state.storms.values())).incident.incident_id
    engine.handle(said("approve", storm, "1d 6h"))
    assert census(engine)["held", "fleet"] == 0


def test_sources_are_held():
    """A source that many models use waits for a person."""
    sources = {"weather": SourceSettings(models=["a", "b", "c"])}
    engine = Engine(RetrainSettings(storm_models_min=2), None, sources)
    engine.handle(ready("1d", fired="1d", model="source:weather"))
    counts = census(engine)
    assert counts["held", "source"] == counts["incidents_open", "source"] == 1


def test_the_budget_shows_what_is_left():
    """Requests of the last hour of event time count, and those that run; a limit that is not set has no row."""
    engine = Engine(RetrainSettings(requests_per_hour_max=2, running_max=2))
    for model in ("a", "b", "c"):
        engine.handle(ready("1d", fired="1d", model=model))
    counts = census(engine)
    assert (counts["budget_used", "requests_per_hour_max"], counts["budget_left", "requests_per_hour_max"]) == (2, 0)
    assert (counts["budget_used", "running_max"], counts["budget_left", "running_max"]) == (2, 0)
    assert counts["waiting", "budget"] == 1
    engine.handle(Watermark("detect-0", moment("1d 2h")))
    assert census(engine)["budget_used", "requests_per_hour_max"] == 0
    assert not [key for key in census(Engine(RetrainSettings())) if key[0].startswith("budget")]


def test_nothing_is_counted_before_the_first_record():
    """All counts and ages are 0, and no table has a row."""
    engine = Engine(RetrainSettings())
    assert set(census(engine).values()) == {0}
    assert {rows for rows, _ in tables_of(engine.settings, engine.state).values()} == {0}


def test_a_model_with_drift_has_an_open_incident():
    """It is in the table of models, and its incident has an age."""
    engine = Engine(RetrainSettings(models_max=7))
    engine.handle(firing("1d"))
    engine.handle(Watermark("detect-0", moment("1d 1h")))
    assert census(engine)["incidents_open", "model"] == 1
    assert census(engine)["incident_age", "model"] == 3600
    assert tables_of(engine.settings, engine.state)["decide_models"] == (1, 7)


@pytest.mark.parametrize(("name", "scope"), [("bus", "model"), ("source:weather", "source"), ("fleet:speed", "fleet")])
def test_the_scope_of_an_incident(name, scope):
    """The name of its record shows it."""
    assert scope_of(name) == scope
