"""How long it takes to a first false alarm of `shiryaev_roberts`: `python -m benchmarks.detection.run_length`.

Series of independent normal values that never change, each with a reference of 2,000. A series that has not alarmed by
the end counts at its end, so the mean is a lower bound.
"""

from __future__ import annotations

import numpy as np

from detectors.registry import bank, settings_of

SERIES, ARL0, PARTS = 1000, 1e4, (0.1, 0.5, 1.0, 2.0, 4.0)
STRETCH = 500  # values of each series in a call


def first_alarms() -> np.ndarray:
    """Values of each series before its first alarm; `PARTS[-1] * ARL0` where there was none."""
    random = np.random.default_rng(1)
    watching = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=ARL0), SERIES)
    for row in range(SERIES):
        watching.set_reference(row, random.normal(size=2000))
    end = int(PARTS[-1] * ARL0)
    first = np.full(SERIES, end)
    rows = np.tile(np.arange(SERIES), STRETCH)
    for begun in range(0, end, STRETCH):
        alarms = watching.update(rows, random.normal(size=len(rows)), np.zeros(len(rows), np.int64))
        np.minimum.at(first, alarms.row, begun + alarms.at // SERIES)
    return first


def main() -> None:
    first = first_alarms()
    print(
        f"{SERIES} series, arl0 {ARL0:g}: mean of at least {first.mean():,.0f} values, median {np.median(first):,.0f}"
    )
    print("| within, as a multiple of arl0 | series that alarmed | geometric of this mean |\n| --- | --- | --- |")
    for part in PARTS:
        share, law = (first < part * ARL0).mean(), 1.0 - np.exp(-part * ARL0 / first.mean())
        print(f"| {part} | {share:.1%} | {law:.1%} |")


if __name__ == "__main__":
    main()
