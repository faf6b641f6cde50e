"""One threshold for every series, or one that falls with the number of series that show evidence (e-BH): what either
costs, and what it finds.

`python -m benchmarks.detection.fleet` watches 16,000 series by the Shiryaev-Roberts sum of a known shift (the best case
of any detector), of which some drift at the same time, or one after the other. The union bound alarms where a sum
reaches K times the allowed mean time; e-BH (S. Dandapanthula and A. Ramdas, "Multiple testing in multi-stream
sequential change detection", 2025; R. Wang and A. Ramdas, "False discovery rate control with e-values", 2022) where the
k greatest sums reach K / k times as much. Both are fed values in step, which only a simulation can.
"""

from __future__ import annotations

import numpy as np

SERIES = 16_000
SHIFT = 0.5
BEFORE, AFTER = 500, 600  # values of each series
ALLOWED = 1e4  # steps of all series between two false alarms
RUNS = 5
DRIFTING = (1, 10, 100, 1_000, 16_000)


def main() -> None:
    print(f"{'drifting':>10} {'':18} {'union bound':>24} {'e-BH':>24}")
    print(f"{'':>10} {'':18} {'delay':>12} {'false/run':>11} {'delay':>12} {'false/run':>11}")
    for drifting in DRIFTING:
        for apart in (0, AFTER // 2):
            if apart and drifting == 1:
                continue
            runs = [_run(np.random.default_rng([drifting, apart, seed]), drifting, apart) for seed in range(RUNS)]
            union, ebh = np.mean(runs, axis=0)
            how = "one after the other" if apart else "at once"
            print(
                f"{drifting:10,} {how:18} {union[0]:12.1f} {union[1]:11.2f} {ebh[0]:12.1f} {ebh[1]:11.2f}", flush=True
            )


def _run(random: np.random.Generator, drifting: int, apart: int) -> list[tuple[float, float]]:
    """Mean delay of those that drift, and how many others alarmed; for both rules."""
    onset = BEFORE + (np.arange(drifting) * apart) // drifting
    sums = np.zeros((2, SERIES))
    found = np.full((2, SERIES), -1)
    for step in range(BEFORE + AFTER):
        values = random.normal(size=SERIES)
        values[:drifting] += np.where(step >= onset, SHIFT, 0.0)
        sums = (1.0 + sums) * np.exp(SHIFT * values - SHIFT * SHIFT / 2)
        for rule, reached in enumerate((_union(sums[0]), _ebh(sums[1]))):
            new = reached & (found[rule] < 0)
            found[rule][new] = step
            sums[rule][reached] = 0.0  # one alarm, and it begins again
    return [_score(times, onset) for times in found]


def _union(sums: np.ndarray) -> np.ndarray:
    return sums >= SERIES * ALLOWED


def _ebh(sums: np.ndarray) -> np.ndarray:
    order = np.sort(sums)[::-1]
    enough = np.flatnonzero(order * np.arange(1, SERIES + 1) >= SERIES * ALLOWED)
    return sums >= order[enough[-1]] if len(enough) else np.zeros(SERIES, bool)


def _score(times: np.ndarray, onset: np.ndarray) -> tuple[float, float]:
    drifting = len(onset)
    mine = times[:drifting]
    late = np.where(mine >= onset, mine - onset, AFTER).astype(float)
    others = np.count_nonzero(times[drifting:] >= 0) + np.count_nonzero((mine >= 0) & (mine < onset))
    return float(late.mean()), float(others)


if __name__ == "__main__":
    main()
