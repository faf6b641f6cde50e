"""When drift is worth a retrain request: the rules as one table.

A rule looks at an alert and what is known of its model and either names an outcome that ends the question, or passes.
The first rule that names one wins; when all pass, the request is made. A new rule is one function and one line in
`RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from retrain.messages.alert import AlertKind, AlertState
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.outcome import Outcome
from retrain.messages.request import has_training_window
from retrain.messages.shift import Shift
from retrain.policy.case import RetrainCase
from retrain.policy.inhibition import is_faulty
from retrain.policy.model_rules import ERROR, PREDICTION, Match


def has_model(question: RetrainCase) -> Outcome | None:
    """A source has nothing to retrain; the models that use it do, where any are known."""
    is_source = question.alert.model_id.startswith(SOURCE_PREFIX)
    return Outcome.SOURCE_WITHOUT_MODEL if is_source and not question.users else None


def is_drift(question: RetrainCase) -> Outcome | None:
    """Broken data are nothing to retrain on, nor are labels that come late."""
    return None if question.alert.kind is AlertKind.DRIFT else Outcome.NOT_DRIFT


def is_not_inhibited(question: RetrainCase) -> Outcome | None:
    """A column whose data are faulty drifts because of that."""
    inhibited = is_faulty(question.faults, question.alert.column, question.now, question.settings)
    return Outcome.INHIBITED_BY_DATA_FAULT if inhibited else None


def is_large(question: RetrainCase) -> Outcome | None:
    """A small but certain move is not worth a retrain, unless the model is to be retrained for its age."""
    alert = question.alert
    if alert.effect >= question.settings.effect_min(alert.effect_unit):
        return None
    return None if question.met_by(None) is Match.ALL else Outcome.EFFECT_TOO_SMALL


def is_asked_for(question: RetrainCase) -> Outcome | None:
    """What is no reason to retrain this very model, by the rules for it; a source has none, its models have theirs."""
    alert, settings = question.alert, question.settings
    if not settings.rules_by_model or alert.model_id.startswith(SOURCE_PREFIX):
        return None
    is_too_small = alert.effect < settings.effect_min(alert.effect_unit)
    met = question.met_by(None if is_too_small else Shift.of(alert))
    if met is Match.ALL:
        return None
    if met is Match.PARTLY:
        return Outcome.WAITING_FOR_OTHERS
    is_feature = alert.column not in {ERROR, PREDICTION}
    has_rule = any("feature" in names for names in question.rules.alternatives())
    return Outcome.FEATURE_UNIMPORTANT if is_feature and has_rule else Outcome.NO_RULE_MET


def is_ready(question: RetrainCase) -> Outcome | None:
    """Retraining too soon would learn mostly from the world as it was."""
    return None if question.alert.state is AlertState.READY else Outcome.WAITING_FOR_DATA


def has_window(question: RetrainCase) -> Outcome | None:
    """A request without exact data to train on would leave the pipeline guessing."""
    return None if has_training_window(question.alert) else Outcome.NO_TRAINING_WINDOW


def none_open(question: RetrainCase) -> Outcome | None:
    """At most one open request a model."""
    last = question.last_request
    return Outcome.REQUEST_OPEN if last and last.is_open(question.now) else None


def has_cooled_down(question: RetrainCase) -> Outcome | None:
    """A model that was just asked for has not had the time to show that it is better."""
    return Outcome.COOLING_DOWN if _seconds_since_request(question) < question.settings.cooldown_s else None


def is_not_backing_off(question: RetrainCase) -> Outcome | None:
    """Where retraining has not helped, doing it again soon will hardly help either."""
    wait_s = question.settings.cooldown_after(question.unhelpful)
    return Outcome.BACKING_OFF if _seconds_since_request(question) < wait_s else None


def _seconds_since_request(question: RetrainCase) -> float:
    asked_at = question.last_request.asked_at if question.last_request else None
    return (question.now - asked_at).total_seconds() if asked_at else math.inf


Rule = Callable[[RetrainCase], Outcome | None]

WORTH: tuple[Rule, ...] = (is_drift, is_large, is_not_inhibited, is_asked_for)
RULES: tuple[Rule, ...] = (
    has_model,
    *WORTH,
    is_ready,
    has_window,
    none_open,
    has_cooled_down,
    is_not_backing_off,
)


def is_worth_it(question: RetrainCase) -> bool:
    """Whether it is drift that its model is retrained for, if the time is right."""
    return all(rule(question) is None for rule in WORTH)


def decide(question: RetrainCase) -> Outcome:
    """The answer of the first rule that has one, else `REQUEST_MADE`."""
    for rule in RULES:
        outcome = rule(question)
        if outcome is not None:
            return outcome
    return Outcome.REQUEST_MADE
