"""The latest values of every series, and the values since each alarm: what a change is measured from.

Of every series a ring holds the last 64 numbers, or the last 32 categories: 256 bytes. An alarm of a detector begins a
*capture*, which holds the ring and all that follows, at most `capacity` values, the newest. Captures take at most
`CAPTURED_BYTES_MAX` together; beyond, an alarm gets none.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

KEPT_BYTES: Final = 256  # a row
LANES: Final = 16  # rows a block: of the columns of one event, the values fall into one cache line
CAPTURED_BYTES_MAX: Final = 64 << 20  # of all captures
CAPACITY_MAX: Final = 4096  # values of a capture
BEFORE_MAX: Final = 64  # values from before an alarm that a capture holds

# columns of `head`: the row, the detector's key, the numbers of the onset, of the first value kept and of the next to
# come, the sequence number of the event of the newest value, and the next capture of the row
ROW, DETECTOR, ONSET, FIRST, NEXT_VALUE, SEQUENCE, NEXT = range(7)
HEAD: Final = 7
NONE: Final = -1


class Captured(NamedTuple):
    """What a capture holds."""

    values: F64  # in order; the last one is the newest
    last: int  # number of the newest value in its series, from 0
    onset: int  # number of the value with which the new regime began, as estimated at the alarm
    sequence: int  # sequence number of the event of the newest value
    before: F64  # values from before the onset; empty where the training reference serves


class RecentValues:
    """The rings and captures of the rows of one kind of value. Cutting a stretch of values changes no state.

    dtype: float32 for numbers; float64 for categories, whose ids may need it. capacity: values a capture, 1 to 4096.
    """

    def __init__(self, dtype: Any, capacity: int) -> None:
        self.dtype = np.dtype(dtype)
        self.kept = KEPT_BYTES // self.dtype.itemsize  # values a ring
        self._capacity = min(max(capacity, self.kept), CAPACITY_MAX)
        self.captures_max = CAPTURED_BYTES_MAX // (self._capacity * self.dtype.itemsize)
        self._ring = np.empty((0, self.kept, LANES), self.dtype)  # [block, place, row of the block]
        self._of_row = np.empty(0, np.int64)  # row -> its first capture, NONE
        self._place = dict[tuple[int, int], int]()  # row, detector's key -> place of the capture
        self._head = np.empty((0, HEAD), np.int64)
        self._values = np.empty((0, self._capacity), self.dtype)
        self._before = np.empty((0, BEFORE_MAX))

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, series: tuple[int, str]) -> bool:
        return (series[0], key_of(series[1])) in self._place

    def grow(self, rows: int) -> None:
        """Hold at least `rows` rows."""
        self._ring = ensure_length(self._ring, -(-rows // LANES), np.nan)
        self._of_row = ensure_length(self._of_row, rows, NONE)

    def add(self, rows: I64, values: F64, numbers: I64, sequence: I64) -> None:
        """Keep these values [n] of rows [n], in order.

        numbers: [n] of each value in its row, without gaps from 0. sequence: [n] number of its event.
        """
        self.grow(int(rows.max(initial=-1)) + 1)
        _keep(self._ring, rows, values, numbers)
        if self._place:
            self._capture(rows, values, numbers, sequence)

    def latest(self, row: int, n: int) -> F64:
        """The values of a row's ring, in order, if the row has had `n` values, some of them perhaps before the ring."""
        if row // LANES >= len(self._ring):
            return np.empty(0)
        places = np.arange(max(n - self.kept, 0), n) % self.kept
        kept: F64 = self._ring[row // LANES, places, row % LANES].astype(np.float64)
        return kept[~np.isnan(kept)]

    def begin(self, series: tuple[int, str], captured: Captured) -> None:
        """Begin a capture with these values of a row, after an alarm of a detector; none if there is no room."""
        row, detector = series[0], key_of(series[1])
        self.end(series)
        place = len(self._place)
        if place >= self.captures_max:
            return
        self.grow(row + 1)
        self._head = ensure_length(self._head, place + 1, 0)
        self._values = ensure_length(self._values, place + 1, 0)
        self._before = ensure_length(self._before, place + 1, np.nan)
        self._set(place, row, detector, captured)
        self._place[row, detector] = place

    def end(self, series: tuple[int, str]) -> None:
        """Drop the capture of a row and detector, if there is one; the last one moves to its place."""
        place = self._place.pop((series[0], key_of(series[1])), None)
        if place is None:
            return
        self._link(place, int(self._head[place, NEXT]))
        last = len(self._place)
        if place != last:
            self._link(last, place)
            for array in (self._head, self._values, self._before):
                array[place] = array[last]
            self._place[int(self._head[place, ROW]), int(self._head[place, DETECTOR])] = place

    def move_onset(self, series: tuple[int, str], onset: int) -> None:
        """Take value `onset` of a row for the first of the new regime, in the capture of a detector."""
        place = self._place.get((series[0], key_of(series[1])))
        if place is not None:
            self._head[place, ONSET] = onset

    def captured(self, series: tuple[int, str]) -> Captured | None:
        """The capture of a row and detector."""
        place = self._place.get((series[0], key_of(series[1])))
        if place is None:
            return None
        head, before = self._head[place], self._before[place]
        last, onset, sequence = int(head[NEXT_VALUE]) - 1, int(head[ONSET]), int(head[SEQUENCE])
        return Captured(self._values_at(place), last, onset, sequence, before[np.isfinite(before)])

    def dump(self, rows: int) -> dict[str, NDArray[Any]]:
        """The state of the first `rows` rows; it shows this object's own memory until the next change."""
        self.grow(rows)
        order = np.array([self._place[one] for one in sorted(self._place)], np.int64)
        of = [self._values_at(int(place)) for place in order]
        head = self._head[order]
        head[:, FIRST] = np.maximum(head[:, FIRST], head[:, NEXT_VALUE] - self._capacity)
        head[:, NEXT] = NONE
        values = np.full((len(order), self._capacity), np.nan, self.dtype)
        for row, one in zip(values, of, strict=True):
            row[: len(one)] = one
        ring = self._ring[: -(-rows // LANES)]
        return {"ring": ring, "head": head, "values": values, "before": self._before[order]}

    def _values_at(self, place: int) -> F64:
        """The values of the capture at a place, in order."""
        head = self._head[place]
        end = int(head[NEXT_VALUE])
        numbers = np.arange(max(int(head[FIRST]), end - self._capacity), end)
        kept: F64 = self._values[place, numbers % self._capacity].astype(np.float64)
        return kept

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; captures of another capacity keep their newest values."""
        self._ring = np.array(arrays["ring"], self.dtype)
        self._of_row = np.full(len(self._ring) * LANES, NONE, np.int64)
        self._place = {}
        many = min(len(arrays["head"]), self.captures_max)
        self._head = np.zeros((many, HEAD), np.int64)
        self._values = np.zeros((many, self._capacity), self.dtype)
        self._before = np.full((many, BEFORE_MAX), np.nan)
        for place, head in enumerate(arrays["head"][:many].tolist()):
            stored = min(head[NEXT_VALUE] - head[FIRST], arrays["values"].shape[1])
            values, before = arrays["values"][place, :stored], arrays["before"][place]
            known = Captured(values, head[NEXT_VALUE] - 1, head[ONSET], head[SEQUENCE], before[np.isfinite(before)])
            self._set(place, head[ROW], head[DETECTOR], known)
            self._place[head[ROW], head[DETECTOR]] = place

    def _set(self, place: int, row: int, detector: int, captured: Captured) -> None:
        values = captured.values[-self._capacity :]
        end = captured.last + 1
        self._head[place] = (
            row, detector, captured.onset, end - len(values), end, captured.sequence, self._of_row[row]
        )  # fmt: skip
        self._of_row[row] = place
        self._values[place, np.arange(end - len(values), end) % self._capacity] = values
        self._before[place] = np.nan
        self._before[place, : len(captured.before)] = captured.before[:BEFORE_MAX]

    def _link(self, old: int, new: int) -> None:
        """Let whatever leads to the capture at place `old` lead to `new`."""
        row = int(self._head[old, ROW])
        if self._of_row[row] == old:
            self._of_row[row] = new
            return
        at = int(self._of_row[row])
        while self._head[at, NEXT] != old:
            at = int(self._head[at, NEXT])
        self._head[at, NEXT] = new

    def _capture(self, rows: I64, values: F64, numbers: I64, sequence: I64) -> None:
        mine = np.flatnonzero(self._of_row[rows] != NONE)
        if len(mine):
            of = rows[mine], values[mine], numbers[mine], sequence[mine]
            _add_captured(self._of_row, self._head, self._values, *of)


def without(arrays: Mapping[str, NDArray[Any]], kept: NDArray[np.bool_], place: I64) -> dict[str, NDArray[Any]]:
    """A dumped state with the rows `kept` [rows] alone, each in its new `place` [rows]."""
    ring, mine = arrays["ring"], kept[arrays["head"][:, ROW]]
    rows = ring.transpose(0, 2, 1).reshape(-1, ring.shape[1])[: len(kept)][kept]
    blocks = np.full((-(-len(rows) // LANES) * LANES, ring.shape[1]), np.nan, ring.dtype)
    blocks[: len(rows)] = rows
    captures = {name: arrays[name][mine] for name in ("head", "values", "before")}
    captures["head"][:, ROW] = place[captures["head"][:, ROW]]
    ring = np.ascontiguousarray(blocks.reshape(-1, LANES, ring.shape[1]).transpose(0, 2, 1))
    return {"ring": ring} | captures


def key_of(detector: str) -> int:
    """The key of a detector in a dumped state."""
    return int.from_bytes(blake2b(detector.encode(), digest_size=7).digest(), "big")


@kernel
def _keep(ring: NDArray[Any], rows: I64, values: F64, numbers: I64) -> None:
    mask = ring.shape[1] - 1
    for i in range(len(rows)):
        ring[rows[i] >> 4, numbers[i] & mask, rows[i] & 15] = values[i]


@kernel
def _add_captured(
    of_row: I64, head: I64, kept: NDArray[Any], rows: I64, values: F64, numbers: I64, sequence: I64
) -> None:
    """Add values [n] to the captures of their rows."""
    for i in range(len(rows)):
        place = of_row[rows[i]]
        while place >= 0:
            if numbers[i] >= head[place, 4]:
                kept[place, numbers[i] % kept.shape[1]] = values[i]
                head[place, 4] = numbers[i] + 1
                head[place, 5] = sequence[i]
            place = head[place, 6]
