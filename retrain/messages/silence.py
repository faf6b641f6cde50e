"""Silences: which alerts they suppress, and the alerts that they keep back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrain.messages.alert import Alert, AlertKind
from retrain.messages.patterns import matches


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts a silence suppresses: those that fit model, column and kind. See `retrain.messages.patterns`."""

    model: str = "*"  # pattern of model names, such as `bus-*`; `source:*` for feature sources
    column: str = "*"  # pattern of column names
    kind: AlertKind | None = None  # kind of the alerts; null for all

    def fits(self, alert: Alert, source: str = "") -> bool:
        """Whether the alert fits, by the name of its model or of the `source` that it came from."""
        return (
            self.kind in {None, alert.kind}
            and matches(alert.column, self.column)
            and (matches(alert.model_id, self.model) or (source != "" and matches(source, self.model)))
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence as it stands. An alert that fits it opens no incident and triggers no retrain until it ends."""

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
    """The newest suppressed alert of a series. The engine judges it when no silence fits it any more."""

    alert: Alert
    is_new: bool  # whether it has joined no incident yet; an alert that fired before the silence has
    source: str = ""  # where it came from, if the model waited with the alert of a source
