"""Reads commands from records of the control topic. An unreadable one gets a reason from the closed set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from retrain.messages.control import Control, ControlKind
from streamer.codecs.base import Reason
from streamer.contracts.alert_reader import Unreadable, decoded

TEXT_CHARS_MAX = 200  # of an actor, a request id and a version: they stay in the state
COMMENT_CHARS_MAX = 10_000
LINK_CHARS_MAX = 2_000  # of a run and its link
METRICS_MAX = 100  # of each of champion and challenger
SILENCE_DAYS_MAX = 366  # for longer, exclude the column from monitoring instead
SKEW_MAX_S = 3600.0  # longest time by which `at` may be ahead of the time of the record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decoder = msgspec.json.Decoder(Control)


def read_control(value: bytes | None, timestamp_ms: int) -> Control | Unreadable:
    """The command in a record. Unknown fields are ignored; `timestamp_ms` is the time of the record, or -1."""
    control = decoded(value, _decoder)
    return control if isinstance(control, Unreadable) else _problem_of(control, timestamp_ms) or control


def _problem_of(control: Control, timestamp_ms: int) -> Unreadable | None:
    """The fault of a command with valid types, if any."""
    if control.at.tzinfo is not UTC:  # the decoder gives exactly this zone to every time at offset zero
        return Unreadable(Reason.BAD_EVENT_TIME, f"at is {control.at.isoformat()}, which is not UTC")
    if control.at < _EPOCH:
        return Unreadable(Reason.BAD_EVENT_TIME, f"at is {control.at.isoformat()}, which is before 1970")
    ahead_s = (control.at - _EPOCH).total_seconds() - timestamp_ms / 1000  # a timestamp may be any 64-bit integer
    if timestamp_ms >= 0 and ahead_s > SKEW_MAX_S:
        return Unreadable(Reason.TIME_TOO_FAR_AHEAD, f"at is later than the record's time by more than {SKEW_MAX_S} s")
    if not control.actor.strip() or not control.request_id:
        return Unreadable(Reason.WRONG_TYPE, "actor or request_id is empty; give both")
    for name in ("actor", "request_id", "model_version"):
        if len(getattr(control, name)) > TEXT_CHARS_MAX:
            return Unreadable(Reason.TOO_LARGE, f"{name} has more than {TEXT_CHARS_MAX} characters")
    for name in ("run", "link"):
        if len(getattr(control, name)) > LINK_CHARS_MAX:
            return Unreadable(Reason.TOO_LARGE, f"{name} has more than {LINK_CHARS_MAX:,} characters")
    if len(control.comment) > COMMENT_CHARS_MAX:
        return Unreadable(Reason.TOO_LARGE, f"comment has more than {COMMENT_CHARS_MAX} characters")
    if max(len(control.champion), len(control.challenger)) > METRICS_MAX:
        return Unreadable(Reason.TOO_LARGE, f"champion or challenger has more than {METRICS_MAX} metrics")
    return _problem_of_silence(control) if control.kind is ControlKind.SILENCE else None


def _problem_of_silence(control: Control) -> Unreadable | None:
    matcher, until = control.matcher, control.until
    if matcher is None or until is None:
        return Unreadable(Reason.WRONG_TYPE, "a silence needs matcher, for its alerts, and until, for its end")
    if not matcher.model or not matcher.column:
        return Unreadable(Reason.WRONG_TYPE, "matcher.model or matcher.column is empty; * matches all")
    if max(len(matcher.model), len(matcher.column)) > TEXT_CHARS_MAX:
        return Unreadable(
            Reason.TOO_LARGE, f"matcher.model or matcher.column has more than {TEXT_CHARS_MAX} characters"
        )
    if until.tzinfo is not UTC:
        return Unreadable(Reason.BAD_EVENT_TIME, f"until is {until.isoformat()}, which is not UTC")
    if not timedelta(0) < until - control.at <= timedelta(days=SILENCE_DAYS_MAX):
        detail = f"until is {until.isoformat()}, but must be after at, by {SILENCE_DAYS_MAX} days at most"
        return Unreadable(Reason.BAD_EVENT_TIME, detail)
    return None
