"""One drift, one alarm: whether what an alarm of `shiryaev_roberts.py` has found is news.

After an alarm a series begins anew, so the rest of a drift that takes its time is found once more, and again. Three
things tell it from a second drift: it goes the same way as the one before, the series never stood still in between, and
it comes sooner than alarms do by chance, so that false ones stay as many as were asked for.
"""

from __future__ import annotations

import numpy as np

from detectors.shiryaev_roberts.alternatives import Tables
from detectors.shiryaev_roberts.onset import onset_ago
from detectors.shiryaev_roberts.state import Series
from detectors.shiryaev_roberts.trust import STILL

ALIKE = 0.0  # cosine between what two drifts did to the ranks, from which on they went the same way
SOON = 0.2  # of the asked values between alarms


def is_news(series: Series, row: int, tables: Tables, arl0: float) -> bool:
    """Whether the alarm a series has just come to is of another drift than the one before; notes which way it went.

    The way is told by the densities of the alternatives, weighted by the evidence for each.
    """
    one = series[row]
    density = tables.density.astype(np.float64) - 1.0
    likely = tables.weight.astype(np.float64) * one["sums"]
    last = int(one["way"]) - 1
    one["way"] = int(np.argmax(likely)) + 1
    if last < 0:
        return True
    went, before = density @ likely, density[:, last]
    cosine = went @ before / np.sqrt((went @ went) * (before @ before))
    ago, n = onset_ago(one, tables.weight), int(one["n"])
    return bool(cosine < ALIKE or n - ago > STILL * ago or n > SOON * arl0)
