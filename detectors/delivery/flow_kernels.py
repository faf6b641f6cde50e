"""The kernels of `flow.py`: each topic's clock, and the state of each flow.

A topic's clock is the newest event time that is credible. It counts in *ticks*: the events that advanced it. So a night
in which all of a topic sleeps takes no ticks, and late events and repeats advance nothing. A time that is more than
`ASIDE_MS` ahead is credible after `BELIEVED` such events in a row, one that is as far behind after `GONE_BACK`. So one
producer with a wrong clock advances nothing, and a topic that was interrupted continues.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

ASIDE_MS = 86_400_000
BELIEVED = 16
GONE_BACK = 1024
CHECK_TICKS = 256  # ticks between two checks of a topic's flows; the number of its flows where that is more
LONGEST = 16  # longest gaps kept
LONGER = 3.0  # a silence lasts so many times the longest gap, at least
WINDOWS = 14  # windows kept

# State.topic
NOW = 0  # event time of the clock, in ms
TICK = 1
CHECK = 2  # the tick of the next check of flows
FLOWS = 3
WINDOW = 4  # number of the clock's window
IN_WINDOW = 5  # events in it so far
ASIDE = 6  # events in a row that were too far ahead ...
ASIDE_LEAST = 7  # ... and the least of their times
BEHIND = 8  # the same behind
BEHIND_MOST = 9
IS_SET = 10
IS_COUNTED = 11  # 1: the clock has already been advanced by the next event
TOPIC = 12

# State.head
EVENTS = 0
GAPS = 1  # of a tick or more
LAST_TICK = 2
LAST_NOW = 3
SINCE = 4  # the clock when learning of gaps began
LAST_OFFSET = 5
LAST_TIME = 6  # event time in ms of the last event
LAST_VERSION = 7
SILENT = 8  # ticks after which it was reported silent; 0: it is not silent
COUNT = 9  # events in this window
KEPT = 10  # whole windows kept, WINDOWS at most ...
PLACE = 11  # ... and the place of the next; -1: in the first window, which is not whole
WAS_SILENT = 12  # within this window
ODD = 13  # 1 or -1: the last window had more or fewer events than each kept one
BEGAN_OFFSET = 14  # of the last event before this window; before the first of two, once one is odd
BEGAN_TIME = 15
HEAD = 16

DONE, LOOK, CLOSE = -1, 0, 1  # the reason why the kernel stops


class FlowState(NamedTuple):
    """All topics and all flows."""

    topic: I64  # [topics, TOPIC]
    head: I64  # [flows, HEAD]
    longest: I64  # [flows, LONGEST] ticks, ascending


class Events(NamedTuple):
    """`n` events in order."""

    flow: I64  # [n] -1: of none
    topic: I64  # [n]
    time_ms: I64  # [n]
    offset: I64  # [n]
    version: NDArray[np.int32]  # [n]


@kernel
def advance(state: FlowState, events: Events, window_ms: int, start: int) -> tuple[int, int]:
    """Process events from index `start` on; returns where the kernel stopped, and the reason.

    (index, LOOK) after an event at which a topic's flows are due for a check; (index, CLOSE) before an event that opens
    a new window; (n, DONE) at the end.
    """
    for i in range(start, len(events.flow)):
        topic = state.topic[events.topic[i]]
        if topic[IS_COUNTED] == 0:
            before = topic[NOW]
            was_set = topic[IS_SET]
            _advance_clock(topic, events.time_ms[i])
            window = topic[NOW] // window_ms
            topic[TICK] += was_set == 1 and topic[NOW] > before
            if window != topic[WINDOW]:
                topic[IS_COUNTED] = 1
                return i, CLOSE
        topic[IS_COUNTED] = 0
        topic[IN_WINDOW] += 1
        if events.flow[i] >= 0 and topic[IS_SET] == 1:
            _add(state, topic, events.flow[i], events.offset[i], events.time_ms[i], events.version[i])
        if topic[TICK] >= topic[CHECK]:
            topic[CHECK] = topic[TICK] + max(CHECK_TICKS, topic[FLOWS])
            return i, LOOK
    return len(events.flow), DONE


@kernel
def _advance_clock(topic: I64, time_ms: int) -> None:
    """Advance the clock by an event's time, if that is credible."""
    if topic[IS_SET] == 0 or time_ms > topic[NOW] + ASIDE_MS:
        topic[ASIDE_LEAST] = time_ms if topic[ASIDE] == 0 else min(topic[ASIDE_LEAST], time_ms)
        topic[ASIDE] += 1
        if topic[ASIDE] < BELIEVED:
            return
        topic[NOW], topic[IS_SET] = topic[ASIDE_LEAST], 1
    elif time_ms < topic[NOW] - ASIDE_MS:
        topic[ASIDE] = 0
        topic[BEHIND_MOST] = time_ms if topic[BEHIND] == 0 else max(topic[BEHIND_MOST], time_ms)
        topic[BEHIND] += 1
        if topic[BEHIND] < GONE_BACK:
            return
        topic[NOW] = topic[BEHIND_MOST]
    else:
        topic[NOW] = max(topic[NOW], time_ms)
    topic[ASIDE], topic[BEHIND] = 0, 0


@kernel
def _add(state: FlowState, topic: I64, flow: int, offset: int, time_ms: int, version: int) -> None:
    """Count an event of a flow."""
    head = state.head[flow]
    if head[EVENTS] == 0:
        topic[FLOWS] += 1
        head[SINCE] = topic[NOW]
        head[PLACE] = -1
    else:
        gap = topic[TICK] - head[LAST_TICK]
        if head[SILENT] > 0:  # a reported silence enters the longest gaps no longer than its bound
            gap = min(gap, head[SILENT])
            head[SILENT] = 0
        if gap > 0:
            head[GAPS] += 1
            _keep(state.longest[flow], gap)
    head[EVENTS] += 1
    head[COUNT] += 1
    head[LAST_TICK], head[LAST_NOW] = topic[TICK], topic[NOW]
    head[LAST_OFFSET], head[LAST_TIME], head[LAST_VERSION] = offset, time_ms, version


@kernel
def _keep(longest: I64, gap: int) -> None:
    """Insert a gap into the longest ones, if it is one of them."""
    at = 0
    while at < LONGEST and longest[at] < gap:
        at += 1
    if at == 0:
        return
    for k in range(at - 1):
        longest[k] = longest[k + 1]
    longest[at - 1] = gap


@kernel
def bound(longest: I64, gaps: int, arl0: float) -> float:
    """The gap in ticks that one in `arl0` exceeds, by a Pareto tail through the longest gaps (B. M. Hill, 1975).

    The tail is assumed half again as heavy as estimated, which is about two standard errors.
    """
    least = float(longest[0])
    heavy = 0.0
    for k in range(1, LONGEST):
        heavy += np.log(longest[k] / least)
    heavy = 1.5 * heavy / (LONGEST - 1)
    return float(max(LONGER * longest[LONGEST - 1], least * np.exp(heavy * np.log(max(1.0, LONGEST * arl0 / gaps)))))
