"""Settings of the decide fold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from retrain.messages.control import Proof
from retrain.messages.patterns import first_match
from retrain.messages.request import Approval
from retrain.policy.model_rules import PATTERNS_MAX, ModelRules

DAY_S = 86_400.0
DURATION_MAX_S = 100 * 366 * DAY_S
FACTOR_MAX = 1000
UNITS = frozenset({"ks_distance", "tv_distance", "sd", "correlation"})  # of effects, each with its `<unit>_min`
DOUBLINGS_MAX = 64  # of a cooldown: beyond, `cooldown_max_s` has long been reached


class ApprovalBefore(StrEnum):
    """Before which steps a person must approve."""

    NEITHER = "neither"
    TRAINING = "training"
    PROMOTION = "promotion"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of the decide fold. Durations are event time, in seconds, 0 to 100 years.

    Raises `ValueError` with a sentence when a setting is out of its range.
    """

    cooldown_s: float = DAY_S  # from one request of a model to its next
    cooldown_factor: float = 2.0  # how many times longer with each promotion in a row that did not help; 1 or more
    cooldown_max_s: float = 30 * DAY_S  # and never longer than this, unless `cooldown_s` is
    requests_per_hour_max: int | None = None  # of all models, by event time; others wait, the most urgent first
    running_max: int | None = None  # requests of all models, at once, that wait for approval or training; others wait
    storm_models_min: int | None = 100  # this many models that alert on one column make a storm; null: no storms
    storm_window_s: float = 3600.0  # the time within which they must alert, by event time
    storm_columns_max: int = 1024  # columns counted for storms; beyond, the one that alerted longest ago is dropped
    inhibit_s: float = DAY_S  # after a data fault, drift of the same column triggers no request; 0: off
    expires_after_s: float = 7 * DAY_S  # how long a request waits, from its making and from each answer; above 0
    recurrence_s: float = 7 * DAY_S  # drift between the same two states within this time is one incident; 0: never
    incident_quiet_s: float = DAY_S  # an incident without alert for longer, and without an open request, closes
    ks_distance_min: float = 0.1  # smallest KS distance that triggers a request, not just an incident; 0 to 1
    tv_distance_min: float = 0.1  # the same for shares of categories, in total variation distance; 0 to 1
    sd_min: float = 0.3  # the same for shifts of a mean, in standard deviations
    correlation_min: float = 0.2  # the same for the dependence of two columns, as a difference of correlations; 0 to 2
    approval: Approval = Approval.NOT_REQUIRED  # of training, for models that no pattern of `approval_by_model` matches
    approval_by_model: Mapping[str, ApprovalBefore] = field(
        default_factory=dict
    )  # pattern of model names, such as "bus-*" -> steps that a person must approve; the first match counts
    rules_by_model: Mapping[str, ModelRules] = field(
        default_factory=dict
    )  # pattern of model names -> rules for their retrain; the first match counts; without one any drift suffices
    distinct_actors: bool = False  # whether a promotion needs another person than who approved or reported the training
    actor_proofs: list[Proof] = field(
        default_factory=list
    )  # a decision of a person counts if its author is proven in one of these ways: oidc, proxy, local; []: always
    watch_s: float = 7 * DAY_S  # a promotion without drift for this long has helped; above 0
    models_max: int = 131_072  # models remembered; beyond, the one that alerted longest ago is evicted
    columns_max: int = 50  # shifts kept for an incident, the strongest

    def __post_init__(self) -> None:
        _check_durations(self)
        _check_effects(self)
        if not 1 <= self.cooldown_factor <= FACTOR_MAX:
            raise ValueError(f"cooldown_factor is {self.cooldown_factor}, but must be 1 to {FACTOR_MAX}.")
        for name in ("approval_by_model", "rules_by_model"):
            if (n := len(getattr(self, name))) > PATTERNS_MAX:
                raise ValueError(f"{name} is {n} patterns; at most {PATTERNS_MAX}.")
        if Proof.NONE in self.actor_proofs:
            raise ValueError("actor_proofs holds an empty name, but must name oidc, proxy or local.")
        if self.storm_models_min is not None and self.storm_models_min < 2:
            raise ValueError(
                f"storm_models_min is {self.storm_models_min}, but must be 2 or more: one model is no storm."
            )
        for name in ("models_max", "columns_max", "requests_per_hour_max", "running_max", "storm_columns_max"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} is {number}, but must be 1 or more.")

    def effect_min(self, effect_unit: str) -> float:
        """The smallest effect worth a retrain; 0 for a unit without a setting."""
        least: float = getattr(self, f"{effect_unit}_min") if effect_unit in UNITS else 0.0
        return least

    def cooldown_after(self, failed_retrains: int) -> float:
        """Seconds from one request of a model to its next, after so many promotions in a row that did not help."""
        longer_s = self.cooldown_s * self.cooldown_factor ** min(failed_retrains, DOUBLINGS_MAX)
        return max(self.cooldown_s, min(longer_s, self.cooldown_max_s))

    def accepts(self, proof: Proof) -> bool:
        """Whether the author of a decision of a person is proven as demanded."""
        return not self.actor_proofs or proof in self.actor_proofs

    def rules_for(self, model_id: str) -> ModelRules | None:
        """The rules for this model; None: any drift suffices."""
        return first_match(self.rules_by_model, model_id)

    def weights_of(self, model_id: str) -> ModelRules | None:
        """The rules for this model if they name the importance of features; None: all weigh the same."""
        rules = self.rules_for(model_id)
        return rules if rules and rules.importance else None

    def approval_of_training(self, model_id: str) -> Approval:
        """Whether a person must approve before this model is trained."""
        is_required = self.approval_before(model_id) in (ApprovalBefore.TRAINING, ApprovalBefore.BOTH)
        return Approval.REQUIRED if is_required else Approval.NOT_REQUIRED

    def wants_review(self, model_id: str) -> bool:
        """Whether a person must review the challenger of this model before its promotion."""
        return self.approval_before(model_id) in (ApprovalBefore.PROMOTION, ApprovalBefore.BOTH)

    def approval_before(self, model_id: str) -> ApprovalBefore:
        """Before which steps of this model's retrain a person must approve."""
        default = ApprovalBefore.TRAINING if self.approval is Approval.REQUIRED else ApprovalBefore.NEITHER
        return first_match(self.approval_by_model, model_id) or default


def _check_durations(settings: RetrainSettings) -> None:
    for name in (one.name for one in fields(settings) if one.name.endswith("_s")):
        if not 0 <= getattr(settings, name) <= DURATION_MAX_S:
            raise ValueError(f"{name} is {getattr(settings, name)}, but must be 0 to {DURATION_MAX_S:.0f} seconds.")
    if settings.expires_after_s == 0:
        raise ValueError("expires_after_s is 0, but a request that is never open can't be answered.")
    if settings.watch_s == 0:
        raise ValueError("watch_s is 0, but whether a retrain has helped takes time to show.")


def _check_effects(settings: RetrainSettings) -> None:
    for name in ("ks_distance_min", "tv_distance_min"):
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} is {getattr(settings, name)}, but a distance of distributions lies in 0 to 1.")
    if not 0 <= settings.correlation_min <= 2:
        raise ValueError(f"correlation_min is {settings.correlation_min}, but must be 0 to 2.")
    if not 0 <= settings.sd_min < math.inf:
        raise ValueError(f"sd_min is {settings.sd_min}, but must be 0 or more, and finite.")
