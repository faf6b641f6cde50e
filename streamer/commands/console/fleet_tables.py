"""Alerts and incidents as rows of tables and as objects, for every command that lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from retrain.messages.incident import Incident
    from streamer.audit.fleet import AlertStatus

ALERTS_HEAD: Final = ("state", "since", "model", "version", "column", "kind", "effect", "decision", "alert")
INCIDENTS_HEAD: Final = ("state", "since", "last alert", "model", "alerts", "moved", "decision", "request", "incident")
WAITING: Final = "waiting_for_data"
MOVED_MAX: Final = 2  # columns that a row names


def alert_rows(found: Sequence[AlertStatus], events: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """The rows of some alerts, the head first. `events`: see `WatchedFleet`."""
    yield ALERTS_HEAD
    for one in found:
        yield _alert_row(one, events.get(one.alert.alert_id))


def _alert_row(one: AlertStatus, events: int | None) -> tuple[str, ...]:
    from streamer.audit.reasons import clock, number

    alert = one.alert
    ended = "" if one.is_active or alert.resolution else " (ended)"
    decision = one.decision
    if decision == WAITING and alert.min_events_after_onset:
        n = alert.events_after_onset if events is None else events
        decision = f"{decision} ({n:,} of {alert.min_events_after_onset:,})"
    return (
        f"{alert.state}{ended}",
        clock(alert.at.event_time),
        alert.model_id,
        alert.model_version or "-",
        f"{alert.column} {alert.segment}" if alert.segment else alert.column,
        alert.kind.value,
        f"{number(alert.effect)} {alert.effect_unit}",
        decision,
        alert.alert_id,
    )


def alert_object(one: AlertStatus, events: Mapping[str, int]) -> dict[str, Any]:
    """The record of an alert, with what became of it. `events_so_far` is null where no checkpoint shows it."""
    import msgspec

    return {
        **msgspec.to_builtins(one.alert),
        "is_active": one.is_active,
        "decision": one.decision,
        "incident_id": one.incident_id,
        "events_so_far": events.get(one.alert.alert_id),
    }


def incident_row(one: Incident) -> tuple[str, ...]:
    """The row of an incident."""
    from streamer.audit.reasons import clock, number

    moved = [f"{shift.column} {number(shift.effect)} {shift.effect_unit}" for shift in one.columns[:MOVED_MAX]]
    more = len(one.columns) - len(moved)
    return (
        one.state.value if one.state == "open" else f"{one.state}: {one.reason}",
        clock(one.opened_at),
        clock(one.last_alert_at),
        one.model_id if one.model_count == 1 else f"{one.model_id} ({one.model_count:,} models)",
        f"{one.alerts:,}",
        ", ".join([*moved, *([f"{more:,} more"] if more else [])]),
        one.decision.value,
        one.request_id or "-",
        one.incident_id,
    )
