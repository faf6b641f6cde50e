"""For what a model is retrained: rules that an alert can meet, one class each, and the table of them.

when: [error, prediction and feature, age]
any of these, and within one all of its rules; the alert at hand must meet one of them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Protocol

from retrain.messages.shift import Shift

ERROR: Final = "error"  # the column that the errors of predictions are watched in
PREDICTION: Final = "prediction"
AND: Final = " and "
ALTERNATIVES_MAX: Final = 100
PATTERNS_MAX: Final = 1000
AGE_MAX_S: Final = 100 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class ModelRules:
    """For what a model is retrained. What moves by less than `ks_distance_min`, `tv_distance_min` or `sd_min` meets no
    rule but `age`.

    when: any of these suffices, each a rule or several with " and " between: `error`, `prediction` (drift of these
        columns), `feature` (of any other), `age`; the alert at hand must meet one of them
    strength_min: a feature counts if its effect times its importance is at least this; the effect as a distance of
        distributions, so that all units compare; 0 to 1
    importance: pattern of features -> what the effect is multiplied with, 0 or more; the first that fits counts, else 1
    age_s: a version that was first heard of, or promoted, so long ago is old; event time, in seconds; null: never
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
        """What the effect of this feature is multiplied with."""
        return next((weight for pattern, weight in self.importance.items() if fnmatchcase(column, pattern)), 1.0)

    def judge(self, move: Shift | None, others: Iterable[Shift], age_s: float) -> Match:
        """Whether an alert that says `move` is worth a retrain of a model of this age, of which `others` moved too.

        `move` is None if it is too small to count.
        """
        moves = [*others] if move is None else [move, *others]
        partly = False
        for names in self.alternatives():
            rules = [RULES[name] for name in names]
            if not any(rule.met(self, [move] if move else [], age_s) for rule in rules):
                continue
            if all(rule.met(self, moves, age_s) for rule in rules):
                return Match.ALL
            partly = True
        return Match.PARTLY if partly else Match.NONE


class Match(Enum):
    """How much of an entry of `when` is met."""

    ALL = auto()
    PARTLY = auto()  # of one with several rules
    NONE = auto()


class ModelRule(Protocol):
    """What can be asked of what has moved, and of the model's age in seconds."""

    def met(self, rules: ModelRules, moves: list[Shift], age_s: float) -> bool:
        """Whether one of these moves, or the age, meets the rule."""
        ...


class OnErrorDrift:
    """The errors of the predictions are not what they were: labels say so."""

    def met(self, rules: ModelRules, moves: list[Shift], age_s: float) -> bool:  # noqa: ARG002 -- a rule like others
        return any(move.column == ERROR for move in moves)


class OnPredictionDrift:
    """The model says other things than it did."""

    def met(self, rules: ModelRules, moves: list[Shift], age_s: float) -> bool:  # noqa: ARG002 -- a rule like others
        return any(move.column == PREDICTION for move in moves)


class OnFeatureDrift:
    """A feature has moved by enough, as important as it is."""

    def met(self, rules: ModelRules, moves: list[Shift], age_s: float) -> bool:  # noqa: ARG002 -- a rule like others
        return any(
            move.strength * rules.importance_of(move.column) >= rules.strength_min
            for move in moves
            if move.column not in {ERROR, PREDICTION}
        )


class OnAge:
    """The version has served for long."""

    def met(self, rules: ModelRules, moves: list[Shift], age_s: float) -> bool:  # noqa: ARG002 -- a rule like others
        return rules.age_s is not None and age_s >= rules.age_s


RULES: Mapping[str, ModelRule] = MappingProxyType(
    {"error": OnErrorDrift(), "prediction": OnPredictionDrift(), "feature": OnFeatureDrift(), "age": OnAge()}
)
