"""The row of a series in a bank of profiles: where its counts lie, and what they say."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import F64, I64

WORDS: Final = 16  # of 64 bits, a series
COUNT_MAX: Final = 65_535
NUMBERS_MAX: Final = (1 << 31) - 1  # of an interval; further ones are not counted
GONE_BY_MAX: Final = 15  # halvings

# Places in a row, as 32-bit words: counts since the interval began, its number, 1 / scale, and categories counted.
N, START, MISSING, FAULTS, SCALE, TOTAL = 0, 1, 2, 3, 5, 30
# As bytes: the mode, entries in use, halvings, 8 log2 of the size of the reference, and its categories.
MODE, USED, HALVED, SIZE, FIXED = 16, 17, 18, 19, 20
CENTRE, SUM, SQUARES = 3, 4, 5  # as 64-bit words; sums of the distance from the centre
EDGE, SHARE = 24, 33  # as 16-bit words: nine edges of the reference, and 65,535ths of it up to each
ATOM, ATOM_COUNT = 42, 53  # eleven codes with their counts ...
MARK, CELL = 42, 49  # ... or the least code, five marks and the greatest code, with the counts of 15 cells
WAIT = 6  # as 64-bit words: numbers that wait for a grid
ID, OF_ID, ID_SHARE = 3, 44, 52  # eight categories (64-bit words), their counts, and 65,535ths of the reference

EDGES: Final = 9
MARKS: Final = 5
CELLS: Final = EDGES + MARKS + 1
ATOMS: Final = 11
WAITING: Final = 10
SLOTS: Final = 8
EDGES_UNTIL: Final = 128  # numbers of the first interval that place the edges of the reference
CODE_MAX: Final = 32_000
BEYOND: Final = 1 << 15  # above all codes
SPREADING: Final = 2_654_435_761  # 2**32 by the golden ratio: multiples are spread evenly
TARGETS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)

EMPTY, RAW, TIES, SPREAD, NAMES = 0, 1, 2, 3, 4  # modes of a row

State = tuple[
    Any, ...
]  # one buffer as 64-bit floats, 32-bit integers and floats, 16-bit words by sign, bytes; and room
# that kernels work in, as they allocate nothing: two distributions, codes and counts, and counts of cells


def views(state: I64) -> State:
    """The rows [n, 16] of a bank as the kernels address them."""
    return (
        state.view(np.float64), state.view(np.int32), state.view(np.float32), state.view(np.uint16),
        state.view(np.int16), state.view(np.uint8), room(),
    )  # fmt: skip


def room() -> tuple[Any, ...]:
    """Room for one row."""
    codes, counts = np.empty((3, CELLS + 1), np.int64), np.empty((3, CELLS + 1))
    return codes[0], counts[0], codes[1], counts[1], codes[2], counts[2]


@lean_kernel
def code_of(value: float, centre: float, scale: float) -> int:
    """The code of a number on the grid of a series; `scale` is 1 / scale."""
    distance = (value - centre) * scale
    near = min(abs(distance), 2147483648.0)
    code = min(int(np.float32(1.0 + near).view(np.int32) - 0x3F800000) >> 13, CODE_MAX)
    return -code if distance < 0 else code


@lean_kernel
def value_of(code: int, centre: float, scale: float) -> float:
    """The number nearest to the centre that has this code."""
    distance = (float(np.int32((abs(code) << 13) + 0x3F800000).view(np.float32)) - 1.0) / scale
    return centre - distance if code < 0 else centre + distance


@lean_kernel
def set_grid(state: State, row: int, centre: float, spread: float) -> None:
    """Set the grid of a row: its scale is a power of two of about a sixteenth of the spread."""
    f, _, g, _, _, _, _ = state
    if spread <= 0.0 or not spread < np.inf:
        spread = abs(centre) * 2.0**-8 if centre != 0.0 else 1.0
    exponent = math.frexp(min(max(spread, 1e-30), 1e30))[1]
    f[row, CENTRE], g[row, SCALE] = centre, math.ldexp(1.0, 4 - exponent)


@lean_kernel
def cell_of(s: Any, row: int, code: int) -> int:
    """The cell of a code: how many edges lie below it."""
    cell = 0
    for j in range(EDGE, EDGE + EDGES):
        cell += 1 if s[row, j] < code else 0
    for j in range(MARK + 1, MARK + 1 + MARKS):
        cell += 1 if s[row, j] < code else 0
    return cell


@lean_kernel
def distribution_of(state: State, row: int, at: I64, below: F64) -> int:
    """The distribution of a row of cells: codes [16], ascending, and the count up to each; returns the total."""
    h, s = state[3], state[4]
    low, high = int(s[row, MARK]) - 1, int(s[row, MARK + MARKS + 1])
    edge, mark, total = 0, 0, 0
    at[0], below[0] = low, 0.0
    for j in range(CELLS - 1):  # edges and marks are both in order
        of_edge = int(s[row, EDGE + edge]) if edge < EDGES else BEYOND
        of_mark = int(s[row, MARK + 1 + mark]) if mark < MARKS else BEYOND
        is_edge = 1 if of_edge <= of_mark else 0
        edge, mark = edge + is_edge, mark + 1 - is_edge
        total += h[row, CELL + j]
        at[1 + j], below[1 + j] = min(max(min(of_edge, of_mark), low), high), float(total)
    total += h[row, CELL + CELLS - 1]
    at[CELLS], below[CELLS] = high, float(total)
    return int(total)


@lean_kernel
def quantile_at(at: I64, below: F64, wanted: float, first: int = 1) -> tuple[int, int]:
    """The least code up to which the count is at least `wanted`, and the index of the code that is not below it.

    Counts grow evenly from code to code. `first` is an index from which on the count is sought, as found before.
    """
    for j in range(first, len(at)):
        if below[j] >= wanted and below[j] > below[j - 1]:
            share = max(wanted - below[j - 1], 0.0) / (below[j] - below[j - 1])
            return int(at[j - 1] + max(math.ceil(share * float(at[j] - at[j - 1]) - 1e-9), 1.0)), j
    return int(at[len(at) - 1]), len(at)


@lean_kernel
def divide_counts(at: I64, below: F64, moved: I64, counts: I64) -> int:
    """Divide the counts of a distribution over the cells of other codes `moved` [16]; returns the largest of them."""
    place, before, most = 0, 0, 0
    for j in range(CELLS):
        code = moved[1 + j]
        while place < CELLS and at[place + 1] <= code:
            place += 1
        upto = below[CELLS]
        if j < CELLS - 1 and place < CELLS:
            more = (below[place + 1] - below[place]) * float(code - at[place]) / float(at[place + 1] - at[place])
            upto = math.floor(below[place] + more + 0.5)
        counts[j] = int(upto) - before
        most, before = max(most, counts[j]), int(upto)
    return int(most)
