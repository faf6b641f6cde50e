"""Watermarks of event time: one with the first event of each interval that a unit reaches.

Intervals are whole multiples of `EVERY_MS` since 1970, so watermarks depend on the events alone. A jump over many
intervals is one watermark. The time of the fleet never decreases, so a time too far ahead must not count. An event that
is ahead of the unit's clock makes no watermark (`event_clock.py`), and a watermark too far ahead of its own record is a
dead letter. `alert_time.py` does the same for alerts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import numpy as np

from detectors.arrays.types import I64
from retrain.messages.watermark import Watermark
from streamer.codecs.base import Reason
from streamer.contracts.alert_reader import Unreadable, decoded
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Output
from streamer.eventlog.units import DETECT

EVERY_MS: Final = 300_000  # the longest delay of an end by time, while events arrive
SKEW_MAX_S: Final = 3600.0  # for events, where no topic sets `skew_max_s`
AHEAD_MAX_S: Final = (
    3600.0  # of its own record, beyond the skew of events: the clock error that brokers allow producers
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decoder = msgspec.json.Decoder(Watermark)


def marks(unit: str, clock_ms: I64, before_ms: int) -> Iterator[tuple[int, bytes]]:
    """The event index and record of each watermark.

    `clock_ms` [n] is the unit's clock after each event, in fold order, and `before_ms` the clock before the first.
    """
    reached = np.concatenate([[before_ms], clock_ms]) // EVERY_MS
    for i in np.flatnonzero(np.diff(reached) > 0).tolist():
        at = _EPOCH + timedelta(milliseconds=int(reached[i + 1]) * EVERY_MS)
        yield i, msgspec.json.encode(Watermark(unit, at))


def marked(
    partition: int, clock_ms: I64, place: I64, before_ms: int, topics: OutputTopics
) -> Iterator[tuple[int, Output]]:
    """The watermarks of a chunk, with the places of their events. `clock_ms` and `before_ms`: see `marks`."""
    for event, mark in marks(f"{DETECT}{partition}", clock_ms, before_ms):
        yield int(place[event]), Output(topics.watermarks, None, mark)


def read_mark(value: bytes | None, timestamp_ms: int, skew_max_s: float) -> Watermark | Unreadable:
    """The watermark in a record. `timestamp_ms` is the time of the record, or -1; `skew_max_s` that of events."""
    mark = decoded(value, _decoder)
    if isinstance(mark, Unreadable):
        return mark
    if mark.at.tzinfo is not UTC:  # the decoder gives exactly this zone to every time at offset zero
        return Unreadable(Reason.BAD_EVENT_TIME, f"at is {mark.at.isoformat()}, which is not UTC")
    if mark.at < _EPOCH:
        return Unreadable(Reason.BAD_EVENT_TIME, f"at is {mark.at.isoformat()}, which is before 1970")
    ahead_s = (mark.at - _EPOCH).total_seconds() - timestamp_ms / 1000
    if timestamp_ms >= 0 and ahead_s > skew_max_s + AHEAD_MAX_S:
        detail = f"at is {ahead_s:.0f} s after the record; a watermark may be {skew_max_s + AHEAD_MAX_S:.0f} s ahead"
        return Unreadable(Reason.TIME_TOO_FAR_AHEAD, detail)
    return mark
