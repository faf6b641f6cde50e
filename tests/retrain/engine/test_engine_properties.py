"""Properties of the engine on random streams."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from retrain.engine.engine import Engine
from retrain.messages.action import NoAction, PublishDecision, PublishIncident, PublishRequest
from retrain.messages.control import Control, ControlKind, Proof
from retrain.messages.incident import IncidentState
from retrain.messages.lifecycle import OPEN, REFUSALS, RUNNING
from retrain.messages.outcome import DESCRIPTIONS
from retrain.messages.silence import Matcher
from retrain.policy.model_rules import ModelRules
from retrain.policy.settings import ApprovalBefore, RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.testing.alerts import START, random_alerts

DAY_S = 86_400.0

randoms = st.randoms(use_true_random=False)
lengths = st.integers(0, 40)
DAY = 86_400
KINDS = list(ControlKind)
durations_s = st.sampled_from([0.0, DAY_S, 3 * DAY_S, 9 * DAY_S])

RULES = [
    ModelRules(when=["feature and age", "error"], age_s=3 * DAY_S, importance={"dwell_s": 0.3}, strength_min=0.2),
    ModelRules(when=["age"], age_s=2 * DAY_S),
]


@st.composite
def settings_of_engines(draw):
    """Settings whose durations are short enough to matter within a stream."""
    return RetrainSettings(
        cooldown_s=draw(durations_s),
        expires_after_s=draw(durations_s.filter(bool)),
        incident_quiet_s=draw(durations_s),
        recurrence_s=draw(durations_s),
        watch_s=draw(durations_s.filter(bool)),
        approval_by_model=draw(st.dictionaries(st.sampled_from(["bus-1", "*"]), st.sampled_from(ApprovalBefore))),
        rules_by_model=draw(st.dictionaries(st.sampled_from(["bus-1", "*"]), st.sampled_from(RULES), max_size=1)),
        distinct_actors=draw(st.booleans()),
        actor_proofs=draw(st.sampled_from([[], [Proof.OIDC]])),
        storm_models_min=draw(st.sampled_from([None, None, 2])),
        storm_window_s=draw(durations_s),
        inhibit_s=draw(durations_s),
        requests_per_hour_max=draw(st.sampled_from([None, None, 1, 2])),
        running_max=draw(st.sampled_from([None, None, 1, 2])),
        columns_max=draw(st.sampled_from([1, 2, 50])),
    )


SOURCES = {"weather": SourceSettings(["bus-*", "tram-7"])}


def records_with_words(random, settings, n, sources=None):
    """Random alerts with random commands about the requests and incidents that they lead to, some unknown."""
    records, ids, engine = [], ["retrain-unknown"], Engine(settings, None, sources)
    for alert in random_alerts(random, n):
        handled = len(records)
        records.append(alert)
        for _ in range(random.choice([0, 0, 1, 3])):
            at = START + timedelta(seconds=random.randrange(-DAY, (n + 8) * DAY // 2))
            version = random.choice(["", "7", "8", "9"])
            actor = random.choice(["ann", "bob"])
            kind, name = random.choice(KINDS), random.choice(ids[-3:])
            until = at + timedelta(days=random.randrange(1, 9))
            matcher = Matcher(model=random.choice(["bus-1", "*"]), column=random.choice(["headway_s", "*"]))
            silence = {"matcher": matcher, "until": until} if kind is ControlKind.SILENCE else {}
            proof = random.choice([Proof.NONE, Proof.OIDC])
            records.append(Control(kind, name, at, actor, proof, model_version=version, **silence))
        for record in records[handled:]:
            actions = engine.handle(record)
            ids += [a.request.request_id for a in actions if isinstance(a, PublishRequest)]
            ids += [a.incident.incident_id for a in actions if isinstance(a, PublishIncident) and _may_be_judged(a)]
    return records


def _may_be_judged(action):
    """Whether a person may release or dismiss the incident: a storm's, or a source's that is held."""
    return action.reason == "storm_opened" or action.incident.decision == "held_for_source"


def published(settings, alerts, kind):
    """The actions of one kind that a fresh engine takes on these alerts, in order."""
    engine = Engine(settings)
    return [action for alert in alerts for action in engine.handle(alert) if isinstance(action, kind)]


@given(settings_of_engines(), randoms, lengths)
def test_every_alert_has_exactly_one_verdict(settings, random, n):
    """Each alert ends in one request or one named reason why not, after the incidents and requests it changed."""
    engine = Engine(settings)
    for alert in random_alerts(random, n):
        *before, verdict = engine.handle(alert)
        assert isinstance(verdict, PublishRequest | NoAction)
        # others that waited may be decided with it, as time has moved or a run has ended
        assert not any(isinstance(action, NoAction) and action.alert_id == alert.alert_id for action in before)
        of_its_own = [a for a in before if isinstance(a, PublishIncident) and a.incident.model_id == alert.model_id]
        assert len(of_its_own) <= 2


@given(settings_of_engines(), randoms, lengths)
def test_a_model_has_at_most_one_open_request(settings, random, n):
    """A model's next request comes when its last has expired and cooled down, or was withdrawn, under a new id."""
    last, ids, before_last = {}, set(), {}
    for action in published(settings, random_alerts(random, n), PublishRequest | PublishDecision):
        if isinstance(action, PublishDecision):
            if action.decision.state == "withdrawn":
                last[action.decision.model_id] = before_last.get(action.decision.model_id)
            continue
        request = action.request
        assert not request.model_id.startswith("source:")
        assert request.request_id not in ids
        ids.add(request.request_id)
        before = last.get(request.model_id)
        if before:
            assert request.requested_at >= before.expires_at
            assert (request.requested_at - before.requested_at).total_seconds() >= settings.cooldown_s
        before_last[request.model_id], last[request.model_id] = before, request


@given(settings_of_engines(), randoms, lengths)
def test_a_model_has_at_most_one_open_incident(settings, random, n):
    """A model's next incident opens only after its last was closed; closed ones stay so, but for storms and returns."""
    open_of, closed, reopened = {}, {}, {"quiet", "joined_storm"} if settings.storm_models_min else set()
    for action in published(settings, random_alerts(random, n), PublishIncident):
        incident = action.incident
        if before := closed.pop(incident.incident_id, None):
            assert (before.reason, incident.returns) in {
                (why, before.returns + 1) for why in ("quiet", "back_to_normal")
            }
            assert incident.reason == "recurred"
            assert settings.recurrence_s > 0
        assert open_of.setdefault(incident.model_id, incident.incident_id) == incident.incident_id
        assert incident.opened_at <= incident.last_alert_at
        if incident.state is IncidentState.CLOSED:
            ended = open_of.pop(incident.model_id)
            if incident.reason not in reopened:
                closed[ended] = incident


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


@given(
    settings_of_engines(),
    randoms,
    lengths,
    st.integers(0, 60),
    st.sampled_from([None, SOURCES]),
    st.sampled_from([2, 100]),
)
def test_going_on_from_a_state_is_going_on(settings, random, n, cut, sources, models_max):
    """An engine made from another's state does what that one would have done, also where it forgets models."""
    settings = replace(settings, models_max=models_max)
    records = records_with_words(random, settings, n, sources)
    engine = Engine(settings, None, sources)
    for record in records[:cut]:
        engine.handle(record)
    resumed = Engine(settings, deepcopy(engine.state), sources)
    for record in records[cut:]:
        assert engine.handle(record) == resumed.handle(record)


@given(settings_of_engines(), randoms, lengths)
def test_whatever_is_said_a_model_has_one_open_request(settings, random, n):
    """Reading requests and decisions in order, a model's next request comes when its last is not open any more."""
    engine, state, of = Engine(settings), {}, {}
    for record in records_with_words(random, settings, n):
        actions = engine.handle(record)
        for action in actions:
            if isinstance(action, PublishRequest):
                request = action.request
                assert state.get(of.get(request.model_id)) not in {*OPEN, "watching"}
                of[request.model_id] = request.request_id
                state[request.request_id] = "approved" if request.approval == "not_required" else "requested"
            elif isinstance(action, PublishDecision) and action.decision.state is not None:
                state[action.decision.request_id] = action.decision.state
        if isinstance(record, Control):
            assert isinstance(actions[-1], PublishDecision)
            assert actions[-1].decision.request_id == record.request_id


@given(settings_of_engines(), randoms, lengths)
def test_the_budget_is_never_exceeded(settings, random, n):
    """Within any hour of the fleet's time, and at any moment on the way, there are never more than is allowed."""
    engine, made, state = Engine(settings), [], {}
    for record in records_with_words(random, settings, n):
        for action in engine.handle(record):
            if isinstance(action, PublishRequest):
                made.append(engine.state.now)
                state[action.request.request_id] = "approved"
            elif isinstance(action, PublishDecision) and action.decision.request_id in state:
                state[action.decision.request_id] = action.decision.state
        running = sum(each in RUNNING for each in state.values())
        assert running <= (settings.running_max or n)
        hour = [at for at in made if at > engine.state.now - timedelta(hours=1)] if made else []
        assert len(hour) <= (settings.requests_per_hour_max or n)
        assert len(engine.state.made) <= (settings.requests_per_hour_max or 0)


@given(settings_of_engines(), randoms, lengths)
def test_what_is_said_again_changes_nothing(settings, random, n):
    """A control record that comes twice in a row is answered, and leaves no trace."""
    engine = Engine(settings)
    for record in records_with_words(random, settings, n):
        engine.handle(record)
        if isinstance(record, Control):
            before = deepcopy(engine.state)
            (answer,) = engine.handle(record)
            assert answer.reason in REFUSALS
            assert engine.state == before


@given(randoms, lengths)
def test_models_never_exceed_their_bound(random, n):
    """With room for one model only, one model is remembered."""
    engine = Engine(RetrainSettings(models_max=1))
    for alert in random_alerts(random, n):
        engine.handle(alert)
        assert len(engine.state.models) == 1


@given(settings_of_engines(), randoms, lengths, st.sampled_from([None, SOURCES]))
def test_why_nothing_was_asked_for_can_be_said_in_words(settings, random, n, sources):
    """Every decision that stands in an incident has a meaning, which `driftline explain` prints."""
    engine = Engine(settings, None, sources)
    for record in records_with_words(random, settings, n, sources):
        for action in engine.handle(record):
            if isinstance(action, PublishIncident) and not _of_many(action.incident):
                assert action.incident.decision in DESCRIPTIONS


def _of_many(incident):
    """Whether it is a storm's, or a source's that a person has judged."""
    return incident.model_id.startswith("fleet:") or incident.decision == "source_released"
