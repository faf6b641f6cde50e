"""What a column holds, by the evidence of its first values: numbers or categories.

The first value decides for the time being. The majority decides after `EARLY` values and again, for good, after
`ENOUGH`. Text that reads as a number is evidence of numbers. A column of whole numbers and texts, such as codes, is one
of categories, unless texts are rare. A caller that knows better states what it expects. An expectation that is not
firm, such as training data, gives way if all of the first `ENOUGH` values are of the other kind.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import U8

EARLY: Final = 10
ENOUGH: Final = 100
# columns of an evidence table, as u8
SEEN, TEXTS, WHOLE, FRACTIONS, IS_MIXED, TURNS, EXPECTED = range(7)
FACTS: Final = 7
ANY, NUMBERS, CATEGORIES, MIXED = range(4)  # what is expected; MIXED: categories, some of them whole numbers ...
FIRM: Final = 4  # ... and a flag
RARE: Final = 8  # one text in more than so many whole numbers is a fault, no category
SOME: Final = 20  # one whole number in at most so many values is no fault in a column of categories


@lean_kernel
def count_evidence(evidence: U8, s: int, is_text: bool, number: float) -> None:
    """Count one value of a series that is still undecided."""
    evidence[s, SEEN] += 1
    what = TEXTS if is_text else WHOLE if number == np.rint(number) else FRACTIONS
    evidence[s, what] += 1


@lean_kernel
def contradicts(evidence: U8, s: int) -> bool:
    """Whether all values that were counted are of another kind than is expected."""
    if evidence[s, EXPECTED] == NUMBERS:
        return bool(evidence[s, TEXTS] == ENOUGH)
    if evidence[s, EXPECTED] == MIXED:
        return bool(evidence[s, FRACTIONS] == ENOUGH)
    return bool(evidence[s, TEXTS] == 0)


@lean_kernel
def is_of_categories(evidence: U8, s: int) -> bool:
    """Whether the evidence speaks for categories."""
    texts, whole, fractions = int(evidence[s, TEXTS]), int(evidence[s, WHOLE]), int(evidence[s, FRACTIONS])
    if 2 * texts > texts + whole + fractions:
        return True
    return fractions <= texts and texts * RARE > texts + whole + fractions
