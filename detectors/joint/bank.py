"""Joint drift: whether the dependence between the columns of a model changes, whatever each column does alone.

Rows are taken in blocks. Within a block each column is ranked, and the ranks of every two columns are correlated: their
places, and their distances from the middle. A column that shifts, widens or changes its unit changes none of that from
block to block, and a cycle that all columns share does not show within one block. The correlations of a block are
compared with those of the blocks before, and the evidence for a change is summed over all possible onsets
(Shiryaev-Roberts; sources in `shiryaev_roberts/bank.py`). Two more statistics cover small changes of all pairs: the
mean over all correlations, and the size of all their deviations.

Sources: for the expansion of dependence, R. B. Nelsen, "An Introduction to Copulas", 2006; for the residuals, R. L.
Brown, J. Durbin and J. M. Evans, "Techniques for testing the constancy of regression relationships over time", Journal
of the Royal Statistical Society B, 1975.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import Evidence
from detectors.arrays.bounds import require_between
from detectors.arrays.rows import RowBank, multiples
from detectors.arrays.scan_bank import scan
from detectors.arrays.types import F64, I64
from detectors.base import Alarms
from detectors.joint import kernels

OVERSHOOT = 1.6  # mean ratio of the evidence at an alarm to the threshold, as measured


@dataclass(frozen=True, slots=True)
class JointSettings:
    """Settings of the detector of joint drift. ValueError when one is out of range.

    arl0: average run length: rows of a model between two false alarms, on average, 10,000 to 1e12. The measured
        multiples of this rate are in docs/detectors/measurements.md.
    columns: columns of a model that are watched together, 2 to 64: the first that arrive. Memory and cost of a row grow
        with their square: 12 take 20 KB a model, 50 take 326 KB.
    block: rows that are ranked together, 16 to 64. A shorter block detects a strong change sooner, a longer one keeps
        the false-alarm rate better where rows depend on earlier ones.
    """

    arl0: float = 1e6
    columns: int = 12
    block: int = 24

    def __post_init__(self) -> None:
        require_between(self, "joint", arl0=(10_000, 1e12), columns=(2, 64), block=(16, 64))


class Score(NamedTuple):
    """The part of a column that an alarm is about."""

    column: int  # its place in the row
    is_spread: bool  # False: the ranks of its values; True: their distance from the middle


class JointBank(RowBank):
    """Drift of the dependence between columns, for many models.

    A value is a row of `columns` numbers; NaN and infinities are missing. Two columns are compared in the rows of a
    block that have both. A block with fewer than 8 such rows, or fewer than a third, or with a nearly constant column,
    does not count for the pair. So nulls in one column, however long, are no drift.

    A model learns for 9 blocks, and again after each alarm. The number of blocks doubles, up to 128, with each alarm
    that follows soon after another, so that dependence that keeps changing is reported less and less.

    An alarm's statistic is the evidence, its `category` the two columns that changed most (see `moved`). Before and
    after are the correlation of their ranks, or of the ranks' distances from the middle where those changed. The effect
    is the difference. The onset is exact to a block or two.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x, noise = rng.normal(size=2000), rng.normal(size=2000)
    >>> y = np.where(np.arange(2000) < 1500, 0.8 * x + 0.6 * noise, 0.6 * noise - 0.8 * x)
    >>> bank = JointBank(JointSettings(columns=2), rows=1)
    >>> zeros = np.zeros(2000, np.int64)
    >>> alarms = bank.update(zeros, np.stack([x, y], axis=1), zeros)
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist()
    ([1535], [1488])
    >>> alarms.before.round(1).tolist(), alarms.after.round(1).tolist()
    ([0.8], [-0.6])
    """

    effect_unit: ClassVar[str] = "correlation"
    takes: ClassVar[str] = "rows"
    takes_reference: ClassVar[bool] = False
    shares_rate: ClassVar[bool] = False

    def __init__(self, settings: JointSettings, rows: int) -> None:
        self.settings = settings
        layout = {
            "head": (np.int64, (kernels.HEAD,)),
            "facts": (np.float64, (kernels.FACTS,)),
            "waiting": (np.float64, (settings.block, settings.columns)),
            "stats": (np.float32, (kernels.correlations(settings.columns), kernels.STATS)),
        }
        super().__init__(layout, rows)
        self._threshold = settings.arl0 / settings.block / OVERSHOOT

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return self.settings.columns

    def update(self, rows: I64, values: F64, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:  # noqa: ARG002 -- counts rows, not time
        """See `detectors.base.RatedBank`. IndexError or ValueError for what does not fit."""
        rows, values = self._checked(rows, values)
        threshold = self._threshold * multiples(multiple, len(rows))
        step = partial(kernels.advance, self._state(), threshold, rows, values)
        return scan(rows, step, lambda row, at: self._evidence(row, float(threshold[at])))

    def _checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        rows, values = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(values, np.float64)
        self._store.check_rows(rows)
        if rows.ndim != 1 or values.shape != (len(rows), self.columns):
            raise ValueError(
                f"rows and values must be of one length, and values rows of {self.columns} columns; "
                f"got {rows.shape} and {values.shape}"
            )
        return rows, values

    def learning(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which of these models learn their baseline at present, and gather no evidence."""
        head = self._store.arrays["head"][: self.rows][rows]
        learning_blocks = kernels.LEARNING_BLOCKS << np.minimum(head[:, kernels.ALARMS], kernels.DOUBLINGS_MAX)
        return np.asarray(head[:, kernels.BLOCKS] <= learning_blocks, np.bool_)

    def set_reference(self, row: int, values: F64) -> None:
        """NotImplementedError: samples of single columns do not hold their dependence."""
        raise NotImplementedError("joint takes no reference: it compares the rows of a model with earlier ones")

    def _state(self) -> kernels.JointState:
        return kernels.JointState(**self._store.arrays)

    def _restart(self, state: kernels.JointState, row: int) -> None:
        """After an alarm, the dependence between blocks and the number of alarms stay; all else is learned again."""
        alarms = state.head[row, kernels.ALARMS] + 1
        for array in (state.head, state.waiting, state.stats):
            array[row] = 0
        state.head[row, kernels.ALARMS] = alarms

    def _evidence(self, row: int, threshold: float) -> Evidence:
        state = self._state()
        evidence = self._evidence_of(state, row, threshold)
        self._restart(state, row)
        return evidence

    def _evidence_of(self, state: kernels.JointState, row: int, threshold: float) -> Evidence:
        stats = state.stats[row, : kernels.correlations(int(state.head[row, kernels.WIDTH]))].astype(np.float64)
        sums = stats[:, kernels.SUMS : kernels.AGED]
        weight = weights(int(state.head[row, kernels.WIDTH]))
        first = int(np.argmax(weight * sums.sum(axis=1)))  # of all pairs together, or of two columns
        blocks = min(round(float(stats[first, kernels.AGED :].sum() / sums[first].sum())) + 1, _blocks(state, row))
        weight[[kernels.MEAN_OF_ALL, kernels.SPREAD_OF_ALL][: len(weight) // 6 + 1]] = 0.0
        moved = int(np.argmax(weight * sums.sum(axis=1)))
        before, after = _means(stats[moved], blocks)
        size = self.settings.block
        return Evidence(
            statistic=float(state.facts[row, kernels.EVIDENCE]),
            threshold=threshold,
            effect=abs(after - before),
            before=before,
            after=after,
            onset_ago=blocks * size - 1,
            n_reference=max(_blocks(state, row) - blocks, 0) * size,
            n_current=blocks * size,
            category=moved,
        )


def moved(category: int) -> tuple[Score, Score]:
    """The two scores that an alarm with this `category` is about."""
    b = (1 + math.isqrt(1 + 8 * category)) // 2
    a = category - b * (b - 1) // 2
    return Score(a // 2, bool(a & 1)), Score(b // 2, bool(b & 1))


def weights(columns: int) -> F64:
    """The weight of each correlation's sums, up to a factor, for so many columns; 0 for those that are not kept."""
    b = np.repeat(np.arange(2 * columns), np.arange(2 * columns))
    a = np.concatenate([np.arange(n) for n in range(2 * columns)])
    pairs = columns * (columns - 1) // 2
    weight = np.where((a | b) & 1 == 0, kernels.PLAIN, kernels.OTHER) / max(pairs, 1)
    weight[a // 2 == b // 2] = 0.0
    if columns > 2:
        weight[[kernels.MEAN_OF_ALL, kernels.SPREAD_OF_ALL]] = kernels.WHOLE
    return np.asarray(weight, np.float64)


def _blocks(state: kernels.JointState, row: int) -> int:
    return int(state.head[row, kernels.BLOCKS])


def _means(one: F64, blocks: int) -> tuple[float, float]:
    """The correlation before and in the last `blocks` blocks, solved from the mean of all and the latest mean."""
    counted = max(int(one[kernels.COUNT]), kernels.LEARNING_BLOCKS + 1)
    new = min(blocks, counted - kernels.LEARNING_BLOCKS)
    faded = (1.0 - kernels.NEWEST) ** new
    odds = new / (counted - new)  # mean = (before + odds * after) / (1 + odds)
    after = (one[kernels.LATEST] - faded * (1.0 + odds) * one[kernels.MEAN]) / (1.0 - faded - faded * odds)
    before = (1.0 + odds) * one[kernels.MEAN] - odds * after
    return math.tanh(before), math.tanh(after)
