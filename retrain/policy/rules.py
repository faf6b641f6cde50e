"""The rules that decide whether drift is worth a retrain request, as one table.

A rule looks at a case. It either names an outcome, which ends the case, or passes. The first outcome wins; when all
rules pass, the request is made. A new rule is one function and one line in `RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from retrain.messages.alert import AlertKind, AlertState
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.outcome import Outcome
from retrain.messages.request import training_window_of
from retrain.messages.shift import Shift
from retrain.policy.case import RetrainCase
from retrain.policy.inhibition import is_faulty
from retrain.policy.model_rules import ERROR, PREDICTION, Match


def has_model(case: RetrainCase) -> Outcome | None:
    """A source itself cannot be retrained, so it needs a model that uses it."""
    is_source = case.alert.model_id.startswith(SOURCE_PREFIX)
    return Outcome.SOURCE_WITHOUT_MODEL if is_source and not case.users else None


def is_drift(case: RetrainCase) -> Outcome | None:
    """Faulty data are nothing to retrain on, nor are late labels."""
    return None if case.alert.kind is AlertKind.DRIFT else Outcome.NOT_DRIFT


def is_not_inhibited(case: RetrainCase) -> Outcome | None:
    """A column with faulty data drifts because of the fault."""
    inhibited = is_faulty(case.faults, case.alert.column, case.now, case.settings)
    return Outcome.INHIBITED_BY_DATA_FAULT if inhibited else None


def is_large(case: RetrainCase) -> Outcome | None:
    """A small but certain shift is not worth a retrain, unless the model is old enough for one."""
    alert = case.alert
    if alert.effect >= case.settings.effect_min(alert.effect_unit):
        return None
    return None if case.match(None) is Match.ALL else Outcome.EFFECT_TOO_SMALL


def has_rule(case: RetrainCase) -> Outcome | None:
    """The rules for the model must name the drift. A source has no rules; each of its models has its own."""
    alert, settings = case.alert, case.settings
    if not settings.rules_by_model or alert.model_id.startswith(SOURCE_PREFIX):
        return None
    is_too_small = alert.effect < settings.effect_min(alert.effect_unit)
    match = case.match(None if is_too_small else Shift.of(alert))
    if match is Match.ALL:
        return None
    if match is Match.PARTLY:
        return Outcome.WAITING_FOR_OTHERS
    is_feature = alert.column not in {ERROR, PREDICTION}
    names_features = any("feature" in names for names in case.rules.alternatives())
    return Outcome.FEATURE_UNIMPORTANT if is_feature and names_features else Outcome.NO_RULE_MET


def is_ready(case: RetrainCase) -> Outcome | None:
    """A retrain too soon would learn mostly from the old regime."""
    return None if case.alert.state is AlertState.READY else Outcome.WAITING_FOR_DATA


def has_window(case: RetrainCase) -> Outcome | None:
    """A request must name the exact data to train on."""
    return None if training_window_of(case.alert) else Outcome.NO_TRAINING_WINDOW


def none_open(case: RetrainCase) -> Outcome | None:
    """At most one open request a model."""
    last = case.last_request
    return Outcome.REQUEST_OPEN if last and last.is_open(case.now) else None


def has_cooled_down(case: RetrainCase) -> Outcome | None:
    """A retrained model needs time to show whether it is better."""
    return Outcome.COOLING_DOWN if _seconds_since_request(case) < case.settings.cooldown_s else None


def is_not_backing_off(case: RetrainCase) -> Outcome | None:
    """Where retrains did not help, another one soon will hardly help either."""
    wait_s = case.settings.cooldown_after(case.failed_retrains)
    return Outcome.BACKING_OFF if _seconds_since_request(case) < wait_s else None


def is_not_recurring(case: RetrainCase) -> Outcome | None:
    """One retrain on both states is what drift that comes and goes is worth."""
    return Outcome.RECURRING if case.has_recurred else None


def _seconds_since_request(case: RetrainCase) -> float:
    requested_at = case.last_request.requested_last_at if case.last_request else None
    return (case.now - requested_at).total_seconds() if requested_at else math.inf


Rule = Callable[[RetrainCase], Outcome | None]

WORTH: tuple[Rule, ...] = (is_drift, is_large, is_not_inhibited, has_rule)
RULES: tuple[Rule, ...] = (
    has_model,
    *WORTH,
    is_ready,
    has_window,
    none_open,
    is_not_recurring,
    has_cooled_down,
    is_not_backing_off,
)


def is_worth_it(case: RetrainCase) -> bool:
    """Whether the model is retrained for such drift, whenever the time is right."""
    return all(rule(case) is None for rule in WORTH)


def decide(case: RetrainCase) -> Outcome:
    """The outcome of the first rule that names one, else `REQUEST_MADE`."""
    for rule in RULES:
        outcome = rule(case)
        if outcome is not None:
            return outcome
    return Outcome.REQUEST_MADE
