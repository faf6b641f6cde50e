"""How `shiryaev_roberts` does in situations in which detectors fail, beside river's ADWIN.

python -m benchmarks.situation_page    writes docs/detectors/situations.md, as `make bench-detection` does
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.page import printed
from benchmarks.situations.catalog import DRIFTS, QUIET
from benchmarks.situations.scores import Contender, Seen, false_10k, ours, river_adwin, seen
from benchmarks.situations.streams import Situation

PAGE = Path(__file__).parents[2] / "docs" / "detectors" / "situations.md"
SEEDS = 16
CONTENDERS: Mapping[str, Contender] = {
    "`arl0: 1e5`": ours(arl0=1e5),
    "as shipped": ours(arl0=1e6, tolerance=0.01),
    "river's ADWIN": river_adwin,
}
HEAD = """# Situations

How `shiryaev_roberts` does where detectors fail, beside ADWIN as river has it. `make bench-detection` measures it and
writes this page. Streams and seeds are in `benchmarks/situations/`.
"""
DRIFTS_HEAD = """
## Drifts

Each cell: the share of drifts that were seen, then the median delay in values of the first drift, and of the last. In
parentheses, of streams of 14 drifts: the share of first ones, and that of those later ones of which least were seen. A
drift is seen by an alarm before the next one comes. Values are normal; without a time between them, times stand still.

"""
QUIET_HEAD = """
## No drift

Each cell: false alarms in 10,000 values, of the first 5,000 values, and of the 35,000 after these.

"""


def drift_lines(situations: Mapping[str, Situation], seeds: int = SEEDS) -> Iterator[list[str]]:
    """A line a situation; a number of seeds is that of streams."""
    for number, (name, situation) in enumerate(situations.items()):
        yield [name, *(_told(seen(one, situation, number, seeds)) for one in CONTENDERS.values())]


def quiet_lines(situations: Mapping[str, Situation], seeds: int = SEEDS) -> Iterator[list[str]]:
    """A line a law."""
    for number, (name, situation) in enumerate(situations.items()):
        pairs = (false_10k(one, situation, number, seeds) for one in CONTENDERS.values())
        yield [name, *(f"{early:.2f}, {late:.2f}" for early, late in pairs)]


def page() -> str:
    """The whole page."""
    drifts = printed(("drifts", *CONTENDERS), drift_lines(DRIFTS))
    quiet = printed(("values that never change", *CONTENDERS), quiet_lines(QUIET))
    return HEAD + DRIFTS_HEAD + drifts + QUIET_HEAD + quiet


def _told(one: Seen) -> str:
    delays = [one.delay_first] if one.alone else [one.delay_first, one.delay_last]
    waited = ", ".join("-" if np.isnan(delay) else f"{delay:.0f}" for delay in delays)
    several = "" if np.isnan(one.worst) else f" ({100 * one.first:.0f}; {100 * one.worst:.0f})"
    return f"{100 * one.share:.0f} %{several}; {waited}"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
