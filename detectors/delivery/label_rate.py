"""The label rate: the share of predictions that get their label in time.

Predictions are counted in the window of their event time; so are those whose label arrived. A window is judged when its
topic's clock is past it by the time-out. The share has fallen when two windows in a row meet two bounds: they lie
`FALL_MIN` below each of the seven windows before, and `SPREADS` standard deviations below their mean. The standard
deviation is the greater of the binomial one and the observed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64
from detectors.delivery.flow import RateWindow

SHARES: Final = 7
PREDICTIONS_MIN: Final = 64  # predictions in a window whose share is judged
FALL_MIN: Final = 0.1
SPREADS: Final = 5.0  # standard deviations
OPEN_MAX: Final = 64  # windows that wait for labels at once

# columns of LabelShares._head
KEPT, PLACE, LOW, LOW_OFFSET, LOW_TIME, HEAD = range(6)


class Counted(NamedTuple):
    """Predictions, or predictions whose label arrived; `n` of them in the order of events."""

    event: I64  # [n]
    flow: I64  # [n] of the prediction; -1: of none
    topic: I64  # [n] of the prediction
    time_ms: I64  # [n] event time of the prediction


@dataclass(frozen=True, slots=True)
class ShareAlarm:
    """The share of a flow has fallen."""

    event: int  # index of the event at which it was detected
    flow: int
    version: int
    before: float  # mean share
    after: float
    n_reference: int  # predictions
    n_current: int
    began_offset: int  # of the first prediction in the two windows
    began_ms: int  # its event time, in ms


class LabelShares:
    """The label rates of all flows of a fold unit. 440 bytes a flow, with a time-out of a week and windows of a day."""

    def __init__(self, window_s: float, timeout_s: float) -> None:
        self._window_ms = int(window_s * 1000)
        self._wait = min(OPEN_MAX - 2, -int(-timeout_s * 1000 // self._window_ms))  # windows
        self._open = self._wait + 2
        self._now = np.zeros(4, np.int64)  # by topic: number of the window its clock is in; 0: not known
        self._head = np.zeros((64, HEAD), np.int64)
        self._counts = np.zeros((64, 2, self._open), np.int64)  # predictions, and those with a label
        self._first = np.zeros((64, 2, self._open), np.int64)  # offset and event time of the first
        self._shares = np.zeros((64, 2, SHARES))  # and of how many predictions each is
        self._flows, self._topics = 0, 0

    def update(
        self, made: Counted, offset: I64, met: Counted, windows: list[RateWindow], flows: int
    ) -> list[ShareAlarm]:
        """Update with a batch; returns its alarms in the order of events.

        made: the predictions, whose events have these offsets [n]. met: the predictions whose labels arrived. windows:
        the windows that the clocks of their topics opened. flows: the number of flows so far.
        """
        known = [int(one.topic.max(initial=-1)) for one in (made, met)]
        topics = 1 + max([*known, *(one.topic for one in windows)])
        self._grow(flows, topics)
        found: list[ShareAlarm] = []
        begin = [0, 0]
        for window in [*windows, None]:
            for k, counted in enumerate((made, met)):
                end = len(counted.event) if window is None else int(np.searchsorted(counted.event, window.event))
                self._count(k, Counted(*(array[begin[k] : end] for array in counted)), offset[begin[k] : end])
                begin[k] = end
            if window is not None:
                found += self._close(window)
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; valid until the next update."""
        arrays = {name: getattr(self, f"_{name}")[: self._flows] for name in ("head", "counts", "first", "shares")}
        return arrays | {"now": self._now[: self._topics]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`, under the same time-out and window."""
        self._grow(len(arrays["head"]), len(arrays["now"]))
        for name, array in arrays.items():
            getattr(self, f"_{name}")[: len(array)] = array

    def _count(self, k: int, counted: Counted, offset: I64) -> None:
        number, now = counted.time_ms // self._window_ms, self._now[counted.topic]
        fits = (counted.flow >= 0) & (now > 0) & (number <= now) & (number >= now - self._wait)
        flow, slot = counted.flow[fits], number[fits] % self._open
        if k == 0:
            _, first = np.unique(flow * self._open + slot, return_index=True)
            first = first[self._counts[flow[first], 0, slot[first]] == 0]
            self._first[flow[first], 0, slot[first]] = offset[fits][first]
            self._first[flow[first], 1, slot[first]] = counted.time_ms[fits][first]
        np.add.at(self._counts[:, k], (flow, slot), 1)

    def _close(self, window: RateWindow) -> Iterator[ShareAlarm]:
        before, now = int(self._now[window.topic]), window.number
        self._now[window.topic] = now
        if 0 < before < now:
            for number in range(max(before, now - self._open) - self._wait, now - self._wait):
                yield from self._judge(window, number % self._open)
        elif before > now:  # the clock was corrected backwards
            self._counts[window.flows] = 0

    def _judge(self, window: RateWindow, slot: int) -> Iterator[ShareAlarm]:
        """Judge a window whose predictions have timed out."""
        made, met = self._counts[window.flows, 0, slot], self._counts[window.flows, 1, slot]
        self._counts[window.flows, :, slot] = 0
        enough = np.flatnonzero(made >= PREDICTIONS_MIN)
        for flow, version, n, labelled in zip(
            window.flows[enough].tolist(), window.versions[enough].tolist(), made[enough].tolist(),
            met[enough].tolist(), strict=True,
        ):  # fmt: skip
            head, share = self._head[flow], min(1.0, labelled / n)
            if not self._has_fallen(flow, share, n):
                self._shares[flow, :, head[PLACE]] = share, n
                head[PLACE], head[KEPT], head[LOW] = (head[PLACE] + 1) % SHARES, min(SHARES, head[KEPT] + 1), 0
            elif head[LOW] == 0:  # one window alone may be a holiday
                head[LOW], head[LOW_OFFSET], head[LOW_TIME] = 1, *self._first[flow, :, slot]
            else:
                shares, sizes = self._shares[flow]
                began = int(head[LOW_OFFSET]), int(head[LOW_TIME])
                yield ShareAlarm(
                    window.event, flow, version, float(np.average(shares, weights=sizes)), share, int(sizes.sum()), n,
                    *began,
                )  # fmt: skip
                head[:] = 0

    def _has_fallen(self, flow: int, share: float, n: int) -> bool:
        if self._head[flow, KEPT] < SHARES:
            return False
        shares = self._shares[flow, 0]
        usual = float(shares.mean())
        spread = max(float(shares.std()), float(np.sqrt(usual * (1 - usual) / n)))
        return bool(share < shares.min() - FALL_MIN and share < usual - SPREADS * spread)

    def _grow(self, flows: int, topics: int) -> None:
        self._flows, self._topics = max(flows, self._flows), max(topics, self._topics)
        for name in ("_head", "_counts", "_first", "_shares"):
            setattr(self, name, ensure_length(getattr(self, name), self._flows, 0))
        self._now = ensure_length(self._now, self._topics, 0)
