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
    for j in range(EDGES):
        at[1 + j] = s[row, EDGE + j]
    for j in range(MARKS):
        at[1 + EDGES + j] = s[row, MARK + 1 + j]
    for j in range(2, 1 + EDGES + MARKS):  # insertion
        moved, k = at[j], j - 1
        while k >= 1 and at[k] > moved:
            at[k + 1] = at[k]
            k -= 1
        at[k + 1] = moved
    total = 0
    at[0], below[0] = low, 0.0
    for j in range(CELLS):
        total += h[row, CELL + j]
        at[1 + j] = high if j == CELLS - 1 else min(max(at[1 + j], low), high)
        below[1 + j] = float(total)
    return total


@lean_kernel
def quantile_at(at: I64, below: F64, wanted: float) -> int:
    """The least code up to which the count is at least `wanted`; counts grow evenly from code to code."""
    for j in range(1, len(at)):
        if below[j] >= wanted and below[j] > below[j - 1]:
            share = max(wanted - below[j - 1], 0.0) / (below[j] - below[j - 1])
            return int(at[j - 1] + max(math.ceil(share * float(at[j] - at[j - 1]) - 1e-9), 1.0))
    return int(at[len(at) - 1])


@lean_kernel
def count_up_to(at: I64, below: F64, code: int) -> float:
    """The count up to a code."""
    found = 0.0
    for j in range(1, len(at)):
        if at[j] <= code:
            found = below[j]
        elif at[j - 1] <= code:
            found = below[j - 1] + (below[j] - below[j - 1]) * float(code - at[j - 1]) / float(at[j] - at[j - 1])
    return float(found)
