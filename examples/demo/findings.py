"""The outputs of Driftline for a stream: alerts, incidents and requests, and their shared shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from retrain.messages.alert import Alert, AlertState
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from retrain.messages.shift import Shift
from streamer.contracts.topics import OutputTopics

SHARED_WITHIN = timedelta(days=1)  # shifts of one column in many models within this time suggest one cause
SHARED_MODELS_MIN = 0.2  # of all models


@dataclass(frozen=True, slots=True)
class SharedMove:
    """One column that moved in many models at about the same time."""

    column: str
    models: frozenset[str]
    first: datetime  # earliest and latest onset
    last: datetime
    before: float  # medians over the models
    after: float


@dataclass(slots=True)
class Findings:
    """The outputs of one run so far."""

    alerts: list[Alert] = field(default_factory=list)  # firing ones
    incidents: dict[str, Incident] = field(default_factory=dict)  # by id, in their latest state
    requests: dict[str, RetrainRequest] = field(default_factory=dict)  # by id
    topics: OutputTopics = field(default_factory=OutputTopics)

    def add(self, topic: str, value: bytes | None) -> None:
        """Add one output."""
        if topic == self.topics.alerts:
            alert = msgspec.json.decode(value or b"", type=Alert)
            if alert.state is AlertState.FIRING:
                self.alerts.append(alert)
        elif topic == self.topics.incidents:
            incident = msgspec.json.decode(value or b"", type=Incident)
            self.incidents[incident.incident_id] = incident
        elif topic == self.topics.requests:
            request = msgspec.json.decode(value or b"", type=RetrainRequest)
            self.requests[request.request_id] = request

    def shared_moves(self, models: int) -> list[SharedMove]:
        """Columns that moved in a fifth of the models or more within a day, the most models first."""
        by_column: dict[str, list[Alert]] = {}
        for alert in sorted(self.alerts, key=lambda alert: (alert.onset.event_time, alert.alert_id)):
            by_column.setdefault(alert.column, []).append(alert)
        found = [_crowd(column, alerts) for column, alerts in by_column.items()]
        shared = [move for move in found if len(move.models) >= SHARED_MODELS_MIN * models]
        return sorted(shared, key=lambda move: (-len(move.models), move.column))

    def own_moves(self, shared: list[SharedMove]) -> Iterator[tuple[Incident, Shift]]:
        """Incidents outside of all shared shifts, each with the strongest own shift of its first day, by onset."""
        found = []
        for incident in self.incidents.values():
            own = [move for move in incident.columns if not any(_is_part_of(move, crowd) for crowd in shared)]
            if own:
                day = min(move.onset.event_time for move in own) + timedelta(days=1)
                found.append((incident, next(move for move in own if move.onset.event_time <= day)))  # by strength
        yield from sorted(found, key=lambda pair: (pair[1].onset.event_time, pair[0].incident_id))


def _crowd(column: str, alerts: list[Alert]) -> SharedMove:
    """The day in which the column moved in the most models. Alerts come by onset."""
    best: list[Alert] = []
    most = start = 0
    for end in range(len(alerts)):
        while alerts[end].onset.event_time - alerts[start].onset.event_time > SHARED_WITHIN:
            start += 1
        crowd = alerts[start : end + 1]
        if (models := len({alert.model_id for alert in crowd})) > most:
            best, most = crowd, models
    return SharedMove(
        column,
        frozenset(alert.model_id for alert in best),
        best[0].onset.event_time,
        best[-1].onset.event_time,
        _median([alert.before for alert in best]),
        _median([alert.after for alert in best]),
    )


def _is_part_of(move: Shift, crowd: SharedMove) -> bool:
    """Whether a move belongs to a shared one: the same column in its time, or another column from then on."""
    return move.onset.event_time >= crowd.first


def _median(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]
