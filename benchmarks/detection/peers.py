"""Peers on recordings that this repository ships: `python -m benchmarks.detection.peers`.

12 streams of errors of a model whose concept changes at the 8,000th value, and two features that move at the 20,000th
(`examples/data/README.md`). Batch rules compare each batch of 500 values with the first 2,000, as a nightly job does.
An alarm before the change is false. A gradual change begins at 7,000. The delay is that of the first alarm since then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from river import drift
from scipy.stats import ks_2samp

from detectors import RiverDetector, detector
from detectors.arrays.types import F64
from detectors.profile.distances import psi

DATA = Path(__file__).parents[2] / "examples" / "data"
REFERENCE, BATCH = 2000, 500
Rule = Callable[[F64], list[int]]


def recordings() -> Iterator[tuple[str, F64, int]]:
    """Kind, values, and the index at which the change begins."""
    errors = pq.read_table(DATA / "error_streams.parquet").to_pydict()
    names, values = np.array(errors["stream"]), np.array(errors["error"], np.float64)
    for name in dict.fromkeys(errors["stream"]):
        yield "errors", values[names == name], 7000 if "gradual" in name else 8000
    sine = pq.read_table(DATA / "sine_0123_abrupto.parquet").to_pydict()
    for column in list(sine)[:2]:
        yield "features", np.array(sine[column], np.float64)[:30_000], 20_000


def _stream(make: Callable[[], Any]) -> Rule:
    def run(values: F64) -> list[int]:
        watching, found = make(), []
        for i, value in enumerate(values.tolist()):
            watching.update(value)
            if watching.drift_detected:
                found.append(i)
        return found

    return run


def _batches(differs: Callable[[F64, F64], bool]) -> Rule:
    def run(values: F64) -> list[int]:
        ends = range(REFERENCE + BATCH, len(values) + 1, BATCH)
        return [end - 1 for end in ends if differs(values[:REFERENCE], values[end - BATCH : end])]

    return run


def rules() -> dict[str, Rule]:
    """By the name in the table."""
    return {
        "`shiryaev_roberts`": _stream(lambda: detector("shiryaev_roberts", arl0=1e6, tolerance=0.01)),
        "`ks_window`": _stream(lambda: detector("ks_window")),
        "`adwin`": _stream(lambda: detector("adwin")),
        "river ADWIN": _stream(drift.ADWIN),
        "river PageHinkley": _stream(drift.PageHinkley),
        "river HDDM_W, by the adapter": _stream(lambda: RiverDetector("hddm_w")),
        "scipy ks_2samp in batches, p < .05": _batches(lambda a, b: ks_2samp(a, b, method="asymp").pvalue < 0.05),
        "scipy ks_2samp in batches, p < .001": _batches(lambda a, b: ks_2samp(a, b, method="asymp").pvalue < 0.001),
        "PSI in batches, > .1": _batches(lambda a, b: psi(a, b).value > 0.1),
        "PSI in batches, > .2": _batches(lambda a, b: psi(a, b).value > 0.2),
    }


def main() -> None:
    held = list(recordings())
    print(
        "| rule | errors: detected, median delay, false | features: detected, median delay, false |\n"
        "| --- | --- | --- |"
    )
    for name, rule in rules().items():
        cells = []
        for kind in ("errors", "features"):
            found = [(rule(values), since) for of, values, since in held if of == kind]
            delays = [
                min(at - since for at in at_all if at >= since)
                for at_all, since in found
                if at_all and at_all[-1] >= since
            ]
            false = sum(at < since for at_all, since in found for at in at_all)
            cells.append(f"{len(delays)} of {len(found)}, {np.median(delays) if delays else np.nan:,.0f}, {false}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
