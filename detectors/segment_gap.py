"""Segment gap: a sequential test of whether one segment's values exceed those of the others by more than before.

Each value of a segment is paired with the latest value of another segment of its group with which it has not been
paired yet, so the two share whatever moves the whole group. The sign of their difference is what counts: it has no
unit, and its mean is the rank-biserial correlation P(a > b) - P(a < b). The baseline is the mean of the first pairs;
that mean, Hoeffding's bound on its error, and a margin are allowed. Signs beyond that are evidence, summed by an
e-detector of the Shiryaev-Roberts kind. While the true mean is within what is allowed, and pairs are independent, an
alarm takes `arl0` pairs or more on average, whatever the distribution of the values. The baseline lies beyond its bound
with a chance of one in a thousand.

Sources: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
New England Journal of Statistics in Data Science, 2023; W. Hoeffding, "Probability inequalities for sums of bounded
random variables", Journal of the American Statistical Association, 1963.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

SEGMENT_GAP: Final = "segment_gap"
EFFECT_UNIT: Final = "rank_biserial"
BASELINE_MIN: Final = 500  # pairs of the baseline after an alarm, at least
MISTAKE: Final = 1e-3  # the chance that the baseline lies beyond its bound
BETS: Final = np.array([0.05, 0.1, 0.2, 0.4])  # shares of the largest stake on a sign: small ones detect small gaps
ONSET_BET: Final = 0.2

# Columns of a row, which is one segment's values: the pairs of the baseline, those counted so far, the sum of their
# signs, and the number of the other segment's value that was paired last. Then for each direction a walk whose last
# zero is the onset; since the onset the pairs, the sum of their signs, and both means; and the evidence, by bet.
FIRST, PAIRS, SIGNS, USED, SIDES = 0, 1, 2, 3, 4
WALK, ONSET, N, SIGN, OWN, OTHER, EVIDENCE = range(7)
SIDE = 6 + len(BETS)
KNOWN = SIDES + 2 * SIDE
# columns of a group: the latest value, its row and its number; the same of another row; values so far
VALUE, ROW, NUMBER, OTHER_VALUE, OTHER_ROW, OTHER_NUMBER, SEEN = range(7)


class Gaps(NamedTuple):
    """`k` alarms, in order of the values that raised them."""

    at: I64  # [k] index of the value
    row: I64  # [k]
    statistic: F64  # [k]
    threshold: F64  # [k]
    effect: F64  # [k] rank-biserial correlation since the onset, 0 to 1
    before: F64  # [k] mean of the others' values since the onset
    after: F64  # [k] mean of the segment's values since the onset
    onset: I64  # [k] sequence number, within the segment, of the event with which the gap began
    n_reference: I64  # [k] pairs of the baseline
    n_current: I64  # [k] pairs since the onset


class GapBank:
    """The segments of all groups. 216 bytes a row and 56 a group. Rows and groups are numbered without gaps."""

    def __init__(self) -> None:
        self._rows = np.zeros((0, KNOWN))
        self._rules = np.zeros((0, 3))  # by row: pairs of the first baseline, the margin, and `arl0`
        self._groups = np.zeros((0, SEEN + 1))
        self.rows, self.groups = 0, 0  # in use; arrays may be longer

    def grow(self, rules: F64, groups: int) -> None:
        """Hold `groups` groups, and add rows with these rules [r, 3]: pairs of the first baseline, margin, arl0."""
        rows = self.rows + len(rules)
        self._rows, self._rules = ensure_length(self._rows, rows, 0), ensure_length(self._rules, rows, 0)
        self._groups = ensure_length(self._groups, groups, 0)
        new = slice(self.rows, rows)
        self._rules[new] = rules
        self._rows[new, FIRST], self._rows[new, USED] = rules[:, 0], -1
        self._groups[self.groups : groups, :SEEN] = -1
        self.rows, self.groups = rows, groups

    def set_rules(self, row: int, rules: F64) -> None:
        """Change the rules [3] of a row."""
        self._rules[row] = rules

    def update(self, row: I64, group: I64, value: F64, sequence: I64, both: NDArray[np.bool_]) -> Gaps:
        """The alarms of `m` finite values of these rows and groups, with sequence numbers within their segments.

        `both` [m]: whether smaller values than the others' count too, not larger ones alone.
        """
        facts = np.empty((len(row), len(Gaps._fields)))
        found = _update(self._rows, self._rules, self._groups, row, group, value, sequence, both, facts)
        whole = {"at", "row", "onset", "n_reference", "n_current"}
        columns = zip(Gaps._fields, facts[:found].T, strict=True)
        return Gaps(*(column.astype(np.int64) if name in whole else column.copy() for name, column in columns))

    def dump(self) -> dict[str, NDArray[Any]]:
        """A copy of the state."""
        rows, groups = slice(0, self.rows), slice(0, self.groups)
        return {
            "rows": self._rows[rows].copy(),
            "rules": self._rules[rows].copy(),
            "groups": self._groups[groups].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._rows, self._rules, self._groups = (arrays[k].copy() for k in ("rows", "rules", "groups"))
        self.rows, self.groups = len(self._rows), len(self._groups)


@kernel
def _update(
    rows: F64, rules: F64, groups: F64, row: I64, group: I64, value: F64, sequence: I64, both: NDArray[np.bool_],
    facts: F64,
) -> int:  # fmt: skip
    found = 0
    for i in range(len(row)):
        r, g, x = row[i], groups[group[i]], value[i]
        is_other = g[ROW] == r
        y = g[OTHER_VALUE] if is_other else g[VALUE]
        number = g[OTHER_NUMBER] if is_other else g[NUMBER]
        if number > rows[r, USED]:
            rows[r, USED] = number
            if _pair(rows[r], rules[r], x, y, sequence[i], both[i], facts[found]):
                facts[found, 0], facts[found, 1] = i, r
                found += 1
        if not is_other:
            g[OTHER_VALUE], g[OTHER_ROW], g[OTHER_NUMBER] = g[VALUE], g[ROW], g[NUMBER]
        g[VALUE], g[ROW], g[NUMBER] = x, r, g[SEEN]
        g[SEEN] += 1
    return found


@kernel
def _pair(known: F64, rules: F64, own: float, other: float, sequence: int, both: bool, facts: F64) -> bool:
    """Process one pair; returns whether it raised an alarm, and fills `facts` from the third on."""
    sign = 1.0 if own > other else -1.0 if own < other else 0.0
    if known[PAIRS] < known[FIRST]:
        known[PAIRS] += 1
        known[SIGNS] += sign
        return False
    baseline, error = 0.0, 0.0
    if known[PAIRS] > 0:
        baseline = known[SIGNS] / known[PAIRS]
        error = math.sqrt(2 * math.log(2 / MISTAKE) / known[PAIRS])
    for side in range(2 if both else 1):
        direction = 1.0 - 2.0 * side
        allowed = min(direction * baseline + error + rules[1], 1.0)
        one = known[SIDES + side * SIDE : SIDES + (side + 1) * SIDE]
        statistic = _step(one, direction * sign - allowed, 1.0 / (1.0 + max(allowed, 0.0)), own, other, sign, sequence)
        if statistic >= rules[2]:
            facts[2], facts[3], facts[4] = statistic, rules[2], abs(one[SIGN] / one[N])
            facts[5], facts[6] = one[OTHER], one[OWN]
            facts[7], facts[8], facts[9] = one[ONSET], known[PAIRS], one[N]
            known[FIRST] = max(known[FIRST], BASELINE_MIN)
            known[PAIRS] = known[SIGNS] = 0
            known[SIDES:] = 0
            return True
    return False


@kernel
def _step(one: F64, excess: float, stake: float, own: float, other: float, sign: float, sequence: int) -> float:
    """Process one pair in one direction; returns the evidence."""
    if one[WALK] <= 0:
        one[WALK], one[ONSET], one[N], one[SIGN], one[OWN], one[OTHER] = 0.0, sequence, 0.0, 0.0, 0.0, 0.0
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
