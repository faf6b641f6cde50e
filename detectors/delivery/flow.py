"""Flows: whether events stop coming, or come at another rate, judged by what else comes on the same topic.

A *flow* is what comes of one model, or one source, on one topic. Its gaps are counted in ticks of its topic's clock
(see `flow_kernels.py`), so that nights and weekends that a topic's flows share are no silence; those of a flow alone
are learnt. It is silent when its gap is longer than one in `arl0` would be, by a Pareto tail through its 16 longest
gaps, and at least three times the longest. Its rate has changed when two windows in a row hold `factor` times as many
events as any of the 14 before, or as few, in itself and in proportion to the rest of the topic, and by more than such
windows vary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.bounds import require_between
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

GAPS_MIN: Final = 200  # before a flow is judged
EVENTS_MIN: Final = 64  # in a window, for its rate to be compared
SPREADS: Final = 5.0  # standard deviations of the logarithms of the windows that a rate must be off as well


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Whether models and sources whose events stop, or come at another rate, are told. ValueError when out of range.

    watch: look for it at all.
    learn_s: event time that passes before a flow is judged, 1 or more; a day holds what is usual within one.
    silence_min_s: what is shorter is no silence, 0 or more.
    arl0: gaps of a flow for one that is longer than is told, 1e3 to 1e12.
    window_s: events are counted over so long; a day, or a week where weekends matter. 60 or more.
    factor: how many times more or fewer events than in any of the last 14 windows are told, 1.1 to 100.
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
    """A topic's clock has come into another window, right before an event."""

    event: int
    topic: int
    number: int
    flows: I64  # all of the topic
    versions: I64  # of their last events


@dataclass(frozen=True, slots=True)
class FlowAlarm:
    """A flow that has fallen silent, or whose rate is another."""

    event: int  # index of the event that showed it
    flow: int
    is_silence: bool
    statistic: float  # of a silence, ticks; of a rate, the logarithm of the ratio to the nearest of the 14 windows
    threshold: float
    before: float  # of a silence, the mean gap in s; of a rate, events an hour
    after: float
    n_reference: int  # gaps, or events in the 14 windows
    n_current: int  # ticks, or events in the window
    began_offset: int  # of the last event before the silence, or before the two windows
    began_ms: int  # its event time
    version: int  # of the flow's last event


class Flows:
    """The flows of a fold unit. 488 bytes each."""

    def __init__(self, settings: FlowSettings) -> None:
        self.settings = settings
        self.windows: list[RateWindow] = []  # that the last events have brought
        self._window_ms = int(settings.window_s * 1000)
        self._flows, self._topics = 0, 0
        self._owner = np.full(64, -1, np.int64)  # topic of each flow
        self._head = np.zeros((64, HEAD), np.int64)
        self._longest = np.zeros((64, LONGEST), np.int64)
        self._counts = np.zeros((64, WINDOWS), np.int64)
        self._ratios = np.zeros((64, WINDOWS))  # to the events of all other flows of the topic
        self._topic = np.zeros((4, TOPIC), np.int64)

    def fold(self, events: Events, flows: int) -> list[FlowAlarm]:
        """Take events in order, those of `flows` flows known so far; what they show, in their order."""
        self._hold(flows, int(events.topic.max(initial=-1)) + 1)
        own = events.flow >= 0
        self._owner[events.flow[own]] = events.topic[own]
        found: list[FlowAlarm] = []
        self.windows = []
        state = FlowState(self._topic, self._head, self._longest)
        at, why = advance(state, events, self._window_ms, 0)
        while why != DONE:
            topic = int(events.topic[at])
            if why == CLOSE:
                found += self._close(at, topic)
            else:
                found += self._look(at, topic)
            at, why = advance(state, events, self._window_ms, at + (why != CLOSE))
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next events."""
        n = self._flows
        arrays = {name: getattr(self, f"_{name}")[:n] for name in ("owner", "head", "longest", "counts", "ratios")}
        return arrays | {"topic": self._topic[: self._topics]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what was dumped."""
        self._hold(len(arrays["head"]), len(arrays["topic"]))
        for name, array in arrays.items():
            getattr(self, f"_{name}")[: len(array)] = array

    def _look(self, event: int, topic: int) -> Iterator[FlowAlarm]:
        """The flows of a topic that are silent now, and have not been so yet."""
        head, (now, tick) = self._head[: self._flows], self._topic[topic, [NOW, TICK]].tolist()
        gap = tick - head[:, LAST_TICK]
        due = (self._owner[: self._flows] == topic) & (head[:, GAPS] >= GAPS_MIN) & (head[:, SILENT] == 0)
        due &= gap > LONGER * self._longest[: self._flows, -1]
        due &= now - head[:, SINCE] >= self.settings.learn_s * 1000
        due &= now - head[:, LAST_NOW] >= self.settings.silence_min_s * 1000
        for flow in np.flatnonzero(due).tolist():
            mine = head[flow]
            most = bound(self._longest[flow], mine[GAPS], self.settings.arl0)
            if gap[flow] <= most:
                continue
            mine[SILENT], mine[WAS_SILENT] = max(1, int(most)), 1
            mean_s = (mine[LAST_NOW] - mine[SINCE]) / 1000 / mine[GAPS]
            ago_s = (now - mine[LAST_NOW]) / 1000
            yield FlowAlarm(
                event, flow, True, float(gap[flow]), float(most), float(mean_s), float(ago_s), int(mine[GAPS]),
                int(gap[flow]), int(mine[LAST_OFFSET]), int(mine[LAST_TIME]), int(mine[LAST_VERSION]),
            )  # fmt: skip

    def _close(self, event: int, topic: int) -> Iterator[FlowAlarm]:
        """The window of a topic is over: the flows whose rate in it was another."""
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
        """Whether a window stands out from all that are kept: 1 by more, -1 by fewer, 0 not."""
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

    def _hold(self, flows: int, topics: int) -> None:
        self._flows, self._topics = max(flows, self._flows), max(topics, self._topics)
        room = len(self._head)
        if self._flows > room:
            more = max(self._flows, 2 * room) - room
            self._owner = np.concatenate([self._owner, np.full(more, -1, np.int64)])
            for name in ("_head", "_longest", "_counts", "_ratios"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros((more, array.shape[1]), array.dtype)]))
        if self._topics > len(self._topic):
            added = np.zeros((max(self._topics, 2 * len(self._topic)) - len(self._topic), TOPIC), np.int64)
            self._topic = np.concatenate([self._topic, added])
