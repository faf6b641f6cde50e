"""Rules by model: what a model is retrained for. One function a rule, and the table of them.

    when: [error, prediction and feature, age]

Any entry suffices. All rules of an entry must be met, and at least one of them by the alert itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from retrain.messages.patterns import first_match
from retrain.messages.shift import Shift

ERROR: Final = "error"  # the column of the errors of predictions
PREDICTION: Final = "prediction"
AND: Final = " and "
ALTERNATIVES_MAX: Final = 100
PATTERNS_MAX: Final = 1000
AGE_MAX_S: Final = 100 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What a model is retrained for. A shift below `ks_distance_min`, `tv_distance_min` or `sd_min` meets only `age`.

    when: any of these suffices, each a rule or several with " and " between: `error`, `prediction` (drift of these
        columns), `feature` (of any other), `age`; the alert itself must meet one of them
    strength_min: smallest effect times importance of a feature that counts, the effect as a distance of
        distributions, so that all units compare; 0 to 1
    importance: pattern of features -> factor of the effect, 0 or more; the first match counts, else 1
    age_s: a version is old this long after its first alert or its promotion; event time, in seconds; null: never
    """

    when: list[str] = field(default_factory=lambda: ["error", "prediction", "feature"])
    strength_min: float = 0.0
    importance: Mapping[str, float] = field(default_factory=dict)
    age_s: float | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 1 <= len(self.when) <= ALTERNATIVES_MAX:
            raise ValueError(f"when has {len(self.when)} entries, but must have 1 to {ALTERNATIVES_MAX}.")
        for name in {name for names in self.alternatives() for name in names} - set(RULES):
            raise ValueError(f"when names {name!r}, which is no rule; there are {', '.join(RULES)}, joined by ' and '.")
        if self.age_s is None and any("age" in names for names in self.alternatives()):
            raise ValueError("when names age, but age_s does not say which age.")
        if self.age_s is not None and not 0 <= self.age_s <= AGE_MAX_S:
            raise ValueError(f"age_s is {self.age_s}, but must be 0 to {AGE_MAX_S:.0f} seconds.")
        if not 0 <= self.strength_min <= 1:
            raise ValueError(f"strength_min is {self.strength_min}, but must be 0 to 1.")
        if len(self.importance) > PATTERNS_MAX or not all(0 <= weight < 1e9 for weight in self.importance.values()):
            raise ValueError(f"importance must be at most {PATTERNS_MAX} patterns with numbers of 0 or more.")

    def alternatives(self) -> list[list[str]]:
        """The names of rules of which all must be met, for each entry of `when`."""
        return [entry.split(AND) for entry in self.when]

    def importance_of(self, column: str) -> float:
        """The factor of the effect of this feature."""
        weight = first_match(self.importance, column)
        return 1.0 if weight is None else weight

    def judge(self, shift: Shift | None, others: Iterable[Shift], age_s: float) -> Match:
        """How far a shift of a model of this age, with `others` besides it, meets the rules.

        None: a shift that is too small to count.
        """
        own = [] if shift is None else [shift]
        shifts = [*own, *others]
        partly = False
        for names in self.alternatives():
            rules = [RULES[name] for name in names]
            if not any(rule(self, own, age_s) for rule in rules):
                continue
            if all(rule(self, shifts, age_s) for rule in rules):
                return Match.ALL
            partly = True
        return Match.PARTLY if partly else Match.NONE


class Match(Enum):
    """How far an entry of `when` is met."""

    ALL = auto()
    PARTLY = auto()  # some rules of an entry with several
    NONE = auto()


# Whether one of the shifts, or the model's age in seconds, meets the rule.
ModelRule = Callable[[ModelRules, Sequence[Shift], float], bool]


def has_error_drift(_rules: ModelRules, shifts: Sequence[Shift], _age_s: float) -> bool:
    """The errors of the predictions drifted."""
    return any(shift.column == ERROR for shift in shifts)


def has_prediction_drift(_rules: ModelRules, shifts: Sequence[Shift], _age_s: float) -> bool:
    """The predictions drifted."""
    return any(shift.column == PREDICTION for shift in shifts)


def has_feature_drift(rules: ModelRules, shifts: Sequence[Shift], _age_s: float) -> bool:
    """A feature drifted by enough for its importance."""
    features = [shift for shift in shifts if shift.column not in {ERROR, PREDICTION}]
    return any(shift.strength * rules.importance_of(shift.column) >= rules.strength_min for shift in features)


def is_old(rules: ModelRules, _shifts: Sequence[Shift], age_s: float) -> bool:
    """The version has served for `age_s` or longer."""
    return rules.age_s is not None and age_s >= rules.age_s


RULES: Mapping[str, ModelRule] = MappingProxyType(
    {"error": has_error_drift, "prediction": has_prediction_drift, "feature": has_feature_drift, "age": is_old}
)
