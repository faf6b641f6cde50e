"""What an alert is about, in one sentence.

What was done to the values is read from the quantiles before and after:

    "moved by 8"          "is 5.6 times as large"     "spread 2 times as wide"      "changed its shape"
    "is 1 more often"     "has the new value 0"       "was rounded to multiples of 5"
    "after ≈ 1.8 × before + 32, as from °C to °F"

A statement is made only where chance does not explain it: differences must exceed `Z` standard errors, and a change of
units must leave no difference in the distributions beyond chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from detectors.arrays.types import F64
from retrain.messages.alert import Alert, AlertKind

# what `before` and `after` are, by kind; of other kinds they are locations in the column's units
_SHARES: Final = MappingProxyType(
    {
        AlertKind.MISSING: "is missing in",
        AlertKind.TYPE_FAULT: "has another type in",
        AlertKind.OUT_OF_RANGE: "is out of the range of the training data in",
        AlertKind.UNSEEN: "is a category that the training data lack in",
    }
)
_OTHERS: Final[Mapping[AlertKind, str]] = MappingProxyType(
    {
        AlertKind.ABSENT: "is no longer in the events",
        AlertKind.SILENT: "stopped: {after} s without any, {before} s on average before",
        AlertKind.EVENT_RATE: "come {after} times an hour, {before} before",
        AlertKind.LABEL_RATE: "come in time for {after} of the predictions, {before} before",
        AlertKind.LIMIT: "is reached: further names are only counted",
        AlertKind.SEGMENT_GAP: "departs from the other segments: {before} there, {after} here",
        AlertKind.REPEATED: "repeat earlier ones: {after} in a row, at most {before} before",
        AlertKind.BETTER_VERSION: "is smaller with version {version} than with {other}: {after} and {before} on "
        "average of {pairs} events that both predicted, evidence {evidence}:1",
        AlertKind.LABEL_LAG: "changed: {before} s before, {after} s after",
    }
)
NAME_CHARS_MAX: Final = 200  # of a name in a sentence


def sentence_of(alert: Alert, change: str = "") -> str:
    """One sentence on an alert. `change` reads on from the column's name; "": from the numbers of the alert."""
    column = shortened(alert.column)
    if alert.columns:
        column = f"{column} of {' and '.join(shortened(one) for one in alert.columns)}"
    if alert.segment:
        column += f" of {shortened(alert.segment)}"
    return f"{column} {change or _change_of(alert)}."


def shortened(name: str) -> str:
    """A name as it is, or its beginning."""
    return name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 1]}…"


def _change_of(alert: Alert) -> str:
    if alert.kind in _SHARES:
        return f"{_SHARES[alert.kind]} {100 * alert.after:.3g} % of the values, {100 * alert.before:.3g} % before"
    if alert.kind in _OTHERS:
        return _OTHERS[alert.kind].format(
            before=number_text(alert.before),
            after=number_text(alert.after),
            version=shortened(alert.model_version) or "(none)",
            other=shortened(alert.category) or "(none)",
            pairs=f"{alert.n_current:,}",
            evidence=f"{alert.statistic:,.0f}",
        )
    what = f"share of {shortened(alert.category)} " if alert.category else ""
    return f"changed: {what}{number_text(alert.before)} before, {number_text(alert.after)} after"


Z: Final = 3.0
KS_CHANCE: Final = 1.36  # times the root of 1 / n + 1 / m: the distance that chance exceeds in 5 % of cases
KS_SAME: Final = 1.63  # ... in 1 %
KS_CLEAR: Final = 1.95  # ... and in 0.1 %
FEW_MAX: Final = 10  # different values that are named one by one
NEW_MIN: Final = 0.1  # share of a value that is named
ON_GRID_MIN: Final = 0.99
GRID_PLACES: Final = 50  # places between two multiples of a step that single precision must tell apart
EACH_SIDE_MIN: Final = 16  # values of each regime that a change of units needs
STEPS: Final = tuple(base * 10.0**power for power in range(-3, 5) for base in (1.0, 5.0))


class UnitChange(NamedTuple):
    """A change of units: after = factor × before + offset."""

    factor: float
    offset: float
    name: str


UNITS: Final = (
    UnitChange(1.8, 32.0, "°C to °F"),
    UnitChange(1 / 1.8, -32 / 1.8, "°F to °C"),
    UnitChange(1.0, 273.15, "°C to K"),
    UnitChange(1.0, -273.15, "K to °C"),
    UnitChange(3.28084, 0.0, "m to ft"),
    UnitChange(0.3048, 0.0, "ft to m"),
    UnitChange(1.609344, 0.0, "mph to km/h, or miles to km"),
    UnitChange(0.6213712, 0.0, "km/h to mph, or km to miles"),
    UnitChange(3.6, 0.0, "m/s to km/h"),
    UnitChange(1 / 3.6, 0.0, "km/h to m/s"),
    UnitChange(2.2369363, 0.0, "m/s to mph"),
    UnitChange(0.44704, 0.0, "mph to m/s"),
    UnitChange(2.2046226, 0.0, "kg to lb"),
    UnitChange(0.45359237, 0.0, "lb to kg"),
    UnitChange(60.0, 0.0, "minutes to seconds, or hours to minutes"),
    UnitChange(1 / 60, 0.0, "seconds to minutes, or minutes to hours"),
    UnitChange(3600.0, 0.0, "hours to seconds"),
    UnitChange(1 / 3600, 0.0, "seconds to hours"),
    UnitChange(10.0, 0.0, "× 10"),
    UnitChange(0.1, 0.0, "÷ 10"),
    UnitChange(100.0, 0.0, "a share to percent, or m to cm"),
    UnitChange(0.01, 0.0, "percent to a share, or cm to m"),
    UnitChange(1000.0, 0.0, "s to ms, km to m, or kg to g"),
    UnitChange(0.001, 0.0, "ms to s, m to km, or g to kg"),
    UnitChange(-1.0, 0.0, "another sign"),
)


def number_text(value: float) -> str:
    """A number with three significant digits, and the whole part of those below a million in full."""
    if abs(value) < 1e6 and (abs(value) >= 1000 or value == round(value)):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1e6 else f"{value:.4g}"


def percent_text(share: float) -> str:
    """A share in percent; small ones with a digit more."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 or percent == round(percent) else f"{percent:.2g} %"


def change_of_numbers(before: F64, after: F64, was: float, now: float, unit: str = "") -> str:
    """What happened to a column of numbers; `was` and `now` are the locations. Reads on from the column's name."""
    unit = f" {unit}" if unit else ""
    sides = f"{number_text(was)}{unit} before, {number_text(now)}{unit} after"
    two = np.unique(np.concatenate([before, after]))
    if len(two) == 2:
        high = float(two[1])
        shares = [percent_text(float(np.mean(one == high))) for one in (before, after)]
        return f"is {number_text(high)} in {shares[1]} of the values, {shares[0]} before"
    if len(np.unique(after)) == 1:
        return f"is always {number_text(float(after[0]))}{unit}; {number_text(was)}{unit} before"
    found = _rounded(before, after)
    if not found and _ks(before, after) > KS_CHANCE * _per_root(before, after):
        found = (
            _share_of_value(before, after)
            or _in_units(before, after)
            or _moved_by_few(before, after, unit)
            or _moved_or_stretched(before, after, now - was, unit)
        )
    return f"{found or 'changed'}: {sides}"


def change_of_categories(category: str, was: float, now: float) -> str:
    """What happened to a column of categories: the share of the one that moved most; "": of all that are new."""
    if not category:
        return f"has new categories in {percent_text(now)} of the values"
    if was == 0.0:
        return f"has the new category {category} in {percent_text(now)} of the values"
    return f"is {category} in {percent_text(now)} of the values, {percent_text(was)} before"


def _share_of_value(before: F64, after: F64) -> str:
    """One value is more or less frequent, and the others are as they were."""
    values, counts = np.unique(np.concatenate([before, after]), return_counts=True)
    if len(values) <= 2:
        return ""
    few = np.argsort(-counts, kind="stable")[:FEW_MAX]
    shares = [(float(np.mean(before == v)), float(np.mean(after == v)), float(v)) for v in values[few]]
    was, now, value = max(shares, key=lambda one: abs(one[1] - one[0]))
    n, m = len(before), len(after)
    p = (was * n + now * m) / (n + m)
    if abs(now - was) < max(NEW_MIN, (Z + 1) * math.sqrt(p * (1 - p) * (1 / n + 1 / m))):
        return ""
    rest = before[before != value], after[after != value]
    if min(map(len, rest)) >= EACH_SIDE_MIN and _ks(*rest) > KS_CLEAR * _per_root(*rest):
        return ""
    if was == 0.0:
        return f"has the new value {number_text(value)} in {percent_text(now)} of the values"
    return f"is {number_text(value)} in {percent_text(now)} of the values, {percent_text(was)} before"


def _in_units(before: F64, after: F64) -> str:
    """The change of units that makes the one distribution the other, if it is the only one that does."""
    if min(len(before), len(after)) < EACH_SIDE_MIN:
        return ""
    near = [one for one in UNITS if _fits(one, before, after, 2 * Z)]
    if len(near) != 1 or not _fits(near[0], before, after, Z):
        return ""
    units = near[0]
    if _ks(units.factor * before + units.offset, after) > KS_SAME * _per_root(before, after):
        return ""
    factor = "-" if units.factor == -1.0 else "" if units.factor == 1.0 else f"{number_text(units.factor)} × "
    offset = f" {'+' if units.offset > 0 else '-'} {number_text(abs(units.offset))}" if units.offset else ""
    return f"after ≈ {factor}before{offset}, as from {units.name}"


def _fits(units: UnitChange, before: F64, after: F64, z: float) -> bool:
    """Whether quantiles agree with a factor and an offset within `z` standard errors, but not with none at all."""
    was, now = _quantiles(before), _quantiles(after)
    if was[-1] == was[0] or now[-1] == now[0]:
        return False
    wide, se = float((now[-1] - now[0]) / (was[-1] - was[0])), _spread_se(before, after)
    if abs(math.log(wide / abs(units.factor))) > z * se:
        return False
    of_middle = wide * _middle_se(before, after / wide)
    target = units.factor * (was if units.factor > 0 else was[::-1]) + units.offset
    if abs(float(np.median(now - target))) > z * of_middle:
        return False
    if units.factor == 1.0:
        return bool(of_middle < 0.02 * abs(units.offset))
    if units.factor == -1.0:
        return bool(abs(float(np.median(was))) > Z * of_middle)
    return bool(abs(math.log(wide)) > Z * se)


def _rounded(before: F64, after: F64) -> str:
    """The values after lie on a grid that is coarse for the values before."""
    finest = GRID_PLACES * 2.0**-23 * float(np.abs(after).max())  # that single precision can show
    for step in sorted((step for step in STEPS if step > finest), reverse=True):
        if _on_grid(after, step) >= ON_GRID_MIN and len(np.unique(after)) > 2:
            is_new = _on_grid(before, step) <= 0.5
            spread = float(np.subtract(*np.quantile(before, (0.9, 0.1))))
            return f"was rounded to multiples of {number_text(step)}" if is_new and spread > step else ""
    return ""


def _on_grid(values: F64, step: float) -> float:
    """The share of the values that are multiples of a step, as single precision shows them."""
    apart = np.abs(values / step - np.rint(values / step))
    return float(np.mean(apart <= np.maximum(2.0**-23 * np.abs(values / step), 1e-9)))


def _moved_by_few(before: F64, after: F64, unit: str) -> str:
    """The move of the mean of a column with few different values, as counts are."""
    if max(len(np.unique(before)), len(np.unique(after))) > FEW_MAX:
        return ""
    moved = float(after.mean() - before.mean())
    is_clear = abs(moved) > Z * math.sqrt(before.var() / len(before) + after.var() / len(after))
    return f"moved by {number_text(moved)}{unit} on average" if is_clear else "changed"


def _moved_or_stretched(before: F64, after: F64, apart: float, unit: str) -> str:
    """Moved, stretched or both, where the distribution is the same otherwise.

    All quantiles together decide. The number is `apart`, the difference of the locations that stand beside it, where
    both go the same way.
    """
    was, now = _quantiles(before), _quantiles(after)
    moved, clear = float(np.median(now - was)), KS_CLEAR * _per_root(before, after)
    by = number_text(apart if apart * moved > 0 else moved)
    if was[-1] == was[0] or now[-1] == now[0]:
        return f"moved by {by}{unit}" if moved else ""
    wide = float((now[-1] - now[0]) / (was[-1] - was[0]))
    has_moved = abs(moved) > 2 * min(_middle_se(before, after), float(was[-1] - was[0]) * _per_root(before, after) / 2)
    if abs(math.log(wide)) <= Z * _spread_se(before, after):
        if _ks(before + moved, after) > clear:
            return "changed its shape"
        return f"moved by {by}{unit}" if has_moved else ""
    times = float(np.median(now / was)) if was.all() else math.inf
    if has_moved and 0 < times < math.inf and _ks(before * times, after) <= clear:
        return f"is {number_text(times)} times as large"
    if _ks(wide * before + float(np.median(now - wide * was)), after) > clear:
        return "changed its shape"
    spread = f"spread {number_text(wide)} times as wide"
    return f"moved by {by}{unit} and {spread}" if has_moved else spread


def _quantiles(values: F64) -> F64:
    """The deciles from the first to the ninth, and those halfway between."""
    found: F64 = np.quantile(values, np.arange(2, 19) / 20)
    return found


def _middle_se(before: F64, after: F64) -> float:
    """About the standard error of a difference of medians, from the middle four fifths of the values."""
    wide = [float(np.subtract(*np.quantile(one, (0.9, 0.1)))) / 2.56 for one in (before, after)]
    return 1.25 * math.sqrt(wide[0] ** 2 / len(before) + wide[1] ** 2 / len(after))


def _spread_se(before: F64, after: F64) -> float:
    """About the standard error of the logarithm of a ratio of spreads, as of normal values."""
    return 0.9 * _per_root(before, after)


def _per_root(before: F64, after: F64) -> float:
    return math.sqrt(1 / len(before) + 1 / len(after))


def _ks(a: F64, b: F64) -> float:
    """The Kolmogorov-Smirnov distance of two samples, to the precision of a float32."""
    a, b = np.sort(a.astype(np.float32)), np.sort(b.astype(np.float32))
    points = np.concatenate([a, b])
    apart = np.searchsorted(a, points, side="right") / len(a) - np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(apart).max())
