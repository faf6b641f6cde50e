"""The life of a request, as timelines: commands, drift and time, and what follows."""

from dataclasses import replace
from itertools import permutations

import pytest
from engine_kit import check_story

from retrain.engine.engine import Engine
from retrain.engine.silences import SILENCE_KINDS
from retrain.messages.action import Action, PublishDecision, PublishIncident, PublishRequest
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind, Proof
from retrain.messages.incident import IncidentState
from retrain.messages.lifecycle import MOVES, OPEN
from retrain.messages.request import Approval, RequestState
from retrain.policy.settings import ApprovalBefore, RetrainSettings
from streamer.testing.alerts import firing, moment, ready, said

DAY_S = 86_400.0
BOTH = RetrainSettings(approval_by_model={"*": ApprovalBefore.BOTH})
BEGUN = ready("1d", fired="1d")  # its request is open until 8d


def request_of(alert: Alert = BEGUN) -> str:
    """The id of the request that an alert makes by itself: ids are derived, so every engine gives the same."""
    return next(a.request.request_id for a in Engine(RetrainSettings()).handle(alert) if isinstance(a, PublishRequest))


ID = request_of()


def engine_after(settings: RetrainSettings, *story: tuple[Alert | Control, str]) -> tuple[Engine, list[Action]]:
    """An engine that has made the request `ID` and then got the records, and its last actions; see `check_story`."""
    engine = Engine(settings)
    engine.handle(BEGUN)
    return engine, check_story(engine, *story)


def life_of(engine: Engine, model: str = "bus-099"):
    """The model's last request."""
    return engine.state.models[model].last_request


def decision_in(actions: list[Action]):
    """The last decision among the actions."""
    return [action.decision for action in actions if isinstance(action, PublishDecision)][-1]


def test_a_request_from_question_to_verdict():
    """Somebody approves, the trainer trains, somebody else reviews and promotes, and no drift comes for a week."""
    metrics = {"champion": {"mae": 61.0}, "challenger": {"mae": 48.5}}
    engine, actions = engine_after(
        BOTH,
        (said("approve", ID, "1d 1h", comment="go"), "approved"),
        (said("started", ID, "1d 2h", "trainer"), "training"),
        (said("trained", ID, "1d 3h", "trainer", model_version="8", **metrics), "trained"),
    )
    decision = decision_in(actions)
    assert (decision.state, decision.actor, decision.model_version) == ("awaiting_review", "trainer", "8")
    assert (decision.champion, decision.challenger) == ({"mae": 61.0}, {"mae": 48.5})
    assert decision.answer_by == moment("8d 3h")
    incident, promoted = engine.handle(said("promote", ID, "1d 4h", "bob"))
    assert (incident.incident.state, incident.reason) == (IncidentState.CLOSED, "promoted")
    assert promoted.decision.state == "watching"
    engine.handle(firing("8d 3h 59m", model="tram-1"))
    assert life_of(engine).state == "watching"
    helped, *_ = engine.handle(firing("8d 4h", model="tram-1", column="dwell_s"))
    assert (helped.reason, helped.decision.state, helped.decision.request_id) == ("helped", "helped", ID)


def test_nobody_is_asked_by_default():
    """Without approvals the trainer starts at once and promotes by itself; `started` may be left out."""
    engine, _ = engine_after(
        RetrainSettings(),
        (said("trained", ID, "1d 1h", "trainer"), "trained"),
        (said("promote", ID, "1d 2h", "trainer"), "promoted promoted"),
    )
    assert life_of(engine).state is RequestState.WATCHING


@pytest.mark.parametrize(
    ("before", "approval", "then"),
    [
        (ApprovalBefore.NEITHER, Approval.NOT_REQUIRED, "trained"),
        (ApprovalBefore.TRAINING, Approval.REQUIRED, "trained"),
        (ApprovalBefore.PROMOTION, Approval.NOT_REQUIRED, "awaiting_review"),
        (ApprovalBefore.BOTH, Approval.REQUIRED, "awaiting_review"),
    ],
)
def test_approval_goes_by_pattern_of_models(before, approval, then):
    """The first pattern that matches a model names the steps that a person must approve; others follow `approval`."""
    patterns = {"tram-*": ApprovalBefore.NEITHER, "bus-0*": before, "*9": ApprovalBefore.BOTH}
    engine = Engine(RetrainSettings(approval=Approval.REQUIRED, approval_by_model=patterns))
    (request,) = (a.request for a in engine.handle(BEGUN) if isinstance(a, PublishRequest))
    assert request.approval is approval
    if approval is Approval.REQUIRED:
        engine.handle(said("approve", ID, "1d 1h"))
    assert decision_in(engine.handle(said("trained", ID, "1d 2h"))).state == then
    (other,) = (a.request for a in engine.handle(ready("2d", "2d", "metro-1")) if isinstance(a, PublishRequest))
    assert other.approval is Approval.REQUIRED


def test_an_approval_after_expiry_comes_too_late():
    """The record itself shows that time has passed, whether or not an alert has shown it before."""
    engine_after(
        BOTH,
        (said("approve", ID, "8d"), "expired too_late"),
        (said("approve", ID, "8d 1s"), "too_late"),
    )
    engine_after(
        BOTH,
        (firing("8d", model="tram-1"), "expired incident_opened waiting_for_data"),
        (said("approve", ID, "7d"), "too_late"),
    )
    engine_after(BOTH, (said("approve", ID, "7d 23h 59m 59s"), "approved"))


def test_approved_twice_is_approved_once():
    """The second yes is answered, and changes nothing: not who approved, and not until when."""
    engine, _ = engine_after(BOTH, (said("approve", ID, "1d 1h"), "approved"))
    life = life_of(engine)
    (answer,) = engine.handle(said("approve", ID, "1d 2h", "bob"))
    assert (answer.reason, answer.decision.actor) == ("no_change", "bob")
    assert life_of(engine) == life


def test_a_no_wins_over_a_yes_that_crosses_it():
    """Whichever comes first, the request ends as rejected, and the trainer's result is refused."""
    approve, reject = said("approve", ID, "1d 1h"), said("reject", ID, "1d 1h", "bob", comment="holiday")
    for story in (
        [(approve, "approved"), (reject, "rejected")],
        [(reject, "rejected"), (approve, "too_late")],
    ):
        engine, _ = engine_after(BOTH, *story, (said("trained", ID, "1d 2h", "trainer"), "too_late"))
        assert life_of(engine).state is RequestState.REJECTED


def test_a_word_about_an_unknown_request_is_answered():
    """An id that nobody gave, or that of an earlier request of the model, names nothing."""
    engine_after(BOTH, (said("trained", "retrain-nothing", "1d"), "unknown_request"))
    settings = RetrainSettings(cooldown_s=0, expires_after_s=60)
    _, actions = engine_after(
        settings,
        (ready("2d", fired="2d"), "expired absorbed request_made"),
        (said("approve", ID, "2d"), "unknown_request"),
    )
    answer = decision_in(actions)
    assert (answer.model_id, answer.state, answer.answer_by) == ("", None, None)


@pytest.mark.parametrize("words", [[], ["started"], ["started", "trained"]])
def test_a_trainer_that_falls_silent_frees_the_model(words):
    """Each command gives the next step as long a term; after it the request has expired, and another may follow."""
    story = [(said(word, ID, f"{2 + i}d"), {"started": "training"}.get(word, word)) for i, word in enumerate(words)]
    last_day = 1 + len(words)
    engine_after(
        RetrainSettings(),
        *story,
        (ready(f"{last_day + 6}d 23h", fired=f"{last_day + 6}d 23h"), "absorbed request_open"),
        (ready(f"{last_day + 7}d", fired=f"{last_day + 7}d"), "expired absorbed request_made"),
        (said("trained", ID, f"{last_day + 7}d"), "unknown_request"),
    )


def test_nothing_is_done_before_it_may_be():
    """A trainer that does not wait for approval, and a promotion of nothing, are refused by name."""
    engine_after(
        BOTH,
        (said("started", ID, "1d 1h", "trainer"), "not_approved"),
        (said("trained", ID, "1d 1h", "trainer"), "not_approved"),
        (said("promote", ID, "1d 1h"), "not_approved"),
        (said("approve", ID, "1d 1h"), "approved"),
        (said("promote", ID, "1d 2h"), "not_trained"),
        (said("trained", ID, "1d 3h", "trainer"), "trained"),
        (said("started", ID, "1d 3h", "trainer"), "too_late"),
        (said("failed", ID, "1d 3h", "trainer"), "too_late"),
    )


def test_control_records_may_be_repeated_and_out_of_order():
    """Every order of a trainer's commands, each twice, ends in the same state, with at most one change a command."""
    words = [said("started", ID, "2d"), said("trained", ID, "3d"), said("promote", ID, "4d")]
    for order in permutations(words):
        engine, _ = engine_after(RetrainSettings())
        changes = []
        for word in (*order, *order, *words):
            decision = decision_in(engine.handle(word))
            if decision.reason in {outcome for _, _, outcome in MOVES.values()}:
                changes.append(decision.reason)
        assert life_of(engine).state is RequestState.WATCHING
        assert len(changes) == len(set(changes))


def test_who_has_a_hand_in_it_does_not_review():
    """With `distinct_actors` a promotion needs another person than approved of the training or reported it."""
    settings = replace(BOTH, distinct_actors=True)
    story = (
        (said("approve", ID, "1d 1h", "ann"), "approved"),
        (said("trained", ID, "1d 2h", "trainer"), "trained"),
    )
    engine_after(
        settings,
        *story,
        (said("promote", ID, "1d 3h", "ann"), "same_actor"),
        (said("promote", ID, "1d 3h", "trainer"), "same_actor"),
        (said("promote", ID, "1d 3h", "bob"), "promoted promoted"),
    )
    engine_after(BOTH, *story, (said("promote", ID, "1d 3h", "ann"), "promoted promoted"))


def test_the_version_that_drifted_is_no_challenger():
    """Such a report changes nothing and names its reason; the trainer may name another version, or none."""
    story = (
        (said("started", ID, "1d 1h"), "training"),
        (said("trained", ID, "1d 2h", model_version="7"), "same_version"),
    )
    for version in ("8", ""):
        engine, actions = engine_after(
            RetrainSettings(), *story, (said("trained", ID, "1d 3h", model_version=version), "trained")
        )
        assert (decision_in(actions).state, decision_in(actions).model_version) == ("trained", version)
    engine, actions = engine_after(RetrainSettings(), *story)
    assert (life_of(engine).state, decision_in(actions).state) == (RequestState.TRAINING, "training")


def test_a_decision_of_a_person_needs_a_proof_of_its_author():
    """With `actor_proofs` decisions proven in another way are refused; reports and promotions of trainers count."""
    settings = replace(BOTH, actor_proofs=[Proof.OIDC])
    oidc = {"proof": Proof.OIDC}
    engine_after(
        settings,
        (said("approve", ID, "1d 1h"), "actor_not_proven"),
        (said("reject", ID, "1d 1h", proof=Proof.PROXY), "actor_not_proven"),
        (said("approve", ID, "1d 1h", **oidc), "approved"),
        (said("trained", ID, "1d 2h", "trainer"), "trained"),
        (said("promote", ID, "1d 3h"), "actor_not_proven"),
        (said("promote", ID, "1d 3h", **oidc), "promoted promoted"),
        (said("unsilence", "silence-1", "1d 4h"), "actor_not_proven"),
        (said("unsilence", "silence-1", "1d 4h", **oidc), "unknown_silence"),
    )
    engine_after(
        replace(RetrainSettings(), actor_proofs=[Proof.OIDC]),
        (said("trained", ID, "1d 1h", "trainer"), "trained"),
        (said("promote", ID, "2d", "trainer"), "promoted promoted"),
    )


def promoted(settings: RetrainSettings, version: str = "8") -> Engine:
    """An engine whose request `ID` has led to a promotion at 2d."""
    engine, _ = engine_after(
        settings,
        (said("trained", ID, "1d 1h", "trainer", model_version=version), "trained"),
        (said("promote", ID, "2d", "trainer"), "promoted promoted"),
    )
    return engine


def test_a_promotion_rearms_the_model():
    """Alerts from before it are passed over; the first one after it opens an incident and ends the watch."""
    engine = promoted(RetrainSettings(cooldown_s=0), version="")
    assert [a.reason for a in engine.handle(ready("2d 1h", fired="1d 23h", column="dwell_s"))] == ["before_promotion"]
    reasons = [a.reason for a in engine.handle(firing("2d 1h", column="dwell_s"))]
    assert reasons == ["drifted_again", "incident_opened", "waiting_for_data"]
    assert life_of(engine).state is RequestState.DID_NOT_HELP
    assert [a.reason for a in engine.handle(ready("3d", fired="2d 1h", column="dwell_s"))][-1] == "request_made"


def test_the_promoted_version_is_the_newest():
    """Its predecessor's alerts are an older version's; it may also be one from before (a rollback)."""
    engine = promoted(RetrainSettings())
    assert [a.reason for a in engine.handle(firing("2d 1h"))] == ["older_version"]
    (_, opened, _) = engine.handle(firing("2d 2h", version="8"))
    assert opened.incident.model_version == "8"
    engine = promoted(RetrainSettings(), version="")
    assert engine.state.models["bus-099"].versions.newest == "7"
    engine.state.models["bus-099"].promote("6", moment("3d"))
    engine.state.models["bus-099"].promote("7", moment("4d"))
    versions = engine.state.models["bus-099"].versions
    assert (versions.newest, versions.older, versions.since) == ("7", ["6"], moment("4d"))


def test_a_small_drift_is_no_verdict():
    """Drift that is not worth a retrain does not count against the last one."""
    engine = promoted(RetrainSettings(sd_min=0.3))
    assert [a.reason for a in engine.handle(firing("3d", version="8", effect=0.2))] == [
        "incident_opened",
        "effect_too_small",
    ]
    assert life_of(engine).state is RequestState.WATCHING


def test_a_wrong_clock_harms_one_request_alone():
    """A command from next year ends its own request; that of another model stays open."""
    engine, _ = engine_after(RetrainSettings())
    engine.handle(ready("1d", "1d", "tram-1"))
    assert [a.reason for a in engine.handle(said("started", ID, "365d"))] == ["expired", "too_late"]
    assert life_of(engine, "tram-1").state is RequestState.APPROVED
    early = request_of(ready("1d", "1d", "tram-1"))
    assert [a.reason for a in engine.handle(said("started", early, "1s"))] == ["training"]
    assert life_of(engine, "tram-1").changed_at == moment("1d")


def test_a_forgotten_model_takes_its_request_along():
    """The request of an evicted model ends by name; later commands about it find no known request."""
    settings = RetrainSettings(models_max=1)
    _, actions = engine_after(
        settings,
        (firing("2d", model="tram-1"), "model_evicted model_evicted incident_opened waiting_for_data"),
        (said("trained", ID, "2d"), "unknown_request"),
    )
    assert decision_in(actions).state is None


def test_every_word_is_answered_in_every_state():
    """The table of moves leaves no hole: open states have an end, and every kind has a state in which it counts."""
    assert set(MOVES) | SILENCE_KINDS == set(ControlKind)
    assert all(allowed <= OPEN for allowed, _, _ in MOVES.values())
    assert MOVES[ControlKind.REJECT][0] == OPEN
    reached = {target for _, target, _ in MOVES.values()}
    assert reached < set(RequestState)


def test_an_incident_outlives_a_rejected_request():
    """A rejected retrain leaves the incident open, and a later alert may trigger another request."""
    settings = replace(BOTH, cooldown_s=DAY_S)
    _, actions = engine_after(
        settings,
        (said("reject", ID, "1d 1h"), "rejected"),
        (ready("1d 2h", fired="1d 2h"), "absorbed cooling_down"),
        (ready("2d", fired="2d"), "absorbed request_made"),
    )
    incident = next(a.incident for a in actions if isinstance(a, PublishIncident))
    assert incident.alerts == 3
