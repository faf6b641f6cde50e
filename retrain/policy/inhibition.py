"""Faults of the data, as far as they keep drift from asking for a retrain.

Where values of a column go missing, are of another type, or unlike any in training, the column moves as well, and
detectors of drift say so; but broken data are nothing to retrain on. So for `inhibit_s` after an alert of a fault,
drift of the same column of the same model, or source, asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from retrain.messages.alert import Alert, AlertKind
from retrain.policy.settings import RetrainSettings

FAULTS = frozenset(
    {AlertKind.MISSING, AlertKind.TYPE_FAULT, AlertKind.OUT_OF_RANGE, AlertKind.UNSEEN, AlertKind.ABSENT}
)

Faults = dict[str, datetime]  # column -> when an alert last told of a fault of it, by its model's time


def is_faulty(faults: Mapping[str, datetime], column: str, now: datetime, settings: RetrainSettings) -> bool:
    """Whether a fault of the column inhibits its drift at the model's time `now`."""
    told_at = faults.get(column)
    return told_at is not None and (now - told_at).total_seconds() < settings.inhibit_s


def tell_fault(faults: Faults, alert: Alert, now: datetime, settings: RetrainSettings) -> bool:
    """Remember the fault that the alert tells of, forget those that are over; returns whether it tells of one."""
    if alert.kind not in FAULTS or not settings.inhibit_s:
        return False
    for column in [column for column in faults if not is_faulty(faults, column, now, settings)]:
        del faults[column]
    faults[alert.column] = now
    return True
