"""When drift is worth a retrain request: the rules as one table.

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
from retrain.lifecycle import RequestLife
from retrain.outcome import Outcome
from retrain.request import TrainingWindow, training_window_of
from retrain.settings import RetrainSettings

SOURCE_PREFIX = "source:"


@dataclass(frozen=True, slots=True)
class Question:
    """Is this alert worth a retrain request, now?"""

    alert: Alert
    now: datetime  # the model's running maximum of event time
    last_request: RequestLife | None  # the model's last one, open or not
    settings: RetrainSettings
    unhelpful: int = 0  # promotions of the model in a row that did not help
    users: int = 0  # of a source: the models that are known to use it
    window: TrainingWindow | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", training_window_of(self.alert))


def has_model(question: Question) -> Outcome | None:
    """A source has nothing to retrain; the models that use it do, where any are known."""
    is_source = question.alert.model_id.startswith(SOURCE_PREFIX)
    return Outcome.SOURCE_WITHOUT_MODEL if is_source and not question.users else None


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
    return Outcome.COOLING_DOWN if _seconds_since_request(question) < question.settings.cooldown_s else None


def is_not_backing_off(question: Question) -> Outcome | None:
    """Where retraining has not helped, doing it again soon will hardly help either."""
    wait_s = question.settings.cooldown_after(question.unhelpful)
    return Outcome.BACKING_OFF if _seconds_since_request(question) < wait_s else None


def _seconds_since_request(question: Question) -> float:
    last = question.last_request
    return (question.now - last.requested_at).total_seconds() if last else math.inf


Rule = Callable[[Question], Outcome | None]

RULES: tuple[Rule, ...] = (has_model, is_large, is_ready, has_window, none_open, has_cooled_down, is_not_backing_off)


def decide(question: Question) -> Outcome:
    """The answer of the first rule that has one, else `REQUEST_MADE`."""
    for rule in RULES:
        outcome = rule(question)
        if outcome is not None:
            return outcome
    return Outcome.REQUEST_MADE
