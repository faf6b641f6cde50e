"""Drift of a source that models share, as timelines: one incident, and its models get requests or are held."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline_kit import handle_all, reasons, requested

from retrain.engine.engine import Engine
from retrain.messages.action import NoAction, PublishIncident, PublishRequest
from retrain.messages.alert import AlertKind
from retrain.messages.incident import IncidentState
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import firing, moment, random_alerts, ready, said

WEATHER = "source:weather"
SOURCES = {"weather": SourceSettings(["bus-*", "tram-7"])}
BUSES = {"models": ("bus-1", "bus-2"), "model_count": 2}


def engine_of(**changes):
    """An engine for which three models of a source are many."""
    return Engine(RetrainSettings(**{"storm_models_min": 3} | changes), None, SOURCES)


def drift(hour, **changes):
    """The source's temperature moves at this hour, and there is enough of it an hour later."""
    named = {"models": ("bus-1",), "model_count": 1} | changes
    fired = f"{hour}h"
    where = (WEATHER, "temp_c", "")
    return firing(fired, *where, **named), ready(f"{hour + 1}h", fired, *where, **named)


def held():
    """An engine that holds the weather, the id of the incident, and what it did last."""
    engine = engine_of()
    actions = handle_all(engine, *drift(1, **BUSES))
    return engine, actions[-2].incident.incident_id, actions


def test_few_models_are_each_asked_for():
    """One incident, of the source, names its models; each gets a request with the source's stretch and evidence."""
    actions = handle_all(engine_of(), *drift(1))
    assert reasons(actions) == "incident_opened waiting_for_data request_made request_made absorbed request_made"
    assert requested(actions) == ["bus-1", "tram-7"]
    incident = actions[-2].incident
    assert (incident.model_id, incident.model_count, incident.models) == (WEATHER, 2, ("tram-7", "bus-1"))
    request = actions[3].request
    assert (request.incident_id, request.model_version) == (incident.incident_id, "")
    assert [move.column for move in request.evidence] == ["temp_c"]
    assert (request.training_window[0].start_time, request.training_window[0].end_time) == (moment("1h"), moment("2h"))
    assert (incident.alerts, incident.request_id) == (1, request.request_id)


def test_many_models_are_held_until_a_person_approves():
    """No request is made; after approval by the incident's id all are, also for later drift of the incident."""
    engine, incident_id, actions = held()
    assert requested(actions) == []
    assert reasons(actions[-2:]) == "absorbed held_for_source"
    assert actions[-2].incident.decision == "held_for_source"
    actions = engine.handle(said("approve", incident_id, "3h"))
    assert requested(actions) == ["bus-1", "bus-2", "tram-7"]
    assert reasons(actions[-2:]) == "source_released source_released"
    assert (actions[-1].decision.state, actions[-1].decision.model_id) == ("approved", WEATHER)
    assert reasons(engine.handle(said("approve", incident_id, "4h"))) == "no_change"
    assert reasons(engine.handle(said("reject", incident_id, "4h"))) == "too_late"
    assert reasons(handle_all(engine, *drift(5, **BUSES))[-1:]) == "request_open"


def test_an_alert_joins_its_incident_beside_a_request_for_a_source():
    """A request because of a source may come with an alert of the model's own: its incident is published as well."""
    engine = engine_of(requests_per_hour_max=1)
    handle_all(engine, *drift(1), firing("2h", "tram-7", "dwell_s"))
    actions = handle_all(engine, firing("3h 1m", "tram-7", "headway_s", effect=0.1))
    assert [a.request.model_id for a in actions if isinstance(a, PublishRequest)] == ["tram-7"]
    (incident,) = [a.incident for a in actions if isinstance(a, PublishIncident)]
    assert (incident.model_id, incident.decision) == ("tram-7", "effect_too_small")
    assert incident.alert_id == "tram-7:7:headway_s:3h 1m"


def test_a_source_that_is_dismissed_asks_for_nothing_while_its_incident_lasts():
    """After a rejection, this drift and what joins it trigger no requests; after a quiet day drift is judged afresh."""
    engine, incident_id, _ = held()
    actions = engine.handle(said("reject", incident_id, "3h"))
    assert reasons(actions) == "source_dismissed source_dismissed"
    assert reasons(handle_all(engine, *drift(4, **BUSES))[-1:]) == "source_dismissed"
    assert reasons(handle_all(engine, *drift(40, **BUSES))[-1:]) == "held_for_source"


def test_what_nobody_judges_ends_when_it_is_quiet():
    """A day after its last alert the incident is over, and approving of it is too late."""
    engine, incident_id, _ = held()
    actions = engine.handle(firing("1d 3h", "train-1"))
    (closed,) = [a.incident for a in actions if isinstance(a, PublishIncident) and a.incident.model_id == WEATHER]
    assert (closed.incident_id, closed.state, closed.reason) == (incident_id, IncidentState.CLOSED, "quiet")
    assert reasons(engine.handle(said("approve", incident_id, "1d 4h"))) == "unknown_request"


def test_each_model_keeps_to_its_own_rules():
    """A model with an open request gets no other, one promoted since gets none, and budgets hold."""
    engine = engine_of(running_max=2)
    (request,) = [a.request for a in handle_all(engine, ready("1h", "1h", "bus-1")) if isinstance(a, PublishRequest)]
    actions = handle_all(engine, *drift(2))
    assert requested(actions) == ["tram-7"]
    assert reasons(actions[-1:]) == "request_made"
    assert engine.state.models["bus-1"].waiting is None
    engine = engine_of(running_max=1)
    assert requested(handle_all(engine, *drift(2))) == ["bus-1"]
    assert engine.state.models["tram-7"].waiting.alert.column == "temp_c"
    engine = engine_of(cooldown_s=0)
    (request,) = [a.request for a in handle_all(engine, ready("1h", "1h", "bus-1")) if isinstance(a, PublishRequest)]
    fired, became_ready = drift(2)
    handle_all(engine, said("trained", request.request_id, "3h"), said("promote", request.request_id, "3h"))
    assert requested(handle_all(engine, fired, became_ready)) == ["tram-7"]


def test_models_become_known_by_alerts_of_their_own():
    """What fits a pattern and has alerted uses the source, whether before its first alert or since."""
    engine = engine_of(storm_models_min=None)
    handle_all(engine, firing("1h", "bus-8", effect=0.1), *drift(2), firing("4h", "bus-9"), firing("4h", "train-1"))
    actions = handle_all(engine, *drift(5))
    assert actions[-2].incident.models == ("tram-7", "bus-8", "bus-1", "bus-9")


def test_models_that_settings_no_longer_name_are_forgotten():
    """Other patterns rebuild the list of models, and the person's decision stands."""
    engine, incident_id, _ = held()
    engine = Engine(engine.settings, deepcopy(engine.state), {"weather": SourceSettings(["bus-1", "bus-2", "ferry"])})
    actions = handle_all(engine, *drift(3))
    assert actions[-2].incident.models == ("bus-1", "bus-2", "ferry")
    assert actions[-2].incident.incident_id == incident_id


def test_a_source_without_models_asks_for_nothing():
    """A source outside the settings has an incident without models, as before."""
    actions = handle_all(Engine(RetrainSettings()), *drift(1))
    assert reasons(actions[-1:]) == "source_without_model"
    assert (actions[-2].incident.model_count, actions[-2].incident.models) == (1, ())


def test_an_incident_names_a_hundred_models_and_counts_all():
    """For any number of models that use a source, its incident stays small, and all get requests within the budget."""
    sources = {"weather": SourceSettings(["bus-*"])}
    engine = Engine(RetrainSettings(requests_per_hour_max=50), None, sources)
    handle_all(engine, *(firing("1h", f"bus-{i}", f"column-{i}") for i in range(2000)))
    incident = handle_all(engine, *drift(2))[-2].incident
    assert (incident.model_count, len(incident.models)) == (2000, 100)
    assert len(requested(engine.handle(said("approve", incident.incident_id, "4h")))) == 50


@pytest.mark.parametrize("models", [[], ["bus"] * 1001])
def test_models_of_a_source_are_1_to_1000(models):
    """The message names the number of patterns."""
    with pytest.raises(ValueError, match=f"models has {len(models)} names"):
        SourceSettings(models)


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.integers(0, 40), st.sampled_from([None, 2, 3]))
def test_restored_it_goes_on_as_if_never_stopped(random, n, stop, least):
    """An engine on a copy of the state gives the same; each alert has one verdict, each model one open request."""
    sources = {"weather": SourceSettings(["bus-*", "tram"])}
    bounds = {"models_max": random.choice([2, 100]), "running_max": random.choice([None, 1])}
    settings = RetrainSettings(storm_models_min=least, **bounds)
    engine, other = Engine(settings, None, sources), None
    for i, alert in enumerate(random_alerts(random, n)):
        if i == stop:
            other = Engine(settings, deepcopy(engine.state), sources)
        actions = engine.handle(alert)
        assert other is None or other.handle(alert) == actions
        assert isinstance(actions[-1], PublishRequest | NoAction)
        assert not any(isinstance(action, NoAction) and action.alert_id == alert.alert_id for action in actions[:-1])
        assert len(set(requested(actions))) == len(requested(actions))


def test_a_fault_of_a_source_takes_its_requests_back():
    """The source's data prove broken: requests of its models are withdrawn, and its drift triggers none."""
    engine = engine_of()
    handle_all(engine, *drift(1))
    broken = firing("2h 1m", WEATHER, "temp_c", "", kind=AlertKind.MISSING, detector="rate")
    assert reasons(engine.handle(broken)) == "withdrawn_by_data_fault withdrawn_by_data_fault absorbed not_drift"
    assert [engine.state.models[name].last_request.state for name in ("bus-1", "tram-7")] == ["withdrawn"] * 2
    assert reasons(handle_all(engine, *drift(3))) == "absorbed inhibited_by_data_fault absorbed inhibited_by_data_fault"
