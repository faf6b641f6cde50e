"""What recordings give under several settings, and how large a change has to be to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from retrain.messages.alert import Alert
from streamer.app.offline.injection import Injection, found_of
from streamer.events import time_of

MONTH_MS: Final = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What one of the settings gives."""

    settings: str
    alarms: int
    alerts: int
    incidents: int
    requests: int
    false_alerts: int  # those that fired before the first mark; without marks and changes, all
    model_months: float  # of event time before the first mark, in months of 30 days; without one, all
    seen: int  # marks and models with an alert from the mark on, and before the next one
    delay_s: float | None  # median time from the mark to the first of them; None without any
    requested: tuple[str, ...]  # the models with a retrain request, in order of name
    cpu_s: float  # processor time of the fold

    @property
    def false_a_month(self) -> float | None:
        """False alerts of a model in a month; None where there is no time before the mark."""
        return self.false_alerts / self.model_months if self.model_months else None


@dataclass(frozen=True, slots=True)
class SizeResult:
    """How a change of one size is seen under one of the settings."""

    settings: str
    size: str  # as written; `nothing` is the recording as it is
    models: int  # that have the change
    seen: int  # of them, those with an alert on the column, that fired at the time of the change or later
    delay_s: float | None  # median time from the change to the first of a model; None without any
    onset_error_s: float | None  # median of the onset's distance from the change, later ones above 0

    @property
    def power(self) -> float:
        """The share of the models that see it."""
        return self.seen / self.models if self.models else 0.0


def figures_of(
    fired: Sequence[tuple[str, int]], marks_ms: Sequence[int], span_ms: Sequence[int], models: int
) -> tuple[int, float, int, float | None]:
    """False alerts, model-months they are of, detections, and their median delay in s.

    `fired`: model and time of each alert; `span_ms`: first and last event time, empty without events.
    """
    first, last = span_ms or (0, 0)
    until = min(marks_ms[0], last) if marks_ms else last
    false = sum(at < marks_ms[0] for _, at in fired) if marks_ms else len(fired)
    delays = []
    for mark, after in zip(marks_ms, [*marks_ms[1:], last + 1], strict=True) if marks_ms else ():
        detected: dict[str, int] = {}
        for model, at in fired:
            if mark <= at < after:
                detected[model] = min(at, detected.get(model, at))
        delays += [(at - mark) / 1000 for at in detected.values()]
    return false, models * max(until - first, 0) / MONTH_MS, len(delays), median(delays) if delays else None


def power_of(settings: str, size: str, change: Injection, alerts: Sequence[Alert]) -> SizeResult:
    """How the alerts of a replay see one of its changes. `alerts` are in the order in which they fired."""
    since, first = time_of(change.since_ms), dict[str, Alert]()
    for (model, _), alert in found_of(change, alerts).items():
        if model not in first or alert.at.event_time < first[model].at.event_time:
            first[model] = alert
    delays = [(one.at.event_time - since).total_seconds() for one in first.values()]
    errors = [(one.onset.event_time - since).total_seconds() for one in first.values()]
    middle = (median(delays), median(errors)) if first else (None, None)
    return SizeResult(settings, size, len(change.reached | first.keys()), len(first), *middle)
