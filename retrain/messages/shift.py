"""Shifts: changes of a series, with their effect size."""

from __future__ import annotations

from math import erf, sqrt

from retrain.messages.alert import Alert, Place
from retrain.messages.value import record

_ERF_OF_HALF_SD = 2 * sqrt(2)


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
        )

    @property
    def series(self) -> tuple[str, str, str]:
        """Column, detector and segment; an incident keeps the strongest shift of each series."""
        return self.column, self.detector, self.segment

    @property
    def strength(self) -> float:
        """The effect on one scale for all units, 0 to 1."""
        return strength_of(self.effect, self.effect_unit)


def strength_of(effect: float, effect_unit: str) -> float:
    """The effect as a Kolmogorov-Smirnov distance, 0 to 1.

    A shift by `d` standard deviations counts as the distance between two normal distributions that far apart,
    2 Φ(d / 2) - 1. A total variation distance is one already; other units are taken as they are, at most 1.
    """
    return erf(effect / _ERF_OF_HALF_SD) if effect_unit == "sd" else min(effect, 1.0)
