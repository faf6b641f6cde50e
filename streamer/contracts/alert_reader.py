"""Reads records of the alerts topic. An unreadable one gets a reason from the closed set, not an exception.

The detect fold writes alerts, but others may write to the topic, so every record is validated. Times must be UTC, and
offsets in the range of Kafka, or later comparison and publication would fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from retrain.messages.alert import Alert, AlertState, Place, TrainingWindow
from streamer.codecs.base import Reason
from streamer.codecs.json_lenient import DEPTH_MAX, is_too_deep

BYTES_MAX = 65_536  # an ordinary alert has 700; its texts stay in the state, so they need a bound
OFFSET_MAX = 2**63 - 1
PARTITION_MAX = 2**31 - 1
ROW_MAX = 2**31 - 1

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_decoder = msgspec.json.Decoder(Alert)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The reason why a record is unreadable."""

    reason: Reason
    detail: str


def read_alert(value: bytes | None) -> Alert | Unreadable:
    """The alert in the value of a record. Unknown fields are ignored, so newer writers may add some."""
    alert = decoded(value, _decoder)
    return alert if isinstance(alert, Unreadable) else _problem_of(alert) or alert


def decoded(value: bytes | None, decoder: msgspec.json.Decoder[T]) -> T | Unreadable:
    """The decoded value of a record, with checked types only."""
    if value is None:
        return Unreadable(Reason.NULL_VALUE, "the record has no value")
    if len(value) > BYTES_MAX:
        return Unreadable(Reason.TOO_LARGE, f"{len(value)} bytes, which is more than {BYTES_MAX}")
    if is_too_deep(value):
        return Unreadable(Reason.TOO_DEEP, f"the value is nested deeper than {DEPTH_MAX} levels")
    try:
        return decoder.decode(value)
    except UnicodeDecodeError as problem:
        return Unreadable(Reason.NOT_UTF8, str(problem))
    except msgspec.ValidationError as problem:
        return Unreadable(_reason_of(str(problem)), str(problem))
    except msgspec.DecodeError as problem:
        return Unreadable(Reason.NOT_JSON, str(problem))


def _reason_of(message: str) -> Reason:
    """Distinguish a record that is no object from a field of the wrong type; only for fields is there a path."""
    at_the_top = message.startswith("Expected `object`") and " - at " not in message
    return Reason.NOT_AN_OBJECT if at_the_top else Reason.WRONG_TYPE


def _problem_of(alert: Alert) -> Unreadable | None:
    """The fault of an alert with valid types, if any."""
    if not alert.model_id:
        return Unreadable(Reason.MISSING_MODEL, "model_id is empty")
    if alert.effect < 0:
        return Unreadable(Reason.WRONG_TYPE, f"effect is {alert.effect}, but must not be negative")
    if alert.state is AlertState.READY and alert.ready_at is None:
        return Unreadable(Reason.WRONG_TYPE, "the state is ready, but ready_at is missing")
    if alert.state is AlertState.RESOLVED and (alert.resolved_at is None or alert.resolution is None):
        return Unreadable(Reason.WRONG_TYPE, "the state is resolved, but resolved_at or resolution is missing")
    for name in ("onset", "at", "ready_at", "resolved_at"):
        place = getattr(alert, name)
        problem = None if place is None else _problem_of_place(name, place)
        if problem:
            return problem
    for name in ("windows", "history"):
        for window in getattr(alert, name):
            problem = _problem_of_window(name, window)
            if problem:
                return problem
    return None


def _problem_of_window(name: str, window: TrainingWindow) -> Unreadable | None:
    """The fault of a window: it is a stretch between two places of a topic-partition, in order."""
    first = Place(window.topic, window.partition, window.start_offset, window.start_time)
    last = Place(window.topic, window.partition, window.end_offset - 1, window.end_time)
    if window.end_offset <= window.start_offset or window.end_time < window.start_time:
        return Unreadable(Reason.WRONG_TYPE, f"{name} hold a stretch that ends before it begins")
    return _problem_of_place(name, first) or _problem_of_place(name, last)


def _problem_of_place(name: str, place: Place) -> Unreadable | None:
    # The decoder gives exactly this zone to every time at offset zero.
    if place.event_time.tzinfo is not UTC:
        time = place.event_time.isoformat()
        return Unreadable(Reason.BAD_EVENT_TIME, f"{name}.event_time is {time}, which is not UTC")
    if place.event_time < _EPOCH:
        time = place.event_time.isoformat()
        return Unreadable(Reason.BAD_EVENT_TIME, f"{name}.event_time is {time}, which is before 1970")
    if not 0 <= place.offset <= OFFSET_MAX:
        return Unreadable(Reason.WRONG_TYPE, f"{name}.offset is out of range")
    if not 0 <= place.partition <= PARTITION_MAX:
        return Unreadable(Reason.WRONG_TYPE, f"{name}.partition is out of range")
    if not 0 <= place.row <= ROW_MAX:
        return Unreadable(Reason.WRONG_TYPE, f"{name}.row is out of range")
    return None
