"""Is one segment's values larger than the others', by more than is usual? A sequential test on pairs.

Each value of a segment is paired with the latest value of another segment of its group that it has not been paired
with yet, so that the two share whatever moves the whole. What counts is the sign of their difference: it knows no
units, and its mean is the rank-biserial correlation P(a > b) - P(a < b). The mean of the first pairs, Hoeffding's bound
on its error and a margin make up what a segment may have. Signs beyond that are evidence, gathered by an e-detector of
the Shiryaev-Roberts kind: while the true mean is within what is allowed, and pairs are independent, there are `arl0`
pairs to an alarm on average, or more, whatever the law of the values. That what is usual was underestimated, so that
this does not hold, has a chance of one in a thousand.

Papers: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New
England Journal of Statistics in Data Science 2(2), 2023; W. Hoeffding, "Probability inequalities for sums of bounded
random variables", JASA 58, 1963.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import longer
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

SEGMENT_GAP: Final = "segment_gap"
EFFECT_UNIT: Final = "rank_biserial"
USUAL_MIN: Final = 500  # pairs from which the usual is learnt once there was an alarm
MISTAKE: Final = 1e-3  # the chance that the usual lies beyond its bound
BETS: Final = np.array([0.05, 0.1, 0.2, 0.4])  # shares of what may be staked on a sign: small ones see small gaps
ONSET_BET: Final = 0.2

# Columns of what is known of a row, which is one segment's values: how many pairs the usual is learnt from, those had
# so far, the sum of their signs, and the number of the other's value that was used last. Then for each direction a walk
# whose last zero is the onset; since then pairs, the sum of signs, and both means; and the evidence, by bet.
FIRST, PAIRS, SIGNS, USED, SIDES = 0, 1, 2, 3, 4
WALK, ONSET, N, SIGN, OWN, OTHER, EVIDENCE = range(7)
SIDE = 6 + len(BETS)
KNOWN = SIDES + 2 * SIDE
# columns of what is known of a group: the latest value, its row and its number; the same of another row; values so far
VALUE, ROW, NUMBER, OTHER_VALUE, OTHER_ROW, OTHER_NUMBER, SEEN = range(7)


class Gaps(NamedTuple):
    """Alarms on `k` rows, in order of the values that raised them."""

    at: I64  # [k] index of the value
    row: I64  # [k]
    statistic: F64  # [k]
    threshold: F64  # [k]
    effect: F64  # [k] rank-biserial correlation since the onset, 0 to 1
    before: F64  # [k] mean of the others' values since the onset
    after: F64  # [k] mean of the segment's values since the onset
    onset: I64  # [k] number of the event of the segment with which it began
    n_reference: I64  # [k] pairs from which the usual was learnt
    n_current: I64  # [k] pairs since the onset


class GapBank:
    """The segments of all groups: 216 bytes a row and 56 a group. Rows and groups are numbered without gaps."""

    def __init__(self) -> None:
        self._rows = np.zeros((0, KNOWN))
        self._rules = np.zeros((0, 3))  # by row: pairs to learn from at first, the margin, and `arl0`
        self._groups = np.zeros((0, SEEN + 1))
        self.rows, self.groups = 0, 0  # how many there are; the arrays have room for more

    def grow(self, rules: F64, groups: int) -> None:
        """Have so many groups, and more rows with these [r, 3] rules: pairs to learn from, margin, arl0."""
        rows = self.rows + len(rules)
        self._rows, self._rules = longer(self._rows, rows, 0), longer(self._rules, rows, 0)
        self._groups = longer(self._groups, groups, 0)
        new = slice(self.rows, rows)
        self._rules[new] = rules
        self._rows[new, FIRST], self._rows[new, USED] = rules[:, 0], -1
        self._groups[self.groups : groups, :SEEN] = -1
        self.rows, self.groups = rows, groups

    def set_rules(self, row: int, rules: F64) -> None:
        """Hold a row to other rules from now on."""
        self._rules[row] = rules

    def update(self, row: I64, group: I64, value: F64, life: I64, both: NDArray[np.bool_]) -> Gaps:
        """Fold `m` finite values of these rows, of these groups, which are these events of their segments.

        `both`: smaller values than the others' count too, not larger ones alone.
        """
        facts = np.empty((len(row), len(Gaps._fields)))
        found = _update(self._rows, self._rules, self._groups, row, group, value, life, both, facts)
        whole = {"at", "row", "onset", "n_reference", "n_current"}
        columns = zip(Gaps._fields, facts[:found].T, strict=True)
        return Gaps(*(column.astype(np.int64) if name in whole else column.copy() for name, column in columns))

    def dump(self) -> dict[str, NDArray[Any]]:
        rows, groups = slice(0, self.rows), slice(0, self.groups)
        return {
            "rows": self._rows[rows].copy(),
            "rules": self._rules[rows].copy(),
            "groups": self._groups[groups].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._rows, self._rules, self._groups = (arrays[k].copy() for k in ("rows", "rules", "groups"))
        self.rows, self.groups = len(self._rows), len(self._groups)


@kernel
def _update(
    rows: F64, rules: F64, groups: F64, row: I64, group: I64, value: F64, life: I64, both: NDArray[np.bool_], facts: F64
) -> int:
    found = 0
    for i in range(len(row)):
        r, g, x = row[i], groups[group[i]], value[i]
        is_other = g[ROW] == r
        y = g[OTHER_VALUE] if is_other else g[VALUE]
        number = g[OTHER_NUMBER] if is_other else g[NUMBER]
        if number > rows[r, USED]:
            rows[r, USED] = number
            if _pair(rows[r], rules[r], x, y, life[i], both[i], facts[found]):
                facts[found, 0], facts[found, 1] = i, r
                found += 1
        if not is_other:
            g[OTHER_VALUE], g[OTHER_ROW], g[OTHER_NUMBER] = g[VALUE], g[ROW], g[NUMBER]
        g[VALUE], g[ROW], g[NUMBER] = x, r, g[SEEN]
        g[SEEN] += 1
    return found


@kernel
def _pair(known: F64, rules: F64, own: float, other: float, life: int, both: bool, facts: F64) -> bool:
    """Fold one pair; returns whether it raised an alarm, whose facts begin with the third."""
    sign = 1.0 if own > other else -1.0 if own < other else 0.0
    if known[PAIRS] < known[FIRST]:
        known[PAIRS] += 1
        known[SIGNS] += sign
        return False
    usual, error = 0.0, 0.0
    if known[PAIRS] > 0:
        usual = known[SIGNS] / known[PAIRS]
        error = math.sqrt(2 * math.log(2 / MISTAKE) / known[PAIRS])
    for side in range(2 if both else 1):
        direction = 1.0 - 2.0 * side
        allowed = min(direction * usual + error + rules[1], 1.0)
        one = known[SIDES + side * SIDE : SIDES + (side + 1) * SIDE]
        statistic = _step(one, direction * sign - allowed, 1.0 / (1.0 + max(allowed, 0.0)), own, other, sign, life)
        if statistic >= rules[2]:
            facts[2], facts[3], facts[4] = statistic, rules[2], abs(one[SIGN] / one[N])
            facts[5], facts[6] = one[OTHER], one[OWN]
            facts[7], facts[8], facts[9] = one[ONSET], known[PAIRS], one[N]
            known[FIRST] = max(known[FIRST], USUAL_MIN)
            known[PAIRS] = known[SIGNS] = 0
            known[SIDES:] = 0
            return True
    return False


@kernel
def _step(one: F64, excess: float, stake: float, own: float, other: float, sign: float, life: int) -> float:
    """Fold one pair in one direction; returns the evidence."""
    if one[WALK] <= 0:
        one[WALK], one[ONSET], one[N], one[SIGN], one[OWN], one[OTHER] = 0.0, life, 0.0, 0.0, 0.0, 0.0
    one[WALK] += math.log1p(ONSET_BET * stake * excess)
    one[N] += 1
    one[SIGN] += sign
    one[OWN] = one[OWN] * (1 - 1 / one[N]) + own / one[N]  # a mean that no finite values can overflow
    one[OTHER] = one[OTHER] * (1 - 1 / one[N]) + other / one[N]
    total = 0.0
    for bet in range(len(BETS)):
        one[EVIDENCE + bet] = (one[EVIDENCE + bet] + 1.0) * (1.0 + BETS[bet] * stake * excess)
        total += one[EVIDENCE + bet]
    return total / len(BETS)
