"""Inhibition: a data fault prevents retrains for drift of the same column.

Where values of a column are missing, of another type, or unlike any in training, the column moves as well, and
detectors report drift. Broken data are nothing to retrain on. For `inhibit_s` after an alert about a fault, drift of
the same column of the same model or source therefore triggers no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from retrain.messages.alert import Alert, AlertKind
from retrain.policy.settings import RetrainSettings

FAULTS = frozenset(
    {AlertKind.MISSING, AlertKind.TYPE_FAULT, AlertKind.OUT_OF_RANGE, AlertKind.UNSEEN, AlertKind.ABSENT}
)

Faults = dict[str, datetime]  # column -> when an alert last reported a fault of it, by its model's time


def is_faulty(faults: Mapping[str, datetime], column: str, now: datetime, settings: RetrainSettings) -> bool:
    """Whether a fault of the column inhibits its drift at the model's time `now`."""
    reported_at = faults.get(column)
    return reported_at is not None and (now - reported_at).total_seconds() < settings.inhibit_s


def add_fault(faults: Faults, alert: Alert, now: datetime, settings: RetrainSettings) -> bool:
    """Add the fault that the alert reports, and drop those that inhibit nothing any more. Returns whether it is one."""
    if alert.kind not in FAULTS or not settings.inhibit_s:
        return False
    for column in [column for column in faults if not is_faulty(faults, column, now, settings)]:
        del faults[column]
    faults[alert.column] = now
    return True
