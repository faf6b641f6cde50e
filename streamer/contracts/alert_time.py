"""When an alert counts: as of its event times, unless they lie further ahead than the fleet's time may move for them.

What is ahead is known three ways, of which the strictest counts: the detect unit's clock does not believe the event
(`CLOCK_HEADER`), the alert is dated behind the moment at which its own record was written, or it is days ahead of all
marks. Such an alert is folded as of the fleet's time, and moves none. See `docs/adr/0025-who-may-move-time.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from retrain.messages.alert import Alert, Place
from streamer.codecs.times import END_MS
from streamer.contracts.event_clock import NEVER, STEP_MS
from streamer.contracts.watermarks import AHEAD_MAX_S
from streamer.eventlog.headers import Headers

CLOCK_HEADER: Final = (
    "driftline_clock"  # what the unit's clock showed, in ms since 1970; on alerts that it is behind of
)
ALERT_STEP_MS: Final = 7 * 86_400_000  # beyond the fleet's time, once marks tell it

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_PLACES = ("onset", "at", "ready_at", "resolved_at")


def clock_header(alert: Alert, clock_ms: int) -> Headers:
    """The header of an alert of which some time is ahead of its unit's clock by more than a step; else none."""
    if clock_ms == NEVER or _newest_ms(alert) <= clock_ms + STEP_MS:
        return ()
    return ((CLOCK_HEADER, str(clock_ms).encode()),)


def held_back(
    alert: Alert, record_ms: int, headers: Headers, fleet: datetime | None, has_marks: bool, skew_max_s: float
) -> Alert:
    """The alert with all times that are too far ahead set to the fleet's; the same object where none is.

    `record_ms` is the record's own time, or -1; `fleet` the fleet's time, if there is one yet, and `has_marks` whether
    watermarks give it; `skew_max_s` is how far events may be ahead of their records.
    """
    fleet_ms = NEVER if fleet is None else (fleet - _EPOCH) // _MS
    limit_ms = own_limit_ms(record_ms, headers, skew_max_s)
    if has_marks and fleet_ms != NEVER:
        limit_ms = min(limit_ms, fleet_ms + ALERT_STEP_MS)
    if _newest_ms(alert) <= limit_ms:
        return alert
    known = [at_ms for at_ms in (_own_ms(record_ms), _clock_of(headers)) if at_ms != NEVER]
    at = _EPOCH + timedelta(milliseconds=fleet_ms if fleet_ms != NEVER else min(known))
    late = [(name, place) for name, place in _places(alert) if _ms(place) > limit_ms]
    held: dict[str, Any] = {name: replace(place, event_time=at) for name, place in late}
    return replace(alert, **held)


def own_limit_ms(record_ms: int, headers: Headers, skew_max_s: float) -> int:
    """The latest time of an alert by its own record and by its unit's clock; `END_MS` where neither is known."""
    steps = ((_own_ms(record_ms), int((skew_max_s + AHEAD_MAX_S) * 1000)), (_clock_of(headers), STEP_MS))
    return min([at_ms + step_ms for at_ms, step_ms in steps if at_ms != NEVER], default=END_MS)


def _own_ms(record_ms: int) -> int:
    return record_ms if 0 <= record_ms < END_MS else NEVER


def _clock_of(headers: Headers) -> int:
    """The time in the header; -1 where there is none, or none that can be read."""
    text = dict(headers).get(CLOCK_HEADER) or b""
    return int(text) if text.isdigit() and len(text) <= len(str(END_MS)) else NEVER


def _newest_ms(alert: Alert) -> int:
    return max(_ms(place) for _, place in _places(alert))


def _places(alert: Alert) -> Iterator[tuple[str, Place]]:
    return ((name, place) for name in _PLACES if (place := getattr(alert, name)) is not None)


def _ms(place: Place) -> int:
    return (place.event_time - _EPOCH) // _MS
