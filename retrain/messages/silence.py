"""A silence: alerts that fit it open no incident and ask for no retrain until it ends. What it is, and what it fits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from retrain.messages.alert import Alert, AlertKind


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts are meant: those that fit all of it. Patterns are as in `bus-*`, in upper and lower case."""

    model: str = "*"  # pattern of model names, such as `bus-*`; `source:*` for feature sources
    column: str = "*"  # pattern of column names
    kind: AlertKind | None = None  # kind of the alerts; null for all

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

    silence_id: str  # the id from its command
    matcher: Matcher  # which alerts it suppresses
    since: datetime  # event time of the command; UTC
    until: datetime  # event time of its end, exclusive; UTC
    actor: str  # the author of the command
    comment: str  # the reason, for people
    alerts: int = 0  # alerts suppressed so far
    is_over: bool = False  # whether a command has ended it; kept until `until`, so that a repeat does not revive it


@dataclass(frozen=True, slots=True)
class SuppressedAlert:
    """The newest silenced alert of a series: it is judged when no silence fits it any more."""

    alert: Alert
    is_new: bool  # whether it has joined no incident yet, as one that fired before the silence has
    source: str = ""  # where it came from, if the model waited with the alert of a source
