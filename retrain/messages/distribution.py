"""Distributions of a column before and after a change, as people and pages draw them."""

from __future__ import annotations

from retrain.messages.value import record


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
