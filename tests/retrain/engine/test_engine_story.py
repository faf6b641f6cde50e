"""The engine, as timelines: each alert, and the actions that follow."""

from dataclasses import replace

import pytest
from engine_kit import check_story

from retrain.engine.engine import Engine
from retrain.messages.action import NoAction, PublishIncident, PublishRequest
from retrain.messages.incident import IncidentState
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import firing, moment, place, ready

NO_WAIT = RetrainSettings(cooldown_s=0, expires_after_s=1)


def incident_in(actions):
    """The last incident among the actions."""
    return [action.incident for action in actions if isinstance(action, PublishIncident)][-1]


def request_in(actions):
    """The one request among the actions."""
    (request,) = (action.request for action in actions if isinstance(action, PublishRequest))
    return request


def test_a_drift_becomes_one_incident_and_one_request():
    """An alert opens an incident when it fires and triggers a request when it is ready."""
    engine = Engine(RetrainSettings())
    opened = incident_in(check_story(engine, (firing("1d"), "incident_opened waiting_for_data")))
    assert (opened.state, opened.alerts, opened.request_id) == (IncidentState.OPEN, 1, None)
    assert opened.opened_at == opened.last_alert_at == moment("1d")

    actions = check_story(engine, (ready("1d 1h", fired="1d"), "absorbed request_made"))
    request, incident = request_in(actions), incident_in(actions)
    assert incident.incident_id == opened.incident_id == request.incident_id
    assert incident.request_id == request.request_id
    assert incident.alerts == 1
    assert incident.decision == "request_made"


def test_the_request_names_the_exact_data_to_train_on():
    """The window goes from the onset, inclusive, to one beyond the event with which there was enough."""
    engine = Engine(RetrainSettings(expires_after_s=3600))
    alert = ready("2h", fired="1h", onset=place("50m"))
    request = request_in(check_story(engine, (alert, "incident_opened request_made")))
    (window,) = request.training_window
    assert (window.topic, window.partition) == ("bus.predictions", 0)
    assert (window.start_offset, window.end_offset) == (50 * 60, 2 * 3600 + 1)
    assert (window.start_time, window.end_time) == (moment("50m"), moment("2h"))
    assert (request.requested_at, request.expires_at) == (moment("2h"), moment("3h"))
    assert (request.model_id, request.model_version) == ("bus-099", "7")
    assert request.request_id.startswith("retrain-bus-099-")


def test_a_window_never_ends_before_it_starts():
    """Where the last event is a late one, the times still make a stretch; the offsets are exact as ever."""
    late = replace(place("2h"), event_time=moment("30m"))
    request = request_in(Engine(RetrainSettings()).handle(ready("2h", fired="1h", ready_at=late)))
    (window,) = request.training_window
    assert window.start_time == window.end_time == moment("1h")
    assert window.start_offset < window.end_offset


def test_many_columns_make_one_incident():
    """Alerts of other columns join the incident; what moved most stands first, whatever the unit."""
    engine = Engine(RetrainSettings())
    actions = check_story(
        engine,
        (firing("1h", effect=0.5), "incident_opened waiting_for_data"),
        (firing("2h", column="dwell_s", effect=0.9, effect_unit="ks_distance"), "absorbed waiting_for_data"),
        (firing("3h", column="temp_c", effect=3.0), "absorbed waiting_for_data"),
        (firing("4h", column="temp_c", effect=1.0), "absorbed waiting_for_data"),
    )
    incident = incident_in(actions)
    assert [(move.column, move.effect) for move in incident.columns] == [
        ("dwell_s", 0.9),
        ("temp_c", 3.0),
        ("headway_s", 0.5),
    ]
    assert incident.alerts == 4
    assert incident.last_alert_at == moment("4h")


def test_only_the_strongest_columns_are_kept():
    """An incident stays small however many columns a model has, and evidence still holds the triggering alert."""
    engine = Engine(RetrainSettings(columns_max=2))
    for i in range(1, 6):
        engine.handle(firing(f"{i}h", column=f"column-{i}", effect=float(i)))
    actions = check_story(engine, (ready("7h", fired="1h", column="column-1", effect=1.0), "absorbed request_made"))
    assert [move.column for move in incident_in(actions).columns] == ["column-5", "column-4"]
    assert [move.column for move in request_in(actions).evidence] == ["column-5", "column-4", "column-1"]


def test_a_small_effect_asks_for_nothing():
    """A shift below the minimum of its unit joins the incident and triggers no request, by name."""
    check_story(
        Engine(RetrainSettings(sd_min=0.3, ks_distance_min=0.1, tv_distance_min=0.1)),
        (firing("1h", effect=0.29), "incident_opened effect_too_small"),
        (ready("2h", fired="1h", effect=0.29), "absorbed effect_too_small"),
        (ready("3h", fired="3h", effect=0.09, effect_unit="ks_distance"), "absorbed effect_too_small"),
        (ready("4h", fired="4h", effect=0.09, effect_unit="tv_distance"), "absorbed effect_too_small"),
        (ready("5h", fired="5h", effect=0.1, effect_unit="tv_distance"), "absorbed request_made"),
    )


def test_one_open_request_a_model():
    """While a request is open no other is made for its model, and other models do not care."""
    check_story(
        Engine(RetrainSettings(cooldown_s=0, expires_after_s=86_400)),
        (ready("1h", fired="1h"), "incident_opened request_made"),
        (ready("2h", fired="2h", column="dwell_s"), "absorbed request_open"),
        (ready("3h", fired="3h", model="bus-100"), "incident_opened request_made"),
        (ready("1d 59m 59s", fired="1d"), "absorbed request_open"),
        (ready("1d 1h", fired="1d 1h"), "expired absorbed request_made"),
    )


def test_a_model_cools_down():
    """After a request has expired, the cooldown still counts from when it was made."""
    check_story(
        Engine(RetrainSettings(cooldown_s=2 * 86_400, expires_after_s=60)),
        (ready("1h", fired="1h"), "incident_opened request_made"),
        (ready("1d", fired="1d"), "expired absorbed cooling_down"),
        (ready("2d 59m 59s", fired="2d"), "absorbed cooling_down"),
        (ready("2d 1h", fired="2d 1h"), "absorbed request_made"),
    )


def test_a_blocked_request_is_not_remembered():
    """What was held back by an open request comes again only with the next alert that is ready."""
    check_story(
        Engine(RetrainSettings(cooldown_s=0, expires_after_s=3600)),
        (ready("1h", fired="1h"), "incident_opened request_made"),
        (ready("1h 30m", fired="1h 30m"), "absorbed request_open"),
        (firing("3h", column="dwell_s"), "expired absorbed waiting_for_data"),
        (ready("4h", fired="3h", column="dwell_s"), "absorbed request_made"),
    )


def test_a_source_has_nothing_to_retrain():
    """Drift of a shared source makes an incident and no request."""
    check_story(
        Engine(RetrainSettings()),
        (firing("1h", model="source:weather"), "incident_opened source_without_model"),
        (ready("2h", "1h", "source:weather"), "absorbed source_without_model"),
    )


def test_a_repeated_alert_changes_nothing():
    """The alerts topic may repeat a stretch; each repeat is named and has no other consequence."""
    engine = Engine(NO_WAIT)
    a, b = firing("1h"), ready("2h", fired="1h")
    check_story(
        engine,
        (a, "incident_opened waiting_for_data"),
        (b, "absorbed request_made"),
        (firing("3h"), "expired absorbed waiting_for_data"),
        (a, "duplicate"),
        (b, "duplicate"),
        (firing("3h"), "duplicate"),
        (ready("4h", fired="3h"), "absorbed request_made"),
    )


def test_partitions_count_for_themselves():
    """Offsets of two partitions do not compare, so neither alert counts as a repeat."""
    elsewhere = place("1h", partition=1)
    check_story(
        Engine(RetrainSettings()),
        (firing("2h"), "incident_opened waiting_for_data"),
        (firing("1h", at=elsewhere, onset=elsewhere), "absorbed waiting_for_data"),
    )


def test_two_detectors_may_notice_the_same_event():
    """Detectors of one column count for themselves, so the second is no repeat of the first."""
    engine = Engine(RetrainSettings())
    check_story(engine, (firing("1h"), "incident_opened waiting_for_data"))
    actions = check_story(engine, (firing("1h", detector="ks_window", alert_id="other"), "absorbed waiting_for_data"))
    assert [move.detector for move in incident_in(actions).columns] == ["adwin", "ks_window"]


def test_a_quiet_incident_ends_with_the_next_alert():
    """An incident without alert for long is closed, and the alert that comes then opens its own."""
    engine = Engine(RetrainSettings(incident_quiet_s=86_400))
    first = incident_in(check_story(engine, (firing("1h"), "incident_opened waiting_for_data")))
    check_story(engine, (firing("1d 1h"), "absorbed waiting_for_data"))
    actions = check_story(engine, (firing("2d 1h 1s"), "quiet incident_opened waiting_for_data"))
    closed, opened = (action.incident for action in actions if isinstance(action, PublishIncident))
    assert (closed.incident_id, closed.state) == (first.incident_id, IncidentState.CLOSED)
    assert closed.last_alert_at == moment("1d 1h")
    assert opened.incident_id != first.incident_id
    assert opened.opened_at == moment("2d 1h 1s")


def test_an_open_request_keeps_its_incident_open():
    """An incident whose request is open is not over, however quiet."""
    check_story(
        Engine(RetrainSettings(incident_quiet_s=3600, expires_after_s=86_400)),
        (ready("1h", fired="1h"), "incident_opened request_made"),
        (firing("20h"), "absorbed waiting_for_data"),
        (firing("1d 2h"), "expired quiet incident_opened waiting_for_data"),
    )


def test_an_alert_becomes_ready_where_it_fired():
    """A model with few events may need long to be ready; that is no new incident."""
    check_story(
        Engine(RetrainSettings(incident_quiet_s=3600)),
        (firing("1h"), "incident_opened waiting_for_data"),
        (ready("9d", fired="1h"), "absorbed request_made"),
    )


def test_a_new_version_closes_the_incident():
    """The first alert of a newer version opens an incident of its own; the open request stays open."""
    engine = Engine(RetrainSettings())
    check_story(engine, (ready("1h", fired="1h"), "incident_opened request_made"))
    actions = check_story(engine, (ready("2h", fired="2h", version="8"), "new_version incident_opened request_open"))
    closed, opened = (action.incident for action in actions if isinstance(action, PublishIncident))
    assert (closed.model_version, closed.state) == ("7", IncidentState.CLOSED)
    assert (opened.model_version, opened.state) == ("8", IncidentState.OPEN)


def test_an_older_version_is_left_alone():
    """A version that has been superseded may drift on: it makes neither incident nor request."""
    old = firing("1h")
    check_story(
        Engine(NO_WAIT),
        (old, "incident_opened waiting_for_data"),
        (firing("2h", version="8"), "new_version incident_opened waiting_for_data"),
        (ready("3h", fired="1h"), "older_version"),
        (old, "older_version"),
        (firing("1h 30m", version="6"), "older_version"),
        (firing("9h", version="6"), "older_version"),
        (ready("4h", fired="2h", version="8"), "absorbed request_made"),
    )


def test_an_alert_without_version_is_of_the_newest():
    """Events that name no version are taken to be of the newest one that has a name."""
    engine = Engine(RetrainSettings())
    check_story(engine, (firing("1h", version=""), "incident_opened waiting_for_data"))
    assert incident_in(check_story(engine, (firing("2h"), "absorbed waiting_for_data"))).model_version == "7"
    actions = check_story(engine, (ready("3h", fired="1h", version=""), "absorbed request_made"))
    assert request_in(actions).model_version == "7"


def test_a_late_alert_does_not_turn_back_time():
    """A late alert neither shortens the cooldown nor moves the incident's times backwards."""
    engine = Engine(RetrainSettings(cooldown_s=3600, expires_after_s=1))
    check_story(engine, (ready("9h", fired="9h"), "incident_opened request_made"))
    late = ready("10h", fired="10h", ready_at=replace(place("10h"), event_time=moment("2h")))
    incident = incident_in(check_story(engine, (late, "absorbed request_open")))
    assert incident.last_alert_at == moment("9h")
    check_story(engine, (ready("10h 1s", fired="10h 1s"), "expired absorbed request_made"))


@pytest.mark.parametrize(
    "ready_at", [None, place("2h", topic="bus.labels"), place("2h", partition=1), place("30m")], ids=str
)
def test_a_request_needs_a_training_window(ready_at):
    """Unless onset and end are two places of one topic-partition, in order, there are no exact data to request."""
    alert = ready("2h", fired="1h", ready_at=ready_at)
    check_story(Engine(RetrainSettings()), (alert, "incident_opened no_training_window"))


def test_the_model_that_alerted_longest_ago_makes_room():
    """Beyond `models_max` a model is forgotten, and its open incident is closed so that no reader waits for it."""
    engine = Engine(RetrainSettings(models_max=2))
    check_story(
        engine,
        (firing("1h", model="a"), "incident_opened waiting_for_data"),
        (firing("2h", model="b"), "incident_opened waiting_for_data"),
        (firing("3h", model="a"), "absorbed waiting_for_data"),
    )
    actions = check_story(engine, (firing("4h", model="c"), "model_evicted incident_opened waiting_for_data"))
    assert actions[0].incident.model_id == "b"
    assert list(engine.state.models) == ["a", "c"]


def test_a_request_at_the_end_of_time_expires_there():
    """The calendar ends with the year 9999; an expiry beyond it is its last moment."""
    end = replace(place("1h"), event_time=moment("1h").replace(year=9999, month=12, day=31))
    request = request_in(Engine(RetrainSettings()).handle(ready("1h", fired="1h", ready_at=end)))
    assert request.expires_at.year == 9999
    assert request.expires_at > request.requested_at


def test_a_noted_alert_is_named():
    """Where an alert leads to no request, the action names the alert."""
    (_, noted) = Engine(RetrainSettings()).handle(firing("1h"))
    assert noted == NoAction(firing("1h").alert_id, noted.reason)
