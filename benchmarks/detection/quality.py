"""How well detectors detect, all on the same streams: `make bench-detection` writes the tables of measurements.md."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.detection import dependence, false_alarms
from benchmarks.detection.drifts import COINS, CONTROLS, DEPENDENT, FAMILIES, Stream, drifting, steady
from benchmarks.detection.scoring import Score, judge
from benchmarks.page import written
from detectors.registry import bank, settings_of

SEEDS, SEEDS_SLOW = 30, 2
SLOW = ("kswin",)  # takes some 100 µs a value
ERRORS = ("ddm", "eddm", "hddm_a", "hddm_w")  # know zeros and ones only
CONTENDERS: list[tuple[str, dict[str, Any]]] = [
    ("shiryaev_roberts", {}),
    ("shiryaev_roberts", {"arl0": 1e6, "tolerance": 0.01}),
    ("ks_window", {}),
    ("ks_window", {"sliding": True}),
    ("adwin", {}),
    ("adwin", {"delta": 0.002}),
    ("page_hinkley", {}),
    ("kswin", {}),
    *((name, {}) for name in ERRORS),
]


def run(name: str, options: dict[str, Any], family: str, streams: list[Stream], score: Score) -> None:
    """Feed each stream to a row of its own, and score the alarms."""
    one = bank(name, settings_of(name, **options), len(streams))
    for row, stream in enumerate(streams):
        rows = np.full(len(stream.values), row)
        begun = time.process_time()
        alarms = one.update(rows, stream.values, rows)
        score.seconds += time.process_time() - begun
        score.values += len(rows)
        judge(alarms.at, alarms.at - alarms.onset_ago, stream, family, score)


def measured(name: str, options: dict[str, Any], seeds: int) -> tuple[Score, Score, Score]:
    """On drifts, and on independent and dependent streams without."""
    only = COINS if name in ERRORS else ""
    scores = Score(), Score(), Score()
    for family in FAMILIES:
        if family.startswith(only):
            run(name, options, family, [drifting(family, seed) for seed in range(seeds)], scores[0])
    for draws, score in ((CONTROLS, scores[1]), (DEPENDENT, scores[2])):
        for control, draw in draws.items():
            if control.startswith(only):
                run(name, options, control, [steady(draw, seed) for seed in range(seeds)], score)
    return scores


def line(name: str, options: dict[str, Any], seeds: int) -> list[str]:
    """A line of the table."""
    drifts, quiet, dependent = measured(name, options, seeds)
    gains = [gain for family in drifts.gains.values() for gain in family]
    missed = 100.0 * (1.0 - len(drifts.delays) / len(gains))
    reported = " ".join([f"`{name}`", *(f"`{key}: {str(value).lower()}`" for key, value in options.items())])
    return [
        reported,
        "" if name in ERRORS else f"{drifts.net(quiet.false_10k):+.3f}",
        f"{drifts.net(quiet.false_10k, COINS):+.3f}",
        f"{missed:.1f} %",
        *(f"{np.percentile(drifts.delays, p):.0f}" if drifts.delays else "" for p in (50, 90)),
        f"{np.median(drifts.onset_errors):.0f}" if drifts.onset_errors else "",
        f"{quiet.false_10k:.2f}",
        "" if name in ERRORS else f"{dependent.false_10k:.2f}",
        f"{1e6 * drifts.seconds / drifts.values:.2f}",
    ]


COLUMNS = (
    "detector, with settings other than its defaults", "net", "net on 0/1", "missed", "delay, median", "delay, 9 of 10",
    "onset, median error", "false in 10,000", "false in 10,000, dependent", "µs a value",
)  # fmt: skip


def main() -> None:
    """Measure false alarms and all contenders, and put both tables into the page."""
    written("false alarms", false_alarms.COLUMNS, false_alarms.lines())
    written("dependence", dependence.COLUMNS, dependence.lines())
    lines = (line(name, options, SEEDS_SLOW if name in SLOW else SEEDS) for name, options in CONTENDERS)
    written("detectors", COLUMNS, lines)
