"""Commands of people and trainers about a request or a silence: the records of the topic `driftline.control`.

`docs/schemas/control.v1.json` is generated from them. Commands are idempotent. The engine trusts every writer of the
topic, so restrict who may write to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from retrain.messages.silence import Matcher


class ControlKind(StrEnum):
    """What a control record commands or reports."""

    APPROVE = "approve"  # the trainer may start
    REJECT = "reject"  # no training, or no promotion of what was trained
    STARTED = "started"  # by the trainer: training has begun
    TRAINED = "trained"  # by the trainer: there is a challenger
    FAILED = "failed"  # by the trainer: there will be none
    PROMOTE = "promote"  # the challenger serves from now on
    SILENCE = "silence"  # suppress alerts that fit `matcher` until `until`
    UNSILENCE = "unsilence"  # end that silence now


@dataclass(frozen=True, slots=True)
class Control:
    """One command about one request or silence. A repeated record changes nothing."""

    kind: ControlKind
    request_id: str  # or the id of a silence: new in `silence`, known in `unsilence`
    at: datetime  # UTC: when the command was given, by the clock of the events
    actor: str  # who gives it; never ""
    comment: str = ""
    model_version: str = ""  # of `trained` and `promote`: the challenger's; "" when versions have no names
    champion: dict[str, float] = field(default_factory=dict)  # of `trained`: metrics on a hold-out, by name
    challenger: dict[str, float] = field(default_factory=dict)  # the same metrics on the same hold-out
    matcher: Matcher | None = None  # of `silence`: which alerts
    until: datetime | None = None  # of `silence`: it expires at this event time; UTC, after `at`
