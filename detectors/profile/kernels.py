"""Counting of one value into the profile of its series.

A number is first placed on a grid that is fine near a centre and coarse far away: its code is the floating-point number
1 + |value - centre| / scale, cut to 10 bits behind its highest bit, so a code is off by at most 1/1024 of the distance
from the centre, or of the scale near it. Codes of 32 powers of two on each side fit 16 bits.

- The first 10 numbers of a series without training data wait as they are; then they set centre and scale.
- Up to 11 codes of an interval are counted one by one, so that ties are exact.
- With a twelfth, cells take over. Nine edges are the deciles of the reference and stay. Five edges follow the 5th,
  25th, 50th, 75th and 95th percentile: after 2 and 3 times 2^k numbers each moves to where the counts place its
  percentile, and the counts of a cell that is cut are divided evenly over its codes. Two more hold the extremes. Such
  markers are due to Jain and Chlamtac, "The P2 algorithm for dynamic calculation of quantiles and histograms without
  storing observations", Communications of the ACM 28, 1985; that the counts between the moves are exact is ours.

Categories have eight slots. Those of the reference stay; the others are taken and freed by Misra and Gries, "Finding
repeated elements", Science of Computer Programming 2, 1982, so their counts are lower bounds, exact up to eight
categories.

Counts have 16 bits. Before one overflows, all counts of the series are halved, and from then on one number in 2, 4, ...
is counted, chosen by its place in the interval. Sums and the number of values stay exact.
"""

from __future__ import annotations

from typing import Any

from detectors.arrays.jit import lean_kernel, prefetch
from detectors.arrays.types import F64, I64, U8
from detectors.profile.layout import (
    ATOM,
    ATOM_COUNT,
    ATOMS,
    CELL,
    CELLS,
    CENTRE,
    COUNT_MAX,
    EDGE,
    EDGES,
    EDGES_UNTIL,
    EMPTY,
    FAULTS,
    FIXED,
    HALVED,
    ID,
    MARK,
    MARKS,
    MISSING,
    MODE,
    NAMES,
    NUMBERS_MAX,
    OF_ID,
    RAW,
    SCALE,
    SIZE,
    SLOTS,
    SPREAD,
    SPREADING,
    SQUARES,
    START,
    SUM,
    TARGETS,
    TIES,
    TOTAL,
    USED,
    WAIT,
    WAITING,
    WORDS,
    N,
    State,
    cell_of,
    code_of,
    distribution_of,
    divide_counts,
    quantile_at,
    set_grid,
)


@lean_kernel
def _halve(h: Any, b: U8, row: int, first: int, count: int) -> None:
    for j in range(first, first + count):
        h[row, j] = (int(h[row, j]) + 1) >> 1
    b[row, HALVED] += 1


@lean_kernel
def _is_counted(n: int, halved: int) -> bool:
    """Whether the n-th number of an interval is one that counts."""
    return halved == 0 or ((n * SPREADING) & 0xFFFFFFFF) >> (32 - halved) == 0


@lean_kernel
def _count_spread(state: State, row: int, code: int) -> None:
    """Count a code into its cell; the marks move after 2 or 3 times 2^k numbers."""
    h, s, b = state[3], state[4], state[5]
    s[row, MARK], s[row, MARK + MARKS + 1] = min(s[row, MARK], code), max(s[row, MARK + MARKS + 1], code)
    place = CELL + cell_of(s, row, code)
    if h[row, place] == COUNT_MAX:
        _halve(h, b, row, CELL, CELLS)
    h[row, place] += 1
    n = state[1][row, N]
    if n <= 3 * (n & -n):
        move_marks(state, row)


@lean_kernel
def move_marks(state: State, row: int) -> None:
    """Move the edges that follow percentiles, and divide the counts of cells again."""
    b, h, s = state[5], state[3], state[4]
    at, below, moved, unused, counts, _ = state[6]
    total = distribution_of(state, row, at, below)
    first = 1
    for j in range(MARKS):
        s[row, MARK + 1 + j], first = quantile_at(at, below, TARGETS[j] * total, first)
    if b[row, SIZE] == 0 and state[1][row, N] <= EDGES_UNTIL:
        first = 1
        for j in range(EDGES):
            s[row, EDGE + j], first = quantile_at(at, below, (j + 1) * 0.1 * total, first)
    distribution_of(state, row, moved, unused)
    most = divide_counts(at, below, moved, counts)
    while most > COUNT_MAX:
        for j in range(CELLS):
            counts[j] = (counts[j] + 1) >> 1
        b[row, HALVED] += 1
        most = (most + 1) >> 1
    for j in range(CELLS):
        h[row, CELL + j] = counts[j]


@lean_kernel
def sort_ties(state: State, row: int) -> int:
    """Put the codes of a row in order; returns the sum of their counts."""
    b, h, s = state[5], state[3], state[4]
    used, total = int(b[row, USED]), 0
    for j in range(used):
        code, count, k = s[row, ATOM + j], h[row, ATOM_COUNT + j], j - 1
        while k >= 0 and s[row, ATOM + k] > code:
            s[row, ATOM + k + 1], h[row, ATOM_COUNT + k + 1] = s[row, ATOM + k], h[row, ATOM_COUNT + k]
            k -= 1
        s[row, ATOM + k + 1], h[row, ATOM_COUNT + k + 1] = code, count
        total += int(count)
    return total


@lean_kernel
def tie_at(state: State, row: int, wanted: float) -> int:
    """The least code of a sorted row up to which the count is at least `wanted`."""
    b, h, s = state[5], state[3], state[4]
    found = 0
    for j in range(int(b[row, USED])):
        found += h[row, ATOM_COUNT + j]
        if found >= wanted:
            return int(s[row, ATOM + j])
    return int(s[row, ATOM + int(b[row, USED]) - 1])


@lean_kernel
def _spread_out(state: State, row: int) -> None:
    """Replace the codes of a row, which has no room for another, by cells."""
    b, h, s = state[5], state[3], state[4]
    total = sort_ties(state, row)
    codes, _, marks, _, counts, _ = state[6]
    for j in range(ATOMS):
        codes[j], counts[j] = s[row, ATOM + j], h[row, ATOM_COUNT + j]
    for j in range(MARKS):
        marks[j] = tie_at(state, row, TARGETS[j] * total)
    if b[row, SIZE] == 0:
        for j in range(EDGES):
            s[row, EDGE + j] = tie_at(state, row, (j + 1) * 0.1 * total)
    s[row, MARK], s[row, MARK + MARKS + 1] = codes[0], codes[ATOMS - 1]
    for j in range(MARKS):
        s[row, MARK + 1 + j] = marks[j]
    for j in range(CELLS):
        h[row, CELL + j] = 0
    b[row, MODE] = SPREAD
    for j in range(ATOMS):  # a sum of counts may overflow
        place = CELL + cell_of(s, row, int(codes[j]))
        while int(h[row, place]) + int(counts[j]) > COUNT_MAX:
            _halve(h, b, row, CELL, CELLS)
            for k in range(j, ATOMS):
                counts[k] = (int(counts[k]) + 1) >> 1
        h[row, place] += counts[j]


@lean_kernel
def _count_tie(state: State, row: int, code: int) -> None:
    b, h, s = state[5], state[3], state[4]
    used = int(b[row, USED])
    for j in range(used):
        if s[row, ATOM + j] == code:
            if h[row, ATOM_COUNT + j] == COUNT_MAX:
                _halve(h, b, row, ATOM_COUNT, used)
            h[row, ATOM_COUNT + j] += 1
            return
    if used == ATOMS:
        _spread_out(state, row)
        _count_spread(state, row, code)
    else:
        s[row, ATOM + used], h[row, ATOM_COUNT + used] = code, 1
        b[row, USED] = used + 1


@lean_kernel
def _count_code(state: State, row: int, code: int) -> None:
    """Count a code of a row on a grid."""
    i, b = state[1], state[5]
    if not _is_counted(int(i[row, N]), int(b[row, HALVED])):
        return
    if b[row, MODE] == TIES:
        _count_tie(state, row, code)
    else:
        _count_spread(state, row, code)


@lean_kernel
def _centre_of(ordered: F64) -> float:
    """The most frequent of sorted numbers if it comes three times, which a grid holds exactly; else the median."""
    best, length, most = ordered[WAITING // 2], 1, 2
    for j in range(1, WAITING):
        length = length + 1 if ordered[j] == ordered[j - 1] else 1
        if length > most:
            best, most = ordered[j], length
    return float(best)


@lean_kernel
def _count_raw(state: State, row: int, value: float) -> None:
    """Let a number wait; the tenth sets the grid."""
    f, i, g, _, _, b, _ = state
    f[row, WAIT + b[row, USED]] = value
    b[row, USED] += 1
    if b[row, USED] < WAITING:
        return
    ordered, first = state[6][1], state[6][5]
    for j in range(WAITING):
        first[j], k = f[row, WAIT + j], j - 1
        while k >= 0 and ordered[k] > first[j]:
            ordered[k + 1] = ordered[k]
            k -= 1
        ordered[k + 1] = first[j]
    for j in range(EDGE, 4 * WORDS):
        state[3][row, j] = 0
    f[row, SUM], f[row, SQUARES] = 0.0, 0.0
    set_grid(state, row, _centre_of(ordered), ordered[WAITING - 1] - ordered[0])
    b[row, MODE], b[row, USED] = TIES, 0
    i[row, N] -= WAITING
    for j in range(WAITING):
        i[row, N] += 1
        beyond = first[j] - f[row, CENTRE]
        f[row, SUM] += beyond
        f[row, SQUARES] += beyond * beyond
        _count_code(state, row, code_of(first[j], f[row, CENTRE], g[row, SCALE]))


@lean_kernel
def _count_name(f: F64, i: Any, h: Any, b: U8, row: int, name: float) -> None:
    if not _is_counted(int(i[row, N]), int(b[row, HALVED])):
        return
    used, fixed = int(b[row, USED]), int(b[row, FIXED])
    i[row, TOTAL] += 1
    for j in range(used):
        if f[row, ID + j] == name:
            if h[row, OF_ID + j] == COUNT_MAX:
                _halve(h, b, row, OF_ID, used)
                i[row, TOTAL] = (i[row, TOTAL] + 1) >> 1
            h[row, OF_ID + j] += 1
            return
    if used < SLOTS:
        f[row, ID + used], h[row, OF_ID + used] = name, 1
        b[row, USED] = used + 1
        return
    kept = fixed
    for j in range(fixed, SLOTS):
        if h[row, OF_ID + j] > 1:
            f[row, ID + kept], h[row, OF_ID + kept] = f[row, ID + j], h[row, OF_ID + j] - 1
            kept += 1
    b[row, USED] = kept
    for j in range(kept, SLOTS):
        f[row, ID + j], h[row, OF_ID + j] = 0.0, 0


@lean_kernel
def clear(state: State, row: int, kind: int) -> None:
    """Make a row one of numbers (kind 0) or of categories (1) that has no reference; its numbers become faults."""
    i, h, b = state[1], state[3], state[5]
    faults = i[row, FAULTS] + i[row, N]
    start, missing = i[row, START], i[row, MISSING]
    for j in range(4 * WORDS):
        h[row, j] = 0
    i[row, START], i[row, MISSING], i[row, FAULTS] = start, missing, faults
    b[row, MODE] = NAMES if kind == 1 else RAW


@lean_kernel
def _count_fast(h: Any, s: Any, b: Any, row: int, code: int, n: int, mode: int) -> bool:
    """Count a code, the n-th, where that takes nothing but an addition; returns whether it did."""
    if not _is_counted(n, int(b[row, HALVED])):
        return True
    if mode == SPREAD:
        if code < s[row, MARK]:
            s[row, MARK] = code
        if code > s[row, MARK + MARKS + 1]:
            s[row, MARK + MARKS + 1] = code
        place = CELL + cell_of(s, row, code)
        if h[row, place] == COUNT_MAX or n <= 3 * (n & -n):
            return False
        h[row, place] += 1
        return True
    for j in range(int(b[row, USED])):
        if s[row, ATOM + j] == code and h[row, ATOM_COUNT + j] < COUNT_MAX:
            h[row, ATOM_COUNT + j] += 1
            return True
    return False


@lean_kernel
def count(state: State, rows: I64, kinds: U8, values: F64, interval: int, address: int) -> None:
    """Count values [m] of these rows, by kind (number, category, missing, fault); a row below 0 is none."""
    f, i, g, h, s, b, _ = state
    for k in range(len(rows)):
        if k + 12 < len(rows):
            prefetch(address + rows[k + 12] * (8 * WORDS))
            prefetch(address + rows[k + 12] * (8 * WORDS) + 64)
        row, kind = rows[k], kinds[k]
        if row < 0:
            continue
        n = int(i[row, N])
        if n == 0 and i[row, MISSING] + i[row, FAULTS] == 0:
            i[row, START] = interval
        if kind >= 2:
            i[row, MISSING + kind - 2] = min(i[row, MISSING + kind - 2] + 1, NUMBERS_MAX)
            continue
        mode = int(b[row, MODE])
        if (mode == NAMES) != (kind == 1) or mode == EMPTY:
            clear(state, row, kind)
            n, mode = int(i[row, N]), int(b[row, MODE])
        if n == NUMBERS_MAX:
            continue
        i[row, N] = n + 1
        if kind == 1:
            _count_name(f, i, h, b, row, values[k])
        elif mode == RAW:
            _count_raw(state, row, values[k])
        else:
            beyond = values[k] - f[row, CENTRE]
            f[row, SUM] += beyond
            f[row, SQUARES] += beyond * beyond
            code = code_of(values[k], f[row, CENTRE], g[row, SCALE])
            if not _count_fast(h, s, b, row, code, n + 1, mode):
                _count_code(state, row, code)
