"""What an alert should say of a change, and how far from that it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.evidence.laws import CHANGES, LAWS, Regime, come, distance
from benchmarks.evidence.shares import CATEGORIES, RATES
from detectors.arrays.types import F64
from retrain.messages.alert import Alert

NEAR = 0.05  # of the truth; of a location: of the deviation before
TWO_SE = 2.0
UNSEEN = "(unseen)"


class Off(NamedTuple):
    """How far a number of an alert is from the truth."""

    error: float  # absolute: of a location in deviations before, of a share or an effect as it is
    is_right: bool  # within 5 % of the truth, or within two standard errors


@dataclass(frozen=True)
class Side:
    """The location of one regime."""

    location: float
    se: Callable[[int], float]  # standard error of a measured location, by the number of values
    accepts: Callable[[float, int], bool]  # whether a measured one is within two standard errors


@dataclass(frozen=True)
class Truth:
    """What an alert should say."""

    before: Side
    after: Side
    effect: float
    shift: float | None
    sd: float  # the deviation before
    unit: float  # of errors of locations
    spread_se: Callable[[int], float]  # relative standard error of the deviation before

    def of_location(self, side: Side, value: float, n: int) -> Off:
        error = abs(value - side.location) / self.unit
        return Off(error, error <= NEAR or side.accepts(value, n))

    def of_effect(self, alert: Alert) -> Off:
        error = abs(alert.effect - self.effect)
        return Off(error, error <= max(NEAR * self.effect, TWO_SE * (alert.effect_se or 0.0)))

    def of_shift(self, alert: Alert) -> Off | None:
        if self.shift is None or alert.shift_sd is None:
            return None
        n, m = alert.n_reference, alert.n_current
        apart = math.hypot(self.before.se(n), self.after.se(m)) / self.sd
        se, error = math.hypot(apart, self.shift * self.spread_se(n)), abs(alert.shift_sd - self.shift)
        return Off(error, error <= max(NEAR * abs(self.shift), TWO_SE * se))


def of_number(name: str, change_name: str, alert: Alert, start: int, until: int) -> Truth:
    """Of a law and its change, which began at value `start`; the alert is of value `until`.

    The regime after a slow change is that of the values on which the alert rests.
    """
    law, change = LAWS[name], CHANGES[change_name]
    old = Regime(name, change, np.zeros(1))
    rests_on = min(alert.n_current, until - start + 1) if change.steps > 1 else 1
    new = Regime(name, change, come(change, until - start + 1)[-rests_on:])
    of_mean = law.few or alert.effect_unit == "sd"
    before, after = (_mean_of(one) if of_mean else _median_of(one) for one in (old, new))
    apart = abs(new.mean - old.mean) / old.sd if alert.effect_unit == "sd" else distance(old, new)
    shift = (after.location - before.location) / old.sd
    return Truth(before, after, apart, shift, old.sd, old.sd, lambda n: math.sqrt((law.kurtosis - 1) / (4 * n)))


def _mean_of(regime: Regime) -> Side:
    def se(n: int) -> float:
        return regime.sd / math.sqrt(n)

    return Side(regime.mean, se, lambda value, n: abs(value - regime.mean) <= TWO_SE * se(n))


def _median_of(regime: Regime) -> Side:
    """A median is within two standard errors if the share of values below it is, of which it is one half."""
    lattice = 1 / 12 if regime.is_whole else 0.0

    def accepts(value: float, n: int) -> bool:
        below, upto = regime.shares(value)
        return below - 1 / math.sqrt(n) <= 0.5 <= upto + 1 / math.sqrt(n)

    def se(n: int) -> float:
        return math.sqrt(1 / (4 * n * regime.density(regime.median) ** 2) + lattice)

    return Side(regime.median, se, accepts)


def of_rate(name: str, alert: Alert) -> Truth:
    """Of ones among zeros; also of values that are missing."""
    p, q = RATES[name]
    sd = math.sqrt(p * (1 - p))
    effect = abs(q - p) / sd if alert.effect_unit == "sd" else abs(q - p)
    skew = abs(1 - 2 * p) / (2 * sd)
    return Truth(_share(p), _share(q), effect, (q - p) / sd, sd, 1.0, lambda n: skew / math.sqrt(n))


def of_category(name: str, alert: Alert) -> Truth:
    """Of the category that the alert names."""
    was, now = (np.array(shares) for shares in CATEGORIES[name])
    mine = was == 0.0 if alert.category == UNSEEN else np.arange(len(was)) == int(alert.category[1:])
    before, after = float(was[mine].sum()), float(now[mine].sum())
    return Truth(_share(before), _share(after), float(np.abs(now - was).sum()) / 2, None, 1.0, 1.0, lambda _: 0.0)


def _share(p: float) -> Side:
    def se(n: int) -> float:
        return math.sqrt(p * (1 - p) / n)

    return Side(p, se, lambda value, n: abs(value - p) <= TWO_SE * se(n) + 0.5 / n)


def drawn(shares: tuple[float, ...], r: np.random.Generator, n: int) -> F64:
    """Ids of categories with these shares."""
    return r.choice(len(shares), n, p=np.array(shares) / sum(shares)).astype(np.float64)
