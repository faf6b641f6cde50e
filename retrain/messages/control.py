"""What people and trainers say about a request or a silence: the records of the topic `driftline.control`.

`docs/schemas/control.v1.json` is generated from them. Whoever may write to the topic is believed, so guard it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from retrain.messages.silence import Matcher


class ControlKind(StrEnum):
    """What is said."""

    APPROVE = "approve"  # the trainer may start
    REJECT = "reject"  # no training, or no promotion of what was trained
    STARTED = "started"  # by the trainer: it is at work
    TRAINED = "trained"  # by the trainer: there is a challenger
    FAILED = "failed"  # by the trainer: there will be none
    PROMOTE = "promote"  # the challenger serves from now on
    SILENCE = "silence"  # what fits `matcher` is passed over in silence until `until`
    UNSILENCE = "unsilence"  # that silence ends now


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that somebody says about one request or silence. Said twice, it counts once."""

    kind: ControlKind
    request_id: str  # or the id of a silence, which `silence` gives and `unsilence` names
    at: datetime  # UTC: when it was said, on the clock of the events
    actor: str  # who says it; never ""
    comment: str = ""
    model_version: str = ""  # of `trained` and `promote`: the challenger's; "" when versions have no names
    champion: dict[str, float] = field(default_factory=dict)  # of `trained`: metrics on a hold-out, by name
    challenger: dict[str, float] = field(default_factory=dict)  # the same metrics on the same hold-out
    matcher: Matcher | None = None  # of `silence`: which alerts
    until: datetime | None = None  # of `silence`: it ends by itself at this event time; UTC, after `at`
