"""Silences: which alerts they suppress, and the alerts that they keep back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrain.messages.alert import Alert, AlertKind
from retrain.messages.patterns import matches


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts a silence suppresses: those that fit model, column and kind. See `retrain.messages.patterns`."""

    model: str = "*"  # pattern of model names; `source:*` for feature sources
    column: str = "*"
    kind: AlertKind | None = None  # None: all kinds

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

    silence_id: str
    matcher: Matcher
    since: datetime  # UTC: the time of its control record
    until: datetime  # UTC, exclusive: it expires at this event time of the fleet
    actor: str
    comment: str
    alerts: int = 0  # suppressed so far
    is_over: bool = False  # ended by `unsilence`; kept until `until`, so that a repeated record does not begin it again


@dataclass(frozen=True, slots=True)
class SuppressedAlert:
    """The newest suppressed alert of a series. The engine judges it when no silence fits it any more."""

    alert: Alert
    is_new: bool  # whether it has joined no incident yet; an alert that fired before the silence has
    source: str = ""  # where it came from, if the model waited with the alert of a source
