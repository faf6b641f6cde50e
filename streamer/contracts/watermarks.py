"""Marks of event time: one with the first event of each stretch of it that a unit has not reached before.

Stretches are whole multiples of the pace since 1970, so where marks stand depends on the events alone. A jump over many
stretches is one mark. Time that has come never goes back, so what is too far ahead must not count: an event that is is
a dead letter and makes no mark, and a mark is read only if it is not too far ahead of its own record either.
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
from streamer.events import EventBatch

EVERY_MS: Final = 300_000  # so much later than due, at most, something ends by time while events come
SKEW_MAX_S: Final = 3600.0  # where no topic says how far its events may be ahead
AHEAD_MAX_S: Final = 3600.0  # of a mark's own record, beyond what events may be: what brokers let producers' clocks be

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decoder = msgspec.json.Decoder(Watermark)


def marks(unit: str, event_time_ms: I64, before_ms: int) -> Iterator[tuple[int, bytes]]:
    """The event and the record of each mark. `event_time_ms` [n] in order of folding, `before_ms` the newest before."""
    if not len(event_time_ms) or event_time_ms.max() // EVERY_MS <= before_ms // EVERY_MS:
        return
    reached = np.maximum.accumulate(np.concatenate([[before_ms], event_time_ms])) // EVERY_MS
    for i in np.flatnonzero(np.diff(reached)).tolist():
        at = _EPOCH + timedelta(milliseconds=int(reached[i + 1]) * EVERY_MS)
        yield i, msgspec.json.encode(Watermark(unit, at))


def marked(batch: EventBatch, place: I64, before_ms: int, topics: OutputTopics) -> Iterator[tuple[int, Output]]:
    """The marks of a chunk whose events stand at these places; `before_ms` is the newest event time before it."""
    for event, mark in marks(f"{DETECT}{batch.partition}", batch.event_time_ms, before_ms):
        yield int(place[event]), Output(topics.watermarks, None, mark)


def read_mark(value: bytes | None, timestamp_ms: int, skew_max_s: float) -> Watermark | Unreadable:
    """The mark in a record's value. `timestamp_ms` is the record's own time, or -1; `skew_max_s` that of events."""
    mark = decoded(value, _decoder)
    if isinstance(mark, Unreadable):
        return mark
    if mark.at.tzinfo is not UTC:  # the decoder gives every time at offset zero this zone
        return Unreadable(Reason.BAD_EVENT_TIME, f"at is {mark.at.isoformat()}, which is not UTC")
    ahead_s = (mark.at - _EPOCH).total_seconds() - timestamp_ms / 1000
    if timestamp_ms >= 0 and ahead_s > skew_max_s + AHEAD_MAX_S:
        detail = f"at is {ahead_s:.0f} s after the record; a mark may be {skew_max_s + AHEAD_MAX_S:.0f} s ahead"
        return Unreadable(Reason.TIME_TOO_FAR_AHEAD, detail)
    return mark
