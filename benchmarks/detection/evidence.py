"""How true the numbers of alerts are, at `firing` and at `ready`: `python -m benchmarks.detection.evidence`.

One fold watches models whose columns follow twelve laws. At a known event each model changes in one way. The truth is
that of many redraws of the values from the change to the event with which the alert is ready.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import written
from detectors.arrays.types import F64
from detectors.recovery.measure import categories_measured, numbers_measured
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records

BEFORE: Final = 1000  # events before the change
AFTER: Final = 700
SEEDS: Final = 6
REDRAWS: Final = 60
READY: Final = 500  # events after the onset
START_MS: Final = 1_782_889_200_000
DETECTORS: Final = (
    "shiryaev_roberts", "adwin", "ks_window", "category_rates", "category_window", "river_page_hinkley"
)  # fmt: skip
Draw = Callable[[np.random.Generator, int], F64]

LAWS: Final[dict[str, Draw]] = {
    "normal": lambda rng, n: rng.normal(0.0, 1.0, n),
    "uniform": lambda rng, n: rng.uniform(-1.7, 1.7, n),
    "laplace": lambda rng, n: rng.laplace(0.0, 0.7, n),
    "student": lambda rng, n: rng.standard_t(4, n),
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "gamma": lambda rng, n: rng.gamma(3.0, 0.6, n),
    "lognormal": lambda rng, n: rng.lognormal(0.0, 0.5, n),
    "beta": lambda rng, n: rng.beta(2.0, 5.0, n),
    "mixture": lambda rng, n: rng.normal(0.0, 0.5, n) + 2.0 * (rng.random(n) < 0.4),
    "tenths": lambda rng, n: np.round(rng.normal(0.0, 1.0, n), 1),
    "marks": lambda rng, n: (rng.random(n) < 0.1) * 1.0,
    "categories": lambda rng, n: np.minimum(rng.geometric(0.4, n), 9) * 1.0,
}


def _by(shift_sd: float) -> Callable[[str, F64, F64, np.random.Generator], F64]:
    def changed(law: str, values: F64, progress: F64, rng: np.random.Generator) -> F64:
        if law in ("marks", "categories"):
            new = np.where(rng.random(len(values)) < 0.1 * shift_sd, 1.0 if law == "marks" else 7.0, values)
            return np.asarray(np.where(rng.random(len(values)) < progress, new, values))
        return np.asarray(values + shift_sd * _sd(law) * progress)

    return changed


def _wider(law: str, values: F64, progress: F64, rng: np.random.Generator) -> F64:
    if law in ("marks", "categories"):
        return _by(3.0)(law, values, progress, rng)
    return np.asarray(values * 2.0)


def _sd(law: str) -> float:
    return float(LAWS[law](np.random.default_rng(0), 4000).std())


# change -> how, and over how many events it comes
CHANGES: Final = {
    "jump of 1": (_by(1.0), 1),
    "jump of 3": (_by(3.0), 1),
    "jump of 8": (_by(8.0), 1),
    "twice as wide": (_wider, 1),
    "ramp to 2": (_by(2.0), 200),
}


def drawn(law: str, change: str, rng: np.random.Generator) -> F64:
    """The values of a column, [BEFORE + AFTER]."""
    how, events = CHANGES[change]
    progress = np.minimum(np.arange(1, AFTER + 1) / events, 1.0)
    new = how(law, LAWS[law](rng, AFTER), progress, rng)
    return np.concatenate([LAWS[law](rng, BEFORE), new])


class Case(NamedTuple):
    """One alert beside the truth."""

    detector: str
    state: str
    before: float  # errors, in standard deviations of before, or as shares ...
    after: float
    effect: float  # ... in its unit
    onset: float  # in events
    is_right: bool  # the effect within 5 % of the truth, or two standard errors


def alerts() -> Iterator[dict[str, Any]]:
    """The alerts of all models."""
    codec = JsonCodec(JsonSettings())
    settings = {name: settings_of(name) for name in DETECTORS}
    fold = DetectFold(DetectSettings({"predictions": codec}, settings, min_events_after_onset=READY))
    for change in CHANGES:
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, len(change)])
            columns = {law: drawn(law, change, rng) for law in LAWS}
            rows = [(i, -1, b"", _event(f"{change}/{seed}", i, columns), ()) for i in range(BEFORE + AFTER)]
            for output in fold.step([Records.build("predictions", 0, rows)]):
                yield json.loads(output.value or b"{}")


def _event(model: str, i: int, columns: dict[str, F64]) -> bytes:
    features: dict[str, Any] = {law: float(values[i]) for law, values in columns.items()}
    features["categories"] = f"c{features['categories']:.0f}"
    event = {"model_id": model, "prediction_id": str(i), "event_time": START_MS + 1000 * i, "features": features}
    return json.dumps(event).encode()


def case_of(alert: dict[str, Any]) -> Case | None:
    """The errors of an alert; None for a false alarm, or one that is not about the change."""
    law, change = alert["column"], alert["model_id"].split("/")[0]
    state, end = alert["state"], (alert["ready_at"] or alert["at"])["offset"]
    if law not in LAWS or state == "resolved" or alert["at"]["offset"] < BEFORE or alert["effect_se"] is None:
        return None
    rng, unit = np.random.default_rng(1), alert["effect_unit"]
    many = [drawn(law, change, rng) for _ in range(REDRAWS)]
    before = np.concatenate([values[:BEFORE] for values in many])
    after = np.concatenate([values[BEFORE : end + 1] for values in many])
    if law == "categories":
        true = categories_measured(before, after, float(alert["category"].removeprefix("c") or -2))
    else:
        true = numbers_measured(before, after, unit) or categories_measured(before, after)
    scale = 1.0 if law in ("categories", "marks") else float(before.std())
    effect = abs(alert["effect"] - true.effect)
    return Case(
        alert["detector"],
        state,
        abs(alert["before"] - true.before) / scale,
        abs(alert["after"] - true.after) / scale,
        effect,
        abs(alert["onset"]["offset"] - BEFORE),
        effect <= max(0.05 * true.effect, 2 * alert["effect_se"]),
    )


def lines(cases: list[Case]) -> Iterator[list[str]]:
    """A line for each detector and state."""
    for detector in DETECTORS:
        for state in ("firing", "ready"):
            mine = [case for case in cases if (case.detector, case.state) == (detector, state)]
            if mine:
                errors = [_both([getattr(case, name) for case in mine]) for name in ("before", "after", "effect")]
                onset = _both([case.onset for case in mine], "{:.0f}")
                right = f"{100 * np.mean([case.is_right for case in mine]):.0f} %"
                yield [f"`{detector}`", f"`{state}`", str(len(mine)), *errors, onset, right]


def _both(errors: list[float], form: str = "{:.2f}") -> str:
    known: NDArray[np.float64] = np.array([one for one in errors if math.isfinite(one)])
    return " / ".join(form.format(one) for one in np.quantile(known, (0.5, 0.95)))


def main() -> None:
    """Rewrite the table."""
    cases = [case for case in map(case_of, alerts()) if case]
    columns = ("detector", "alert", "alerts", "`before`", "`after`", "`effect`", "onset, events", "effect right")
    written("evidence", columns, lines(cases))


if __name__ == "__main__":
    main()
