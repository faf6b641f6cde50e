"""Whose retrain goes first."""

from __future__ import annotations

from retrain.messages.alert import Alert
from retrain.messages.strength import strength_of
from retrain.policy.model_rules import ERROR

Urgency = tuple[bool, float, float]


def urgency(alert: Alert) -> Urgency:
    """The less, the more urgent: errors go before all else, then what moved most, then what is used most.

    Use is the events a second of the new regime until the detector was sure.
    """
    seconds = (alert.at.event_time - alert.onset.event_time).total_seconds()
    return alert.column != ERROR, -strength_of(alert.effect, alert.effect_unit), -alert.n_current / max(seconds, 1.0)
