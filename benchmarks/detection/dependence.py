"""False alarms of `shiryaev_roberts` on laws that never change, but whose values depend on earlier ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.detection.dependent_laws import LAWS, TIMED
from benchmarks.detection.drifts import Draw
from detectors.arrays.types import F64, I64
from detectors.registry import bank, settings_of

ASKED = 1e5  # values to a false alarm
ROWS, VALUES = 20, 50_000
SHIFTED, SHIFTED_TIMED, SEEN_IN = 5000, 40_000, 3000  # where a real change comes; values in which it must be seen
BEGUN_MS = 1_767_571_200_000
COLUMNS = ("law", "false in 10,000", "mean + 2 sd detected", "sd × 2 detected", "sd × 0.5 detected")


def lines() -> Iterator[list[str]]:
    """A line a law."""
    untimed = {law: (draw, 0) for law, draw in LAWS.items()}
    timed = {f"{law}, with event times": of for law, of in TIMED.items()}
    for number, (law, (draw, apart_ms)) in enumerate((untimed | timed).items()):
        changes = ((2.0, 1.0), (0.0, 2.0), (0.0, 0.5))
        seen = [seen_of(draw, number, moved, scaled, apart_ms) for moved, scaled in changes]
        yield [law, f"{false_10k(draw, number, apart_ms):.2f}", *(f"{100 * share:.0f} %" for share in seen)]


def false_10k(draw: Draw, seed: int, apart_ms: int = 0) -> float:
    """False alarms in 10,000 values, so many milliseconds apart."""
    random = np.random.default_rng([4, seed])
    series = np.array([draw(random, np.zeros(VALUES)) for _ in range(ROWS)])
    return 1e4 * len(_alarms(series, apart_ms)) / (ROWS * VALUES)


def seen_of(draw: Draw, seed: int, moved: float, scaled: float, apart_ms: int = 0) -> float:
    """The share of series in which a change of the law is seen: after 5,000 values or, with event times, 40,000."""
    random = np.random.default_rng([5, seed])
    changed = SHIFTED_TIMED if apart_ms else SHIFTED
    series = np.array([draw(random, np.zeros(changed + SEEN_IN)) for _ in range(ROWS)])
    series[:, changed:] = scaled * series[:, changed:] + moved * series.std()
    row, at = np.divmod(_alarms(series, apart_ms), changed + SEEN_IN)
    return len(np.unique(row[at >= changed])) / ROWS


def _alarms(series: F64, apart_ms: int) -> I64:
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=ASKED), len(series))
    row, at = np.divmod(np.arange(series.size), series.shape[1])
    return one.update(row, series.reshape(-1), BEGUN_MS + at * apart_ms).at
