"""Distributions of a column before and after a change, as people and pages draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrain.messages.value import record

if TYPE_CHECKING:
    from detectors.profile.distances import Distance, Estimate


@record
class Distribution:
    """The shares of the values of a column in a few cells, before a change and after it.

    The cells are chosen from the values of both regimes together. Of numbers there are at most 24, of categories at
    most 21; the record takes less than 1 KB.
    """

    before: tuple[float, ...]  # share of the old regime in each cell; they add up to 1, to four decimals
    after: tuple[float, ...]  # the same of the new regime
    n_before: int  # values that the shares of the old regime rest on
    n_after: int  # values that the shares of the new regime rest on
    # of numbers: the bounds of the cells, one more than there are cells; the first is the least value of both regimes,
    # the last is the greatest; a cell holds its lower bound, the last one both; empty for categories
    edges: tuple[float, ...] = ()
    # of categories: the most frequent ones; where there are others, the last cell is `(rest)`; empty for numbers
    categories: tuple[str, ...] = ()


def distances_of(found: Distribution) -> dict[str, Estimate]:
    """PSI and Jensen-Shannon over the cells; of numbers also KS, which is at most that of the values, and Wasserstein.

    The methods are those of `detectors.profile.distances`, whose figures hold for values that do not depend on each
    other. Empty if a side holds no value.
    """
    import numpy as np  # here, as commands that only read alerts start faster without

    from detectors.profile import distances

    before, after = (
        np.rint(np.multiply(shares, n)) for shares, n in ((found.before, found.n_before), (found.after, found.n_after))
    )
    if not before.sum() or not after.sum():
        return {}
    of: dict[str, Distance] = {
        "psi": distances.psi_of_cells(before, after),
        "jensen_shannon": distances.jensen_shannon_of_cells(before, after),
    }
    if found.edges:
        of["ks"] = distances.ks_of_cells(before, after)
        of["wasserstein"] = distances.wasserstein_of_cells(before, after, found.edges)
    bounds = distances.intervals_of_cells(before, after, found.edges)
    return {name: distances.Estimate(one.value, *bounds[name], one.by_chance) for name, one in of.items()}
