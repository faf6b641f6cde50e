"""The arithmetic of `flows.py`: each topic's clock, and what every event adds to its flow.

A topic's clock is the newest event time that can be believed, and counts in *ticks*: the events that moved it. So a
night in which all of a topic sleeps takes no ticks, and late events and repeats move nothing. A time that is further
ahead than `ASIDE_MS` is believed once `BELIEVED` events in a row say so, and one that is further behind once
`GONE_BACK` do: one producer whose clock is years ahead moves nothing, and a topic that was away goes on.
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
CHECK_TICKS = 256  # a topic's flows are looked at after so many ticks, or as many as there are flows
LONGEST = 16  # gaps that are kept
LONGER = 3.0  # times the longest is a silence at the least
WINDOWS = 14

# State.topic
NOW = 0  # event time in ms that the clock shows
TICK = 1
CHECK = 2  # the tick at which flows are looked at next
FLOWS = 3
WINDOW = 4  # number of the window the clock is in
IN_WINDOW = 5  # events in it so far
ASIDE = 6  # events in a row that were too far ahead ...
ASIDE_LEAST = 7  # ... and the least of their times
BEHIND = 8  # the same behind
BEHIND_MOST = 9
IS_SET = 10
IS_COUNTED = 11  # 1: the clock has taken the event that comes next
TOPIC = 12

# State.head
EVENTS = 0
GAPS = 1  # of a tick or more
LAST_TICK = 2
LAST_NOW = 3
SINCE = 4  # what the clock showed when gaps began to be learnt
LAST_OFFSET = 5
LAST_TIME = 6  # event time in ms of the last event
LAST_VERSION = 7
SILENT = 8  # ticks after which it was called silent; 0: it is not
COUNT = 9  # events in this window
KEPT = 10  # whole windows that are kept, WINDOWS at most ...
PLACE = 11  # ... and where the next goes; -1: the first, which is not whole
WAS_SILENT = 12  # within this window
ODD = 13  # 1 or -1: the last window had more or fewer events than any that is kept
BEGAN_OFFSET = 14  # of the last event before this window; before the first of two, once one is odd
BEGAN_TIME = 15
HEAD = 16

DONE, LOOK, CLOSE = -1, 0, 1  # why the kernel stops


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
    """Take events from `start` on. Stops where a topic's flows are due: (index, LOOK) after an event, (index, CLOSE)
    before one that begins a new window. Returns (n, DONE) at the end.
    """
    for i in range(start, len(events.flow)):
        topic = state.topic[events.topic[i]]
        if topic[IS_COUNTED] == 0:
            before = topic[NOW]
            was_set = topic[IS_SET]
            _tell(topic, events.time_ms[i])
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
def _tell(topic: I64, time_ms: int) -> None:
    """Show the clock an event's time."""
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
    """An event of a flow has come."""
    head = state.head[flow]
    if head[EVENTS] == 0:
        topic[FLOWS] += 1
        head[SINCE] = topic[NOW]
        head[PLACE] = -1
    else:
        gap = topic[TICK] - head[LAST_TICK]
        if head[SILENT] > 0:  # what has been told is not taken for usual, but for somewhat more so
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
    """Put a gap among the longest, if it is one of them."""
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
    """The gap in ticks that one in `arl0` exceeds, were the longest gaps those of a Pareto tail (B. M. Hill, 1975).

    The tail's exponent is taken to be half again as heavy as estimated, some two standard errors.
    """
    least = float(longest[0])
    heavy = 0.0
    for k in range(1, LONGEST):
        heavy += np.log(longest[k] / least)
    heavy = 1.5 * heavy / (LONGEST - 1)
    return float(max(LONGER * longest[LONGEST - 1], least * np.exp(heavy * np.log(max(1.0, LONGEST * arl0 / gaps)))))
