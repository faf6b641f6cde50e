"""Silences, as timelines: what they suppress, for how long, and what follows when they end."""

from random import Random

import msgspec
import pytest
from engine_kit import check_story
from hypothesis import given
from hypothesis import strategies as st

from retrain.engine import silences
from retrain.engine.engine import Engine
from retrain.messages.action import NoAction, PublishDecision, PublishIncident, PublishRequest
from retrain.messages.alert import AlertKind
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState
from streamer.testing.alerts import firing, moment, random_alerts, ready, said

SETTINGS = RetrainSettings(storm_models_min=3)
HEADWAY = Matcher(model="bus-*", column="headway_s")


def silence(time="1d", until="2d", matcher=HEADWAY, name="s-1", **changes):
    """Somebody silences what fits `matcher`."""
    return said("silence", name, time, matcher=matcher, until=moment(until), **changes)


def unsilence(time, name="s-1"):
    """Somebody ends a silence."""
    return said("unsilence", name, time)


def engine_after(*story, settings=SETTINGS, engine=None):
    """The engine that got the records, and its last actions; see `check_story`."""
    engine = engine or Engine(settings)
    return engine, check_story(engine, *story)


def test_what_is_silenced_opens_no_incident_and_asks_for_nothing():
    """Firing and ready of it are kept back by name; other columns, models and kinds go their way."""
    engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (ready("1d 2h", fired="1d 1h"), "silence_updated silenced"),
        (firing("1d 2h", column="dwell_s"), "incident_opened waiting_for_data"),
        (firing("1d 2h", model="tram-1"), "incident_opened waiting_for_data"),
    )
    engine_after(
        (silence(matcher=Matcher(kind=AlertKind.MISSING)), "silence_began"),
        (firing("1d 1h"), "incident_opened waiting_for_data"),
        (firing("1d 2h", column="dwell_s", kind=AlertKind.MISSING), "silence_updated silenced"),
    )


def test_a_silence_that_expires_while_it_is_firing_hands_on_what_it_kept():
    """The first alert of any model after `until` shows that it is over; then the kept alert opens its incident."""
    engine, actions = engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (firing("1d 23h 59m 59s", model="tram-1"), "incident_opened waiting_for_data"),
        (
            firing("2d", model="tram-1", column="dwell_s"),
            "silence_expired incident_opened waiting_for_data absorbed waiting_for_data",
        ),
    )
    incident = actions[1].incident
    assert (incident.model_id, incident.opened_at, incident.alerts) == ("bus-099", moment("2d"), 1)
    engine_after((ready("2d 1h", fired="1d 1h"), "absorbed request_made"), engine=engine)


def test_a_silence_that_is_ended_while_it_is_ready_lets_the_request_be_made():
    """An alert that became ready meanwhile triggers a request at once, with its own window, by the fleet's time."""
    _, actions = engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (ready("1d 2h", fired="1d 1h"), "silence_updated silenced"),
        (firing("1d 3h", model="tram-1"), "incident_opened waiting_for_data"),
        (unsilence("1d 3h"), "incident_opened request_made silence_ended"),
    )
    request = next(a.request for a in actions if isinstance(a, PublishRequest))
    assert request.requested_at == moment("1d 3h")
    assert request.training_window[0].end_time == moment("1d 2h")
    decision = actions[-1].decision
    assert (decision.silence.alerts, decision.silence.is_over, decision.actor) == (2, True, "ann")


def test_what_fired_before_the_silence_joins_its_incident_after_it():
    """An incident that is open stays so; its alert's `ready` is kept, and joins it without counting twice."""
    _, actions = engine_after(
        (firing("1d"), "incident_opened waiting_for_data"),
        (silence(), "silence_began"),
        (ready("1d 2h", fired="1d"), "silence_updated silenced"),
        (unsilence("1d 3h"), "absorbed request_made silence_ended"),
    )
    assert next(a.incident.alerts for a in actions if isinstance(a, PublishIncident)) == 1


def test_what_waits_for_room_waits_for_the_silence():
    """A model that waits for the fleet's budget does not slip through a silence that begins meanwhile."""
    settings = RetrainSettings(requests_per_hour_max=1)
    engine_after(
        (ready("1h", "1h", "tram-1"), "incident_opened request_made"),
        (ready("1h 1s", "1h 1s"), "incident_opened budget_exhausted"),
        (silence("1h 2s", "5h"), "silence_began"),
        (firing("3h", "tram-2"), "incident_opened waiting_for_data"),
        (unsilence("3h"), "absorbed request_made silence_ended"),
        settings=settings,
    )


def test_what_is_silenced_makes_no_storm_until_the_silence_ends():
    """A sensor that is known to be broken opens no incident; still broken when the silence ends, it is one incident."""
    engine, _ = engine_after((silence(), "silence_began"))
    for i in range(5):
        assert engine.handle(firing("1d 1h", model=f"bus-{i}"))[-1].reason == "silenced"
    engine_after(
        (
            unsilence("1d 3h"),
            "incident_opened waiting_for_data incident_opened waiting_for_data "
            "storm_opened joined_storm joined_storm waiting_for_data waiting_for_data waiting_for_data silence_ended",
        ),
        engine=engine,
    )


def test_what_a_promotion_or_version_has_overtaken_is_passed_over():
    """Kept alerts of a superseded version change nothing when the silence ends, and name why."""
    engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (firing("1d 2h", column="dwell_s", version="8"), "incident_opened waiting_for_data"),
        (unsilence("1d 3h"), "older_version silence_ended"),
    )
    engine, actions = engine_after((ready("20h", fired="20h", version=""), "incident_opened request_made"))
    request_id = actions[-1].request.request_id
    engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h", version=""), "silence_updated silenced"),
        (said("trained", request_id, "1d 2h"), "trained"),
        (said("promote", request_id, "1d 2h"), "promoted promoted"),
        (unsilence("1d 3h"), "before_promotion silence_ended"),
        engine=engine,
    )


def test_drift_that_is_silenced_is_no_verdict():
    """The watch of a promoted model does not end with drift that is silenced."""
    engine, actions = engine_after((ready("20h", fired="20h", version=""), "incident_opened request_made"))
    request_id = actions[-1].request.request_id
    engine_after(
        (said("trained", request_id, "1d"), "trained"),
        (said("promote", request_id, "1d"), "promoted promoted"),
        (silence("1d 1h"), "silence_began"),
        (firing("1d 2h", version=""), "silence_updated silenced"),
        (unsilence("1d 3h"), "drifted_again incident_opened waiting_for_data silence_ended"),
        engine=engine,
    )


def test_said_twice_or_out_of_order_it_counts_once():
    """A repeat is answered and revives nothing, an end before the beginning names nothing, and what is over is."""
    engine_after(
        (unsilence("1d"), "unknown_silence"),
        (silence(), "silence_began"),
        (silence(until="3d"), "no_change"),
        (unsilence("1d 1h"), "silence_ended"),
        (unsilence("1d 1h"), "no_change"),
        (silence(), "no_change"),
        (firing("1d 2h"), "incident_opened waiting_for_data"),
        (firing("2d", column="dwell_s"), "absorbed waiting_for_data"),
        (silence(), "too_late"),
        (unsilence("2d"), "unknown_silence"),
        (said("approve", "s-1", "2d"), "unknown_request"),
    )


def test_of_two_silences_the_longer_one_holds():
    """An alert that two silences fit is judged when neither fits it any more."""
    engine_after(
        (silence(), "silence_began"),
        (silence(name="s-2", until="3d", matcher=Matcher(column="headway_s")), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (firing("2d", model="tram-1", column="dwell_s"), "silence_expired incident_opened waiting_for_data"),
        (unsilence("2d 1h", "s-2"), "incident_opened waiting_for_data silence_ended"),
    )


def test_a_repeated_alert_is_silenced_once():
    """What the alerts topic repeats is known during the silence and after it; nothing is decided twice."""
    engine_after(
        (silence(), "silence_began"),
        (firing("1d 1h"), "silence_updated silenced"),
        (firing("1d 1h"), "duplicate"),
        (unsilence("1d 3h"), "incident_opened waiting_for_data silence_ended"),
        (firing("1d 1h"), "duplicate"),
    )


def test_silences_and_what_they_keep_are_bounded(monkeypatch):
    """Beyond the bounds a silence is refused and the alert silenced longest ago dropped, each by name."""
    monkeypatch.setattr(silences, "SILENCES_MAX", 2)
    monkeypatch.setattr(silences, "SUPPRESSED_MAX", 1)
    engine_after(
        (silence(), "silence_began"),
        (silence(name="s-2"), "silence_began"),
        (silence(name="s-3"), "too_many_silences"),
        (firing("1d 1h"), "silence_updated silenced"),
        (firing("1d 2h", model="bus-1"), "silenced_dropped silence_updated silenced"),
        (unsilence("1d 3h", "s-2"), "silence_ended"),
        (silence(name="s-3"), "silence_began"),
        (unsilence("1d 3h", "s-3"), "silence_ended"),
        (unsilence("1d 3h"), "incident_opened waiting_for_data silence_ended"),
    )


def test_a_silenced_storm_is_a_few_records():
    """For ten thousand silenced alerts, the silence is published at doublings."""
    engine, _ = engine_after((silence(), "silence_began"))
    actions = [a for i in range(10_000) for a in engine.handle(firing("1d 1h", model=f"bus-{i}"))]
    assert sum(isinstance(a, PublishDecision) for a in actions) == 14
    assert {type(a) for a in actions} == {PublishDecision, NoAction}


@pytest.mark.parametrize("model", ["*", "bus-1"])
@given(random=st.randoms(use_true_random=False), n=st.integers(0, 30), cut=st.integers(0, 40))
def test_a_restart_does_not_show(random: Random, n, cut, model):
    """Going on from the written state is going on, with silences that begin, end and expire in between."""
    records = random_alerts(random, n)
    for i in range(4):
        at = random.randrange(len(records) + 1)
        word = silence("3d", f"{5 + 2 * i}d", Matcher(model=model), name=f"s-{i % 3}")
        records.insert(at, word if random.random() < 0.7 else unsilence("4d", f"s-{i % 3}"))
    whole = Engine(SETTINGS)
    expected = [whole.handle(record) for record in records]
    first = Engine(SETTINGS)
    actions = [first.handle(record) for record in records[:cut]]
    state = msgspec.json.decode(msgspec.json.encode(first.state), type=EngineState)
    second = Engine(SETTINGS, state)
    assert actions + [second.handle(record) for record in records[cut:]] == expected
    assert second.state == whole.state


@given(random=st.randoms(use_true_random=False), n=st.integers(0, 30))
def test_nothing_comes_of_what_is_silenced_and_nothing_is_lost(random: Random, n):
    """While everything is silenced, no incident and no request; afterwards, each series' newest alert is judged."""
    engine = Engine(RetrainSettings(storm_models_min=None))
    engine.handle(silence("1d", "300d", Matcher()))
    records = random_alerts(random, n)
    actions = [a for record in records for a in engine.handle(record)]
    assert not [a for a in actions if isinstance(a, PublishIncident | PublishRequest)]
    held = len(engine.state.silenced)
    after = [a for a in engine.handle(unsilence("299d")) if isinstance(a, NoAction | PublishRequest)]
    assert len(after) == held
    assert engine.state.silenced == {}
