"""Alarms of detectors on their way to becoming alerts, and verdicts on series that had alarmed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from detectors.arrays.types import I64
from detectors.series.offsets import OffsetMark
from retrain.messages.alert import AlertKind, Place

Series = tuple[int, str]  # bank row, detector


Watched = tuple[str, int]  # what the row takes, and the row


class RowWatch(NamedTuple):
    """The watch that an alarm's row is under."""

    row: Watched
    returns: bool = False  # whether it is plain that the alarm tells of no new drift


Watching = RowWatch | None  # None: too little is known of the row


Watches = list[Watching]


class Verdict(NamedTuple):
    """The watch of a row is over, or an alarm of it has been looked into."""

    event: int  # index, in the batch, of the event that showed it
    row: Watched
    why: int  # of `detectors.recovery.judge`
    distance: float
    distance_max: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm with everything an alert says, but for the places in the log."""

    event: int  # index of the event, in the batch, that raised it
    series: Series
    subject: int
    topic: str  # the subject's
    onset: int  # number of the subject's event with which the new regime began
    facts: Mapping[str, Any]  # the fields of `Alert` that are known already
    becomes_ready: bool = True  # whether there is something to retrain on once there are events enough
    watch: RowWatch | None = None  # None: nobody looks whether the series comes back
    began: OffsetMark | None = (
        None  # where the new regime began, if that is known; then `subject` and `onset` say nothing
    )


class Alarmed(NamedTuple):
    """What detectors, and the judges of the series that had alarmed before, say of a batch; in event order."""

    alarms: list[Alarm]
    judged: list[Verdict]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a batch as the alerts see them. `subject` is -1 for events that count for none (labels)."""

    topics: Sequence[str]
    topic: I64  # index into `topics`
    partition: int
    offset: I64
    event_time_ms: I64
    subject: I64
    number: I64


def alert_id(facts: Mapping[str, Any], at: Place) -> str:
    """Derived from what it identifies, so that the same log gives the same id in every run."""
    what: tuple[str, ...] = (facts["model_id"], facts["model_version"], facts["column"], facts["detector"])
    where: tuple[str, ...] = (at.topic, str(at.partition), str(at.offset))
    if facts.get("kind", AlertKind.DRIFT) != AlertKind.DRIFT:
        what = (*what, facts["kind"])
    if facts.get("segment"):
        what = (*what, f"segment:{facts['segment']}")  # no kind or topic has a colon
    return blake2b("\0".join(what + where).encode(), digest_size=12, person=b"driftline-alert").hexdigest()
