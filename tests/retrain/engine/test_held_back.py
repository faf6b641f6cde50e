"""Models that wait and requests that were withdrawn, as timelines: with whose alert, held by whom, to what end."""

from copy import deepcopy

from timeline_kit import handle_all, reasons, requested

from retrain.engine.engine import Engine
from retrain.messages.action import PublishRequest
from retrain.messages.alert import AlertKind
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import firing, moment, ready, said

WEATHER = "source:weather"
SOURCES = {"weather": SourceSettings(["bus-*"])}
BUSES = {"models": ("bus-1", "bus-2"), "model_count": 2}


def engine_of(sources=None, **changes):
    """An engine whose storms take two models."""
    return Engine(RetrainSettings(**{"storm_models_min": 2} | changes), None, sources)


def storm_of(actions) -> str:
    """The id of the storm that was opened."""
    (storm,) = [action.incident.incident_id for action in actions if action.reason == "storm_opened"]
    return storm


def silence(time, until, matcher):
    """Somebody silences what fits."""
    return said("silence", "s-1", time, matcher=matcher, until=moment(until))


def weather(hour):
    """The source's temperature moves at this hour, and there is enough of it an hour later."""
    where = (WEATHER, "temp_c", "")
    return firing(f"{hour}h", *where, **BUSES), ready(f"{hour + 1}h", f"{hour}h", *where, **BUSES)


def test_what_a_dismissed_storm_withdrew_is_not_asked_for_after_a_restart():
    """Two columns break one after the other, a person rejects both storms: there is no request ever after."""
    engine = engine_of(incident_quiet_s=3600.0)
    handle_all(engine, ready("1h", "1h", "a"), firing("1h 1m", "a", "dwell_s"))
    first = storm_of(handle_all(engine, firing("1h 2m", "b")))
    handle_all(engine, said("reject", first, "1h 3m"))
    actions = handle_all(engine, firing("1h 4m", "b", "dwell_s"))
    assert "withdrawn_by_storm" in reasons(actions)
    handle_all(engine, said("reject", storm_of(actions), "1h 5m"))
    handle_all(engine, firing("9h", "c"))
    restarted = Engine(engine.settings, deepcopy(engine.state))
    later = firing("10h", "c")
    actions = engine.handle(later)
    assert actions == restarted.handle(later)
    assert requested(actions) == []


def test_a_model_that_a_storm_withdrew_from_waits_with_it():
    """Its request is withdrawn as the column breaks in others too; after the release it is made with theirs."""
    engine = engine_of(running_max=10)
    assert requested(handle_all(engine, ready("1h", "1h", "a"))) == ["a"]
    storm = storm_of(handle_all(engine, ready("1h 1m", "1h 1m", "b")))
    assert engine.state.models["a"].waiting.alert.model_id == "a"
    assert sorted(requested(engine.handle(said("approve", storm, "2h")))) == ["a", "b"]


def test_a_fault_of_another_column_withdraws_nothing():
    """A request made for one column stands when another column, which is no reason for it, breaks."""
    engine = engine_of(storm_window_s=600.0)
    assert requested(handle_all(engine, ready("1h", "1h", "a"))) == ["a"]
    storm_of(handle_all(engine, firing("2h", "b"), firing("2h", "c")))
    fault = firing("2h 1m", "a", "dwell_s", kind=AlertKind.MISSING, detector="rate", effect_unit="rate")
    assert reasons(engine.handle(fault)) == "absorbed not_drift"


def test_an_old_request_is_not_of_the_first_of_a_storm():
    """Somebody has been at it for days; the storm of today is about today."""
    engine = engine_of(storm_window_s=3600.0, incident_quiet_s=30 * 86_400.0)
    assert requested(handle_all(engine, ready("1h", "1h", "a"))) == ["a"]
    assert "withdrawn" not in reasons(handle_all(engine, firing("5d", "a"), firing("5d 1m", "b")))


def test_a_model_that_waited_for_its_source_waits_for_it_after_a_silence_too():
    """It has not moved itself: no incident of its own, before, during or after."""
    engine = engine_of(SOURCES, storm_models_min=None, running_max=1)
    assert requested(handle_all(engine, *weather(1))) == ["bus-1"]
    actions = handle_all(
        engine,
        silence("3h", "9d", Matcher(model="bus-2")),
        said("reject", engine.state.models["bus-1"].last_request.request_id, "4h"),
    )
    assert requested(actions) == []
    actions = engine.handle(said("unsilence", "s-1", "5h"))
    assert requested(actions) == ["bus-2"]
    assert "incident_opened" not in reasons(actions)
    assert actions[0].request.incident_id == engine.state.models[WEATHER].incident.incident_id


def test_a_silence_of_a_source_holds_back_the_models_that_wait_with_it():
    """No request is made while it lasts."""
    engine = engine_of(SOURCES, storm_models_min=None, running_max=1)
    handle_all(engine, *weather(1), silence("3h", "9d", Matcher(model="source:*")))
    assert engine.state.models["bus-2"].waiting is None
    assert requested(engine.handle(said("reject", engine.state.models["bus-1"].last_request.request_id, "4h"))) == []


def test_a_request_of_its_own_is_asked_again_as_its_own():
    """A source that drifts while it is open changes nothing about what a storm withdraws, and gives back."""
    engine = engine_of(SOURCES, storm_models_min=3, storm_window_s=86_400.0)
    assert requested(handle_all(engine, ready("1h", "1h", "bus-1"))) == ["bus-1"]
    assert requested(handle_all(engine, *weather(2))) == ["bus-2"]
    storm = storm_of(handle_all(engine, ready("4h", "4h", "tram-7"), ready("4h", "4h", "tram-8")))
    actions = engine.handle(said("approve", storm, "5h"))
    (own,) = [a.request for a in actions if isinstance(a, PublishRequest) and a.request.model_id == "bus-1"]
    assert [move.column for move in own.evidence] == ["headway_s"]
    assert own.incident_id == engine.state.models["bus-1"].incident.incident_id


def test_a_silenced_fault_still_inhibits():
    """The fault has no effect of its own, and broken data trigger no request either."""
    engine = engine_of(storm_models_min=None)
    fault = firing("1h 1m", "a", kind=AlertKind.MISSING, detector="rate", effect_unit="rate")
    handle_all(engine, silence("1h", "9d", Matcher(kind=AlertKind.MISSING)))
    assert reasons(engine.handle(fault)) == "silence_updated silenced"
    assert reasons(engine.handle(ready("1h 2m", "1h 2m", "a"))) == "incident_opened inhibited_by_data_fault"


def test_a_model_that_is_forgotten_while_its_alert_is_folded_starts_again():
    """A silence ends, its source needs more models than there is room for, and the one at hand is evicted."""
    engine = Engine(RetrainSettings(models_max=2, cooldown_s=0.0), None, SOURCES)
    assert requested(handle_all(engine, ready("1h", "1h", "train-1"))) == ["train-1"]
    handle_all(engine, silence("2h", "1d", Matcher(model="source:*")))
    handle_all(engine, ready("4h", "3h", WEATHER, "temp_c", "", **BUSES), ready("1d 1h", "1d 1h", "train-1"))
    restarted = Engine(engine.settings, deepcopy(engine.state), SOURCES)
    again = ready("60d", "60d", "train-1")
    actions = engine.handle(again)
    assert actions == restarted.handle(again)
    assert requested(actions) == ["train-1"]
