"""Freshness and rate of data delivery: whether the events of a flow stop, or arrive at another rate.

A *flow* is the events of one model or one source on one topic. Its gaps are counted in ticks of its topic's clock (see
`flow_kernels.py`), so a night or weekend that all flows of a topic share is no silence. Gaps of one flow alone are
learned.

*Silence*: the current gap is longer than one in `arl0` gaps would be, and at least three times the longest. The bound
extrapolates the 16 longest gaps by a Pareto tail (B. M. Hill, "A simple general approach to inference about the tail of
a distribution", Annals of Statistics, 1975).

*Rate*: two windows in a row hold `factor` times as many events as any of the 14 windows before, or as few. Both the
count and its ratio to the rest of the topic must say so, by more than such windows vary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.bounds import require_between
from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64
from detectors.delivery.flow_kernels import (
    BEGAN_OFFSET,
    BEGAN_TIME,
    CLOSE,
    COUNT,
    DONE,
    EVENTS,
    GAPS,
    HEAD,
    IN_WINDOW,
    KEPT,
    LAST_NOW,
    LAST_OFFSET,
    LAST_TICK,
    LAST_TIME,
    LAST_VERSION,
    LONGER,
    LONGEST,
    NOW,
    ODD,
    PLACE,
    SILENT,
    SINCE,
    TICK,
    TOPIC,
    WAS_SILENT,
    WINDOW,
    WINDOWS,
    Events,
    FlowState,
    advance,
    bound,
)

GAPS_MIN: Final = 200  # gaps before a flow is judged
EVENTS_MIN: Final = 64  # events in a window whose rate is compared
SPREADS: Final = 5.0  # least deviation of a rate, in standard deviations of the logarithms of the windows


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Detection of models and sources whose events stop or change their rate. ValueError when out of range.

    watch: whether flows are watched.
    learn_s: event time before a flow is judged, in seconds, from 1. A day covers the daily cycle.
    silence_min_s: the shortest silence that is reported, in seconds, from 0.
    arl0: average number of gaps between false `silent` alerts of a flow, 1e3 to 1e12.
    window_s: length of the window over which events are counted, in seconds, from 60: a day, or a week where weekends
        matter.
    factor: how many times more or fewer events than in each of the last 14 windows are reported, 1.1 to 100.
    """

    watch: bool = True
    learn_s: float = 86_400.0
    silence_min_s: float = 300.0
    arl0: float = 1e6
    window_s: float = 86_400.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        require_between(
            self, learn_s=(1, 1e9), silence_min_s=(0, 1e9), arl0=(1000, 1e12), window_s=(60, 1e8), factor=(1.1, 100)
        )


@dataclass(frozen=True, slots=True)
class RateWindow:
    """A topic's clock has entered another window, right before an event."""

    event: int  # index of that event
    topic: int
    number: int  # of the new window
    flows: I64  # all of the topic
    versions: I64  # of their last events


@dataclass(frozen=True, slots=True)
class FlowAlarm:
    """A flow that fell silent, or whose rate changed."""

    event: int  # index of the event at which it was detected
    flow: int
    is_silence: bool
    statistic: float  # of a silence, ticks; of a rate, the logarithm of the ratio to the nearest of the 14 windows
    threshold: float
    before: float  # of a silence, the mean gap in s; of a rate, events an hour
    after: float
    n_reference: int  # gaps, or events in the 14 windows
    n_current: int  # ticks, or events in the window
    began_offset: int  # of the last event before the silence, or before the two windows
    began_ms: int  # its event time, in ms
    version: int  # of the flow's last event


class Flows:
    """The flows of a fold unit. 488 bytes a flow."""

    def __init__(self, settings: FlowSettings) -> None:
        self.settings = settings
        self.windows: list[RateWindow] = []  # that the last events opened
        self._window_ms = int(settings.window_s * 1000)
        self._flows, self._topics = 0, 0
        self._owner = np.full(64, -1, np.int64)  # topic of each flow
        self._head = np.zeros((64, HEAD), np.int64)
        self._longest = np.zeros((64, LONGEST), np.int64)
        self._counts = np.zeros((64, WINDOWS), np.int64)
        self._ratios = np.zeros((64, WINDOWS))  # to the events of all other flows of the topic
        self._topic = np.zeros((4, TOPIC), np.int64)

    def update(self, events: Events, flows: int) -> list[FlowAlarm]:
        """Update with these events, in order; returns their alarms in order. `flows` is the number of flows so far."""
        self._grow(flows, int(events.topic.max(initial=-1)) + 1)
        own = events.flow >= 0
        self._owner[events.flow[own]] = events.topic[own]
        found: list[FlowAlarm] = []
        self.windows = []
        state = FlowState(self._topic, self._head, self._longest)
        at, reason = advance(state, events, self._window_ms, 0)
        while reason != DONE:
            topic = int(events.topic[at])
            if reason == CLOSE:
                found += self._close(at, topic)
            else:
                found += self._look(at, topic)
            at, reason = advance(state, events, self._window_ms, at + (reason != CLOSE))
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; valid until the next update."""
        n = self._flows
        arrays = {name: getattr(self, f"_{name}")[:n] for name in ("owner", "head", "longest", "counts", "ratios")}
        return arrays | {"topic": self._topic[: self._topics]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._grow(len(arrays["head"]), len(arrays["topic"]))
        for name, array in arrays.items():
            getattr(self, f"_{name}")[: len(array)] = array

    def _look(self, event: int, topic: int) -> Iterator[FlowAlarm]:
        """The flows of a topic that have just fallen silent."""
        head, (now, tick) = self._head[: self._flows], self._topic[topic, [NOW, TICK]].tolist()
        gap = tick - head[:, LAST_TICK]
        due = (self._owner[: self._flows] == topic) & (head[:, GAPS] >= GAPS_MIN) & (head[:, SILENT] == 0)
        due &= gap > LONGER * self._longest[: self._flows, -1]
        due &= now - head[:, SINCE] >= self.settings.learn_s * 1000
        due &= now - head[:, LAST_NOW] >= self.settings.silence_min_s * 1000
        for flow in np.flatnonzero(due).tolist():
            mine = head[flow]
            longest = bound(self._longest[flow], mine[GAPS], self.settings.arl0)
            if gap[flow] <= longest:
                continue
            mine[SILENT], mine[WAS_SILENT] = max(1, int(longest)), 1
            mean_s = (mine[LAST_NOW] - mine[SINCE]) / 1000 / mine[GAPS]
            ago_s = (now - mine[LAST_NOW]) / 1000
            yield FlowAlarm(
                event, flow, True, float(gap[flow]), float(longest), float(mean_s), float(ago_s), int(mine[GAPS]),
                int(gap[flow]), int(mine[LAST_OFFSET]), int(mine[LAST_TIME]), int(mine[LAST_VERSION]),
            )  # fmt: skip

    def _close(self, event: int, topic: int) -> Iterator[FlowAlarm]:
        """Close the window of a topic; returns the flows whose rate has changed."""
        here = self._topic[topic]
        total, is_onward = int(here[IN_WINDOW]), 0 < here[WINDOW] < here[NOW] // self._window_ms
        here[WINDOW], here[IN_WINDOW] = here[NOW] // self._window_ms, 0
        mine = np.flatnonzero((self._owner[: self._flows] == topic) & (self._head[: self._flows, EVENTS] > 0))
        self.windows.append(RateWindow(event, topic, int(here[WINDOW]), mine, self._head[mine, LAST_VERSION]))
        for flow in mine.tolist() if is_onward else []:
            head, count = self._head[flow], int(self._head[flow, COUNT])
            ratio = count / max(1, total - count)
            is_whole = head[PLACE] >= 0 and not head[WAS_SILENT] and not head[SILENT] and total > count
            odd = self._odd(flow, count, ratio) if is_whole and head[KEPT] == WINDOWS else 0
            if odd and odd == head[ODD]:  # one window alone may be a burst
                yield self._changed(event, flow, count)
                head[KEPT], head[PLACE], head[ODD] = 0, 0, 0
                head[GAPS], head[SINCE], self._longest[flow] = 0, here[NOW], 0
            elif odd:
                head[ODD] = odd
            elif is_whole:
                head[ODD] = 0
                self._counts[flow, head[PLACE]], self._ratios[flow, head[PLACE]] = count, ratio
                head[PLACE], head[KEPT] = (head[PLACE] + 1) % WINDOWS, min(WINDOWS, head[KEPT] + 1)
            head[PLACE] = max(0, head[PLACE])
        even = mine[self._head[mine, ODD] == 0]
        self._head[even, BEGAN_OFFSET] = self._head[even, LAST_OFFSET]
        self._head[even, BEGAN_TIME] = self._head[even, LAST_TIME]
        self._head[mine, COUNT] = 0
        self._head[mine, WAS_SILENT] = self._head[mine, SILENT] > 0

    def _odd(self, flow: int, count: int, ratio: float) -> int:
        """How a window differs from all kept ones: 1 has more events, -1 fewer, 0 neither."""
        counts, ratios, factor = self._counts[flow], self._ratios[flow], self.settings.factor
        is_less = counts.min() >= EVENTS_MIN and count * factor < counts.min() and ratio * factor < ratios.min()
        is_more = count >= EVENTS_MIN and count > counts.max() * factor and ratio > ratios.max() * factor
        usual = np.log1p(counts)
        if abs(math.log1p(count) - usual.mean()) < SPREADS * usual.std():
            return 0
        return int(is_more) - int(is_less)

    def _changed(self, event: int, flow: int, count: int) -> FlowAlarm:
        head, counts, hours = self._head[flow], self._counts[flow], self.settings.window_s / 3600
        nearest = int(counts.min() if count < counts.min() else counts.max())
        return FlowAlarm(
            event, flow, False, abs(math.log(max(count, 0.5) / max(nearest, 0.5))), math.log(self.settings.factor),
            float(counts.mean()) / hours, count / hours, int(counts.sum()), count,
            int(head[BEGAN_OFFSET]), int(head[BEGAN_TIME]), int(head[LAST_VERSION]),
        )  # fmt: skip

    def _grow(self, flows: int, topics: int) -> None:
        self._flows, self._topics = max(flows, self._flows), max(topics, self._topics)
        self._owner = ensure_length(self._owner, self._flows, -1)
        for name in ("_head", "_longest", "_counts", "_ratios"):
            setattr(self, name, ensure_length(getattr(self, name), self._flows, 0))
        self._topic = ensure_length(self._topic, self._topics, 0)
