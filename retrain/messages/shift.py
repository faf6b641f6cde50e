"""Shifts: changes of a series, with their effect size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import erf, sqrt
from typing import Final

from retrain.messages.alert import Alert, Place
from retrain.messages.distribution import Distribution
from retrain.messages.value import record

SAME_STATE = 1 / 3  # of the distance between two states, within which locations are those of one
_ERF_OF_HALF_SD = 2 * sqrt(2)
DISTRIBUTIONS_MAX: Final = 3  # of an incident
NAMED_MAX: Final = 3  # other columns in a sentence


@record
class Shift:
    """What moved according to one detector: the facts of an alert that people and pipelines need."""

    alert_id: str  # the alert that reported the shift
    column: str  # the column that moved
    detector: str  # the detector that raised the alarm
    effect: float  # effect size, in `effect_unit`; never negative
    effect_unit: str  # as in the alert: "ks_distance", "tv_distance", "sd", "correlation", "rate" or "rank_biserial"
    before: float  # location of the old regime, in the column's units; the share of `category` where one is named
    after: float  # the same of the new regime
    onset: Place  # first event of the new regime, as estimated
    category: str = ""  # the category whose share moved most; "" for numbers
    columns: tuple[str, ...] = ()  # of `joint`: the two columns whose dependence moved most
    segment: str = ""  # the segment that moved; "" for the model as a whole
    n_reference: int = 0  # values that stand for the old regime; 0 in records of earlier versions
    n_current: int = 0  # values that stand for the new regime; 0 in records of earlier versions
    effect_se: float | None = None  # standard error of `effect`, in its unit; null where not measured
    shift_sd: float | None = None  # `after` - `before` in standard deviations of the old regime; null as in the alert
    # of the old and the new regime; null before the alert is ready, and beyond the three strongest of an incident
    distribution: Distribution | None = None
    summary: str = ""  # what changed, in one sentence; "" where not measured

    @classmethod
    def of(cls, alert: Alert) -> Shift:
        """The shift that this alert reports."""
        return cls(
            alert_id=alert.alert_id,
            column=alert.column,
            detector=alert.detector,
            effect=alert.effect,
            effect_unit=alert.effect_unit,
            before=alert.before,
            after=alert.after,
            onset=alert.onset,
            category=alert.category,
            columns=alert.columns,
            segment=alert.segment,
            n_reference=alert.n_reference,
            n_current=alert.n_current,
            effect_se=alert.effect_se,
            shift_sd=alert.shift_sd,
            distribution=alert.distribution,
            summary=alert.summary,
        )

    @property
    def series(self) -> tuple[str, str, str]:
        """Column, detector and segment; an incident keeps the strongest shift of each series."""
        return self.column, self.detector, self.segment

    def repeats(self, other: Shift) -> bool:
        """Whether it leads from the same state to the same state as another shift of its series.

        A state is the same if its locations differ by at most a third of the distance between the two.
        """
        return self._leads(other, other.before, other.after)

    def reverses(self, other: Shift) -> bool:
        """Whether it leads back the way of another shift of its series."""
        return self._leads(other, other.after, other.before)

    def _leads(self, other: Shift, before: float, after: float) -> bool:
        near = SAME_STATE * abs(other.after - other.before)
        is_same_series = (self.series, self.category) == (other.series, other.category)
        return is_same_series and near > 0 and abs(self.before - before) <= near and abs(self.after - after) <= near

    @property
    def strength(self) -> float:
        """The effect on one scale for all units, 0 to 1."""
        return strength_of(self.effect, self.effect_unit)


def with_shift(shifts: Sequence[Shift], shift: Shift, columns_max: int) -> tuple[Shift, ...]:
    """The shifts with this one among them, strongest first, unless they hold a stronger one of its series.

    The newest numbers of an alert replace its earlier ones, also where they are weaker.
    """
    rest = []
    for other in shifts:
        if other.series != shift.series:
            rest.append(other)
        elif other.alert_id != shift.alert_id and other.strength >= shift.strength:
            return tuple(shifts)
    rest.append(shift)
    kept = sorted(rest, key=_strongest_first)[:columns_max]
    for i, other in enumerate(kept[DISTRIBUTIONS_MAX:], DISTRIBUTIONS_MAX):
        if other.distribution is not None:
            kept[i] = replace(other, distribution=None)
    return tuple(kept)


def _strongest_first(shift: Shift) -> tuple[float, str, str, str]:
    return -shift.strength, *shift.series


def summary_of(shifts: Sequence[Shift]) -> str:
    """One sentence on shifts, strongest first: the first of them that is measured, and which other columns moved."""
    first = next((shift for shift in shifts if shift.summary), shifts[0])
    others = list(dict.fromkeys(shift.column for shift in shifts if shift.column != first.column))
    sentence = first.summary.removesuffix(".") or f"{first.column} changed"
    if not others:
        return f"{sentence}."
    more = f" and {len(others) - NAMED_MAX} more" if len(others) > NAMED_MAX else ""
    return f"{sentence}; also {', '.join(others[:NAMED_MAX])}{more}."


def strength_of(effect: float, effect_unit: str) -> float:
    """The effect as a Kolmogorov-Smirnov distance, 0 to 1.

    A shift by `d` standard deviations counts as the distance between two normal distributions that far apart,
    2 Φ(d / 2) - 1. A total variation distance is one already; other units are taken as they are, at most 1.
    """
    return erf(effect / _ERF_OF_HALF_SD) if effect_unit == "sd" else min(effect, 1.0)
