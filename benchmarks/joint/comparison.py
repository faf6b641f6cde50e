"""How joint drift is found: `python -m benchmarks.joint` writes its tables into docs/detectors/measurements.md.

Every way is set to alarm, on independent columns, in one of ten streams within 1,000 rows: others by a threshold that
was found on such streams, `joint` by asking for that rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.joint.rivals import RIVALS, normal_scores
from benchmarks.joint.streams import CALM, CONTROLS, DRIFTS, LEARN, noise
from benchmarks.page import written
from detectors.arrays.types import F64
from detectors.joint.bank import JointBank, JointSettings

MODELS = 16_000
COLUMNS = ("drift, or control", "`joint`", *RIVALS)
COST_COLUMNS = ("columns", "models", "ns of processor time a row", "bytes a model")
Way = Callable[[F64, F64], F64]  # where [rows, streams] it says that there is drift, of rows and their normal scores


def joint(x: F64, _scores: F64) -> F64:
    """Where `joint`, asked for one false alarm in 10,000 rows, raises one."""
    rows, streams, columns = x.shape
    bank = JointBank(JointSettings(arl0=1e4, columns=columns), streams)
    at = np.tile(np.arange(streams), rows)
    found = bank.update(at, x.reshape(-1, columns), np.zeros(len(at), np.int64))
    raised = np.zeros((rows, streams), bool)
    raised[found.at // streams, found.row] = True
    return raised


def ways(columns: int) -> list[Way]:
    """`joint`, and the rivals with the thresholds that independent columns give them."""
    calm = [normal_scores(noise(np.random.default_rng(seed), columns)) for seed in (101, 102, 103)]
    found: list[Way] = [joint]
    for statistic in RIVALS.values():
        largest = [statistic(z)[LEARN : LEARN + CALM].max(axis=0) for z in calm]
        least = float(np.quantile(np.concatenate(largest), 0.9))
        found.append(partial(_reaches, statistic, least))
    return found


def _reaches(statistic: Callable[[F64], F64], least: float, _x: F64, scores: F64) -> F64:
    return np.asarray(statistic(scores) >= least)


def delays(raised: F64) -> F64:
    """Rows from the drift to the first alarm; infinite where there is none."""
    after = raised[LEARN + CALM :]
    return np.where(after.any(axis=0), after.argmax(axis=0), np.inf)


def lines() -> Iterator[list[str]]:
    """A line a drift, then one a control: `joint`, then the rivals."""
    known: dict[int, list[Way]] = {}
    for name, (make, columns) in DRIFTS.items():
        known[columns] = known.get(columns) or ways(columns)
        x = make(np.random.default_rng(1), columns)
        z = normal_scores(x)
        yield [name, *(_delay(delays(way(x, z))) for way in known[columns])]
    for name, control in CONTROLS.items():
        x = control(np.random.default_rng(2), 12)
        z = normal_scores(x)
        raised = [way(x, z)[LEARN : LEARN + CALM].any(axis=0).mean() for way in known[12]]
        yield [f"*false:* {name}", *(f"{100 * one:.0f} %" for one in raised)]


def _delay(found: F64) -> str:
    missed = np.isinf(found).mean()
    median = np.median(found)
    return ("-" if np.isinf(median) else f"{median:.0f}") + (f" ({100 * missed:.0f} %)" if missed else "")


def costs() -> Iterator[list[str]]:
    """What a row costs where many models take turns at random."""
    r = np.random.default_rng(1)
    for columns, models in ((12, 100), (12, MODELS), (50, 100)):
        bank = JointBank(JointSettings(columns=columns), models)
        values = r.standard_normal((100_000, columns))
        rows = [r.integers(0, models, len(values)) for _ in range(3)]
        taken = []
        for part in rows:
            began = time.process_time()
            bank.update(part, values, part)
            taken.append((time.process_time() - began) / len(values))
        yield [str(columns), f"{models:,}", f"{1e9 * min(taken[1:]):,.0f}", f"{bank.bytes_per_row:,}"]


def main() -> None:
    """Measure every method, and put both tables into the page."""
    written("joint", COLUMNS, lines())
    written("joint costs", COST_COLUMNS, costs())
