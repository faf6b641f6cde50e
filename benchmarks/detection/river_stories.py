"""The streams of river's own drift tests, through `RiverDetector` and through river's objects, side by side.

`python -m benchmarks.detection.river_stories` prints at which values each one alarms, and what differs. The streams are
those of river's `test_drift_detectors.py`, by their seeds: numbers that widen, errors that become frequent, and errors
that come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from river import drift

from detectors import RiverDetector
from detectors.arrays.types import I64

SEED = 12345


class Story(NamedTuple):
    """A stream, river's object, and ours of the same name and settings."""

    stream: str
    theirs: Any
    name: str
    settings: dict[str, Any]


def streams() -> dict[str, I64]:
    """By name; the change comes at value 1,000, in the third at 500, 1,000 and 1,500."""
    wider, errors, turns = (np.random.RandomState(SEED) for _ in range(3))
    means = (0.0, 0.25, 0.0, 0.25)
    return {
        "0 or 1, then 0 to 7": np.concatenate([wider.randint(2, size=1000), wider.randint(8, size=1000)]),
        "errors, .2 then .8": np.array([errors.binomial(1, share) for share in (0.2, 0.8) for _ in range(1000)]),
        "errors, .5 and 1 in turn": np.concatenate([turns.normal(mean, 0.1, 500) > 0 for mean in means]).astype(int),
    }


def stories() -> list[Story]:
    """What river's tests run, with the same settings for both sides."""
    numbers, errors, turns = streams()
    two_sided = {"two_sided_test": True}
    kswin = {"alpha": 0.0001, "window_size": 200, "stat_size": 100, "seed": 42}
    return [
        Story(numbers, drift.ADWIN(), "adwin", {"delta": 0.002}),
        Story(numbers, drift.KSWIN(**kswin), "kswin", kswin),
        Story(numbers, drift.PageHinkley(), "page_hinkley", {}),
        Story(errors, drift.binary.DDM(), "ddm", {}),
        Story(errors, drift.binary.EDDM(), "eddm", {}),
        Story(errors, drift.binary.HDDMA(), "hddm_a", {}),
        Story(turns, drift.binary.HDDMA(two_sided_test=True), "hddm_a", two_sided),
        Story(errors, drift.binary.HDDMW(), "hddm_w", {}),
        Story(turns, drift.binary.HDDMW(two_sided_test=True), "hddm_w", two_sided),
    ]


def alarms(watching: Any, values: I64) -> list[int]:
    """Indices of the values at which `drift_detected` is true."""
    found = []
    for i, value in enumerate(values.tolist()):
        watching.update(value)
        if watching.drift_detected:
            found.append(i)
    return found


def compared() -> Iterator[tuple[Story, list[int], list[int]]]:
    """Each story, with river's alarms and ours."""
    held = streams()
    for story in stories():
        ours = RiverDetector(story.name, story.settings)
        yield story, alarms(story.theirs, held[story.stream]), alarms(ours, held[story.stream])


def main() -> None:
    print("| stream | detector | river | driftline | differs |\n| --- | --- | --- | --- | --- |")
    for story, theirs, ours in compared():
        print(f"| {story.stream} | {story.name} {story.settings or ''} | {theirs} | {ours} | {ours != theirs} |")
    for name in ("shiryaev_roberts", "ks_window", "rate"):
        for stream, values in streams().items():
            if name != "rate" or "errors" in stream:
                print(f"| {stream} | {name} | | {alarms(RiverDetector(name), values)} | has no counterpart |")


if __name__ == "__main__":
    main()
