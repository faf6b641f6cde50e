"""A silence: alerts that fit it open no incident and ask for no retrain until it ends. What it is, and what it fits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from retrain.messages.alert import Alert, AlertKind


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts are meant: those that fit all of it. Patterns are as in `bus-*`, in upper and lower case."""

    model: str = "*"  # of model names; `source:*` for feature sources
    column: str = "*"
    kind: AlertKind | None = None  # None: all kinds

    def fits(self, alert: Alert, source: str = "") -> bool:
        """Whether this alert is meant, by its model's name or by that of the source it came from."""
        return (
            self.kind in {None, alert.kind}
            and fnmatchcase(alert.column, self.column)
            and (fnmatchcase(alert.model_id, self.model) or (source != "" and fnmatchcase(source, self.model)))
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence as it stands. It begins in the log's order, and ends by the fleet's event time or by a word."""

    silence_id: str
    matcher: Matcher
    since: datetime  # UTC: when it was said
    until: datetime  # UTC, exclusive: it ends by itself at this event time
    actor: str
    comment: str
    alerts: int = 0  # that it has silenced so far
    is_over: bool = False  # ended by a word; known until `until`, so that a repeat does not bring it back


@dataclass(frozen=True, slots=True)
class SuppressedAlert:
    """The newest silenced alert of a series: it is judged when no silence fits it any more."""

    alert: Alert
    is_new: bool  # whether it has joined no incident yet, as one that fired before the silence has
    source: str = ""  # where it came from, if the model waited with the alert of a source
