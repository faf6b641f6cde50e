"""Records of the alerts topic, back to alerts. What can't be read gets a reason from the closed set, no exception.

Alerts are written by the detect fold, but the topic is open to others, so nothing about a record is taken on trust:
times must be UTC, and numbers must be what Kafka can count to, or comparing and publishing them later would fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TypeVar

import msgspec

from retrain.messages.alert import Alert, AlertState, Place
from streamer.codecs.base import Reason
from streamer.codecs.json_lenient import DEPTH_MAX, is_too_deep

BYTES_MAX = 65_536  # an ordinary alert has 700; its texts stay in the state, so they must have a bound
OFFSET_MAX = 2**63 - 1
PARTITION_MAX = 2**31 - 1

T = TypeVar("T")

_decoder = msgspec.json.Decoder(Alert)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record is no alert."""

    reason: Reason
    detail: str


def read_alert(value: bytes | None) -> Alert | Unreadable:
    """The alert in a record's value. Fields that are not known are ignored, so that newer writers may add some."""
    alert = decoded(value, _decoder)
    return alert if isinstance(alert, Unreadable) else _problem_of(alert) or alert


def decoded(value: bytes | None, decoder: msgspec.json.Decoder[T]) -> T | Unreadable:
    """A record's value as what the decoder makes, types checked and no more."""
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
    """Tell a record that is no object from one with a field of the wrong type: only of fields is the path told."""
    at_the_top = message.startswith("Expected `object`") and " - at " not in message
    return Reason.NOT_AN_OBJECT if at_the_top else Reason.WRONG_TYPE


def _problem_of(alert: Alert) -> Unreadable | None:
    """What is wrong with an alert whose types are right."""
    if not alert.model_id:
        return Unreadable(Reason.MISSING_MODEL, "model_id is empty")
    if alert.effect < 0:
        return Unreadable(Reason.WRONG_TYPE, f"effect is {alert.effect}, but how much moved can't be negative")
    if alert.state is AlertState.READY and alert.ready_at is None:
        return Unreadable(Reason.WRONG_TYPE, "the state is ready, but ready_at is missing")
    if alert.state is AlertState.RESOLVED and (alert.resolved_at is None or alert.resolution is None):
        return Unreadable(Reason.WRONG_TYPE, "the state is resolved, but resolved_at or resolution is missing")
    for name in ("onset", "at", "ready_at", "resolved_at"):
        place = getattr(alert, name)
        problem = None if place is None else _problem_of_place(name, place)
        if problem:
            return problem
    return None


def _problem_of_place(name: str, place: Place) -> Unreadable | None:
    # The decoder gives every time at offset zero this very zone.
    if place.event_time.tzinfo is not UTC:
        time = place.event_time.isoformat()
        return Unreadable(Reason.BAD_EVENT_TIME, f"{name}.event_time is {time}, which is not UTC")
    if not 0 <= place.offset <= OFFSET_MAX:
        return Unreadable(Reason.WRONG_TYPE, f"{name}.offset is out of range")
    if not 0 <= place.partition <= PARTITION_MAX:
        return Unreadable(Reason.WRONG_TYPE, f"{name}.partition is out of range")
    return None
