"""Records of several partitions in the order of their times, each partition in its own order.

A record waits until those of other partitions with earlier times are there. Times are those that place records
(`record_times`), so one wrong clock delays nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import numpy as np

from detectors.arrays.types import I64, Bools
from streamer.clock import Clock
from streamer.eventlog.base import Records
from streamer.eventlog.record_times import placing_times

ROUND_MAX: Final = 20_000  # records that are taken together
ROUND_BYTES_MAX: Final = 64 << 20  # of them, but one record may exceed it
HELD_MAX: Final = 20_000  # records of a partition that wait for others, at which its reading pauses
HELD_BYTES_MAX: Final = 8 << 20
PATIENCE_S: Final = 5.0  # for a partition that should have records and gives none, as behind an open transaction

Spot = tuple[str, int]


class Taken(NamedTuple):
    """Parts of partitions, and the order of all their records."""

    parts: Sequence[Records]
    part: I64  # [n] index of each record's part
    at: I64  # [n] its index in that part

    @property
    def n(self) -> int:
        """How many records there are."""
        return len(self.part)

    def first(self, n: int) -> Taken:
        """At most the first `n` records."""
        return Taken(self.parts, self.part[:n], self.at[:n])

    def only(self, keep: Bools) -> Taken:
        """Those of the records for which `keep` [n] is true."""
        return Taken(self.parts, self.part[keep], self.at[keep])

    def ends(self) -> dict[Spot, int]:
        """The offset after the last of the records of each partition."""
        ends: dict[Spot, int] = {}
        for number, one in enumerate(self.parts):
            if len(at := self.at[self.part == number]):
                spot = one.topic, one.partition
                ends[spot] = max(int(one.offset[at.max()]) + 1, ends.get(spot, 0))
        return ends


class TimeMerge:
    """Gives records in order of time; those wait for which earlier ones of other partitions may come."""

    def __init__(self, clock: Clock, hold: Callable[[Spot, bool], None]) -> None:
        """`hold` pauses a partition, or lets it go on."""
        self._clock, self._hold = clock, hold
        self._of: dict[Spot, list[Records]] = {}
        self._held: set[Spot] = set()
        self._heard_s: dict[Spot, float] = {}  # when a partition gave records

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(map(len, chain.from_iterable(self._of.values())))

    def of(self, spot: Spot) -> int:
        """How many of a partition wait."""
        return sum(map(len, self._of.get(spot, ())))

    def add(self, records: Records) -> None:
        """Add the next records of a partition."""
        spot = records.topic, records.partition
        self._heard_s[spot] = self._clock.monotonic_s()
        if len(records):
            self._of.setdefault(spot, []).append(records)
            self._pause(spot)

    def take(self, lagging: Collection[Spot]) -> Taken | None:
        """The next records in order of time, at most `ROUND_MAX` and `ROUND_BYTES_MAX`; None: none is due.

        None is due that is later than what a partition in `lagging`, which has more, gave last.
        """
        now_s = self._clock.monotonic_s()
        spots = [spot for spot, parts in self._of.items() if parts]
        awaited = [one for one in lagging if now_s - self._heard_s.setdefault(one, now_s) < PATIENCE_S]
        if not spots or any(spot not in spots for spot in awaited):
            return None
        times = [self._times(spot) for spot in spots]
        horizon = min((int(own[-1]) for spot, own in zip(spots, times, strict=True) if spot in awaited), default=None)
        due = [len(own) if horizon is None else int(np.searchsorted(own, horizon, "right")) for own in times]
        part = np.repeat(np.arange(len(spots)), due)
        order = np.argsort(np.concatenate([own[:n] for own, n in zip(times, due, strict=True)]), kind="stable")
        part = part[order][: self._fitting(spots, due, order)]
        counts = np.bincount(part, minlength=len(spots)).tolist()
        return _ordered(
            [stretch for spot, n in zip(spots, counts, strict=True) for stretch in self._cut(spot, n)], part
        )

    def _fitting(self, spots: Sequence[Spot], due: Sequence[int], order: I64) -> int:
        """How many of the records that are due, in this order, are taken together."""
        sizes = np.concatenate([_sizes(self._of[spot])[:n] for spot, n in zip(spots, due, strict=True)])
        fits = int(np.searchsorted(np.cumsum(sizes[order]), ROUND_BYTES_MAX, "right"))
        return min(max(fits, 1), ROUND_MAX)

    def _times(self, spot: Spot) -> I64:
        return placing_times([np.concatenate([one.timestamp_ms for one in self._of[spot]])])[0]

    def _cut(self, spot: Spot, n: int) -> Iterator[Records]:
        """Take the first `n` records of a partition out."""
        while n:
            first = self._of[spot].pop(0)
            if len(first) > n:
                self._of[spot].insert(0, first.part(n, len(first)))
                first = first.part(0, n)
            n -= len(first)
            yield first
        self._pause(spot)

    def _pause(self, spot: Spot) -> None:
        parts = self._of[spot]
        is_full = sum(map(len, parts)) > HELD_MAX or sum(one.size_bytes for one in parts) > HELD_BYTES_MAX
        if is_full != (spot in self._held):
            (self._held.add if is_full else self._held.discard)(spot)
            self._hold(spot, is_full)


def _ordered(parts: Sequence[Records], of_spot: I64) -> Taken:
    """The parts in the order of their partitions; `of_spot` [n] is the number of the partition of each record."""
    order = np.argsort(of_spot, kind="stable")
    part, index = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    part[order] = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    index[order] = np.concatenate([np.arange(len(one)) for one in parts])
    return Taken(parts, part, index)


def _sizes(parts: Sequence[Records]) -> I64:
    """The bytes of the key and the value of each record."""
    spans = np.concatenate([np.stack([one.key, one.value]) for one in parts], axis=1)
    sizes: I64 = (spans[:, :, 1] - spans[:, :, 0]).sum(axis=0)
    return sizes
