"""How detectors do in a situation: drifts seen, and how soon; alarms where nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from river.drift import ADWIN

from benchmarks.detection.dependence import BEGUN_MS
from benchmarks.detection.drifts import Stream
from benchmarks.situations.streams import Random, Situation
from detectors.arrays.types import F64, I64
from detectors.registry import bank, settings_of

START = 5000  # values in which a series is new
Contender = Callable[[F64, int, F64 | None], I64]  # values, milliseconds apart, training sample: where the alarms are


class Seen(NamedTuple):
    """Drifts of all streams, by their place in the stream."""

    first: float  # share of the first drifts that were seen
    worst: (
        float  # the same of those later drifts of which least were; NaN without, or if streams differ in their number
    )
    delay_first: float  # values to the alarm, median; NaN if none was seen
    delay_last: float
    share: float  # of all
    alone: bool  # whether there was one drift a stream


def ours(**options: float) -> Contender:
    """`shiryaev_roberts`."""

    def alarms(values: F64, apart_ms: int, reference: F64 | None) -> I64:
        one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", **options), 1)
        if reference is not None:
            one.set_reference(0, reference)
        times = BEGUN_MS + apart_ms * np.arange(len(values))
        return one.update(np.zeros(len(values), np.int64), values, times).at

    return alarms


def river_adwin(values: F64, apart_ms: int, reference: F64 | None) -> I64:  # noqa: ARG001 -- knows no time
    """river's ADWIN, by default; a training sample comes before the values."""
    one, found = ADWIN(), []
    for value in () if reference is None else reference.tolist():
        one.update(value)
    for at, value in enumerate(values.tolist()):
        one.update(value)
        if one.drift_detected:
            found.append(at)
    return np.array(found, np.int64)


def drawn(situation: Situation, number: int, seed: int) -> tuple[Stream, F64 | None]:
    """The stream of a situation with this seed, and its training sample: some values of another one, in any order."""
    stream = situation.draw(np.random.default_rng([11, number, seed]))
    if not situation.reference:
        return stream, None
    other: Random = np.random.default_rng([12, number, seed])
    return stream, other.choice(situation.draw(other).values, situation.reference, replace=False)


def seen(contender: Contender, situation: Situation, number: int, seeds: int) -> Seen:
    """A drift is seen by an alarm within `seen_in` values, before the next one comes."""
    delays: list[list[float]] = []  # by stream; infinite where it was not seen
    for seed in range(seeds):
        (values, drifts), reference = drawn(situation, number, seed)
        at = contender(values, situation.apart_ms, reference)
        starts = [start for start, _ in drifts]
        ends = [min(a + situation.seen_in, b) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)]
        waits = [at[(at >= start) & (at < end)] - start for start, end in zip(starts, ends, strict=True)]
        delays.append([float(wait[0]) if len(wait) else np.inf for wait in waits])
    places = [[of[k] for of in delays if k < len(of)] for k in range(max(map(len, delays)))]
    shares = [float(np.mean(np.isfinite(place))) for place in places]
    every = np.isfinite(np.concatenate(delays))
    worst = min(shares[1:], default=np.nan) if all(len(place) == seeds for place in places) else np.nan
    return Seen(shares[0], worst, _median(places[0]), _median(places[-1]), float(every.mean()), len(places) == 1)


def false_10k(contender: Contender, situation: Situation, number: int, seeds: int) -> tuple[float, float]:
    """False alarms in 10,000 values: of the first 5,000 of each stream, and of the others."""
    early, late, n = 0, 0, 0
    for seed in range(seeds):
        stream, reference = drawn(situation, number, seed)
        at, n = contender(stream.values, situation.apart_ms, reference), len(stream.values)
        early, late = early + int(np.sum(at < START)), late + int(np.sum(at >= START))
    return 1e4 * early / (START * seeds), 1e4 * late / ((n - START) * seeds)


def _median(delays: list[float]) -> float:
    found = [delay for delay in delays if np.isfinite(delay)]
    return float(np.median(found)) if found else np.nan
