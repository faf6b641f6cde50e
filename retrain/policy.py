"""When drift is worth a retrain request: settings, and the rules as one table.

A rule looks at an alert and what is known of its model and either names an outcome that ends the question, or passes.
The first rule that names one wins; when all pass, the request is made. A new rule is one function and one line in
`RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from retrain.alert import Alert, AlertState
from retrain.outcome import Outcome
from retrain.request import Approval, OpenRequest, TrainingWindow, training_window_of

SOURCE_PREFIX = "source:"
DAY_S = 86_400.0
DURATION_MAX_S = 100 * 366 * DAY_S


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of the decide fold. Durations are event time, in seconds, 0 to 100 years.

    Raises `ValueError` with a sentence when a setting is out of its range.
    """

    cooldown_s: float = DAY_S  # from one request of a model to its next
    expires_after_s: float = 7 * DAY_S  # how long a request stays open; above 0
    incident_quiet_s: float = DAY_S  # an incident without alert for longer, and without open request, is over
    ks_distance_min: float = 0.1  # a KS distance below it joins the incident but asks for nothing; 0 to 1
    tv_distance_min: float = 0.1  # the same for shares of categories, in total variation distance; 0 to 1
    sd_min: float = 0.3  # the same for shifts of a mean, in standard deviations
    approval: Approval = Approval.NOT_REQUIRED  # written into every request
    models_max: int = 131_072  # models remembered; beyond, the one that alerted longest ago is forgotten
    columns_max: int = 50  # moves kept for an incident: the strongest

    def __post_init__(self) -> None:
        for name in ("cooldown_s", "expires_after_s", "incident_quiet_s"):
            if not 0 <= getattr(self, name) <= DURATION_MAX_S:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be 0 to {DURATION_MAX_S:.0f} seconds.")
        if self.expires_after_s == 0:
            raise ValueError("expires_after_s is 0, but a request that is never open can't be answered.")
        for name in ("ks_distance_min", "tv_distance_min"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but a distance of distributions lies in 0 to 1.")
        if not 0 <= self.sd_min < math.inf:
            raise ValueError(f"sd_min is {self.sd_min}, but must be 0 or more, and finite.")
        for name in ("models_max", "columns_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be 1 or more.")

    def effect_min(self, effect_unit: str) -> float:
        """The smallest effect worth a retrain; 0 for a unit without a setting."""
        least = {"ks_distance": self.ks_distance_min, "tv_distance": self.tv_distance_min, "sd": self.sd_min}
        return least.get(effect_unit, 0.0)


@dataclass(frozen=True, slots=True)
class Question:
    """Is this alert worth a retrain request, now?"""

    alert: Alert
    now: datetime  # the model's running maximum of event time
    last_request: OpenRequest | None  # the model's last one, open or not
    settings: RetrainSettings
    window: TrainingWindow | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", training_window_of(self.alert))


def has_model(question: Question) -> Outcome | None:
    """A source has nothing to retrain; the models that use it do, and that is told by their own alerts."""
    return Outcome.SOURCE_WITHOUT_MODEL if question.alert.model_id.startswith(SOURCE_PREFIX) else None


def is_large(question: Question) -> Outcome | None:
    """A small but certain move is not worth a retrain."""
    alert = question.alert
    return None if alert.effect >= question.settings.effect_min(alert.effect_unit) else Outcome.EFFECT_TOO_SMALL


def is_ready(question: Question) -> Outcome | None:
    """Retraining too soon would learn mostly from the world as it was."""
    return None if question.alert.state is AlertState.READY else Outcome.WAITING_FOR_DATA


def has_window(question: Question) -> Outcome | None:
    """A request without exact data to train on would leave the pipeline guessing."""
    return None if question.window else Outcome.NO_TRAINING_WINDOW


def none_open(question: Question) -> Outcome | None:
    """At most one open request a model."""
    last = question.last_request
    return Outcome.REQUEST_OPEN if last and last.is_open(question.now) else None


def has_cooled_down(question: Question) -> Outcome | None:
    """A model that was just asked for has not had the time to show that it is better."""
    last = question.last_request
    if last and (question.now - last.requested_at).total_seconds() < question.settings.cooldown_s:
        return Outcome.COOLING_DOWN
    return None


Rule = Callable[[Question], Outcome | None]

RULES: tuple[Rule, ...] = (has_model, is_large, is_ready, has_window, none_open, has_cooled_down)


def decide(question: Question) -> Outcome:
    """The answer of the first rule that has one, else `REQUEST_MADE`."""
    for rule in RULES:
        outcome = rule(question)
        if outcome is not None:
            return outcome
    return Outcome.REQUEST_MADE
