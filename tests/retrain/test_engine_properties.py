"""What holds for the engine whatever it is told."""

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from retrain.engine import Engine, Noted, PublishIncident, PublishRequest
from retrain.incident import IncidentState
from retrain.policy import RetrainSettings
from streamer.testing.alerts import random_alerts

DAY_S = 86_400.0

randoms = st.randoms(use_true_random=False)
lengths = st.integers(0, 40)
durations_s = st.sampled_from([0.0, DAY_S, 3 * DAY_S, 9 * DAY_S])


@st.composite
def settings_of_engines(draw):
    """Settings whose durations are short enough to matter within a stream."""
    return RetrainSettings(
        cooldown_s=draw(durations_s),
        expires_after_s=draw(durations_s.filter(bool)),
        incident_quiet_s=draw(durations_s),
        columns_max=draw(st.sampled_from([1, 2, 50])),
    )


def published(settings, alerts, kind):
    """The actions of one kind that a fresh engine takes on these alerts, in order."""
    engine = Engine(settings)
    return [action for alert in alerts for action in engine.handle(alert) if isinstance(action, kind)]


@given(settings_of_engines(), randoms, lengths)
def test_every_alert_has_exactly_one_verdict(settings, random, n):
    """Each alert ends in one request or one named reason why not, after the incidents it changed."""
    engine = Engine(settings)
    for alert in random_alerts(random, n):
        *incidents, verdict = engine.handle(alert)
        assert isinstance(verdict, PublishRequest | Noted)
        assert all(isinstance(action, PublishIncident) for action in incidents)
        assert len(incidents) <= 2


@given(settings_of_engines(), randoms, lengths)
def test_a_model_has_at_most_one_open_request(settings, random, n):
    """A model's next request comes when its last has expired and cooled down, and no id comes twice."""
    last, ids = {}, set()
    for action in published(settings, random_alerts(random, n), PublishRequest):
        request = action.request
        assert not request.model_id.startswith("source:")
        assert request.request_id not in ids
        ids.add(request.request_id)
        before = last.get(request.model_id)
        if before:
            assert request.requested_at >= before.expires_at
            assert (request.requested_at - before.requested_at).total_seconds() >= settings.cooldown_s
        last[request.model_id] = request


@given(settings_of_engines(), randoms, lengths)
def test_a_model_has_at_most_one_open_incident(settings, random, n):
    """Reading the incidents in order, a model's next one opens only after its last was closed; closed ones stay so."""
    open_of, closed = {}, set()
    for action in published(settings, random_alerts(random, n), PublishIncident):
        incident = action.incident
        assert incident.incident_id not in closed
        assert open_of.setdefault(incident.model_id, incident.incident_id) == incident.incident_id
        assert incident.opened_at <= incident.last_alert_at
        if incident.state is IncidentState.CLOSED:
            closed.add(open_of.pop(incident.model_id))


@given(settings_of_engines(), randoms, lengths, st.data())
def test_repeats_anywhere_change_nothing(settings, random, n, data):
    """Alerts that come again, at any later point, publish nothing and leave no trace in the state."""
    alerts = random_alerts(random, n)
    once, twice = Engine(settings), Engine(settings)
    for i, alert in enumerate(alerts):
        assert once.handle(alert) == twice.handle(alert)
        for again in data.draw(st.lists(st.sampled_from(alerts[: i + 1]), max_size=2)):
            (noted,) = twice.handle(again)
            assert noted.reason in {"duplicate", "older_version"}
    assert list(once.state.models.items()) == list(twice.state.models.items())


@given(settings_of_engines(), randoms, lengths, st.integers(0, 40))
def test_going_on_from_a_state_is_going_on(settings, random, n, cut):
    """An engine made from another's state does what that one would have done."""
    alerts = random_alerts(random, n)
    engine = Engine(settings)
    for alert in alerts[:cut]:
        engine.handle(alert)
    resumed = Engine(settings, deepcopy(engine.state))
    for alert in alerts[cut:]:
        assert engine.handle(alert) == resumed.handle(alert)


@given(randoms, lengths)
def test_models_never_exceed_their_bound(random, n):
    """With room for one model only, one model is remembered."""
    engine = Engine(RetrainSettings(models_max=1))
    for alert in random_alerts(random, n):
        engine.handle(alert)
        assert len(engine.state.models) == 1
