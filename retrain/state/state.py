"""What the engine remembers: plain dataclasses of strings, numbers and times, which any serializer can write and read.

Mappings keep their order (it says which model alerted longest ago), so a serializer must keep it too; JSON does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from retrain.messages.action import Action, PublishIncident
from retrain.messages.alert import Alert, AlertState
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import RequestRecord, Trigger
from retrain.messages.outcome import Outcome
from retrain.messages.silence import Silence, SuppressedAlert
from retrain.state.dedup import SeriesMark, series_of
from retrain.state.source import SourceState
from retrain.state.storm import Storm, StormState
from retrain.state.versions import Versions

FIRING_MAX = 200  # alerts of a model that are not over; beyond, the one that was told longest ago counts as over


@dataclass(slots=True)
class ModelState:
    """One model: its newest incident, its last request, and what it takes to know a repeated alert.

    Marks are kept for the newest version and for events without a version; they are as many as columns have alerted.
    """

    now: datetime  # running maximum of the event times of its alerts
    versions: Versions
    incident: Incident | None = None
    last_request: RequestRecord | None = None
    waiting: Trigger | None = None  # worth a retrain, and waiting for room in the fleet's budget
    unhelpful: int = 0  # promotions in a row that did not help
    faults: dict[str, datetime] = field(default_factory=dict)  # column -> when a fault of its data was last told
    firing: dict[str, str] = field(default_factory=dict)  # id of an alert that is not over -> its column
    marks: dict[str, dict[str, SeriesMark]] = field(default_factory=dict)  # version -> series -> mark

    @classmethod
    def met(cls, version: str, event_time: datetime) -> ModelState:
        """A model whose first alert is of this version and time."""
        return cls(now=event_time, versions=Versions(version, event_time))

    @property
    def open_incident(self) -> Incident | None:
        return self.incident if self.incident and self.incident.state is IncidentState.OPEN else None

    def incident_for(self, is_new: bool) -> Incident | None:
        """The open incident; for an alert that fired before also the last one, reopened if a storm came in between."""
        last = self.incident
        if last and not is_new and last.reason in (Outcome.QUIET, Outcome.JOINED_STORM):
            return replace(last, state=IncidentState.OPEN)
        return self.open_incident

    def has_seen(self, alert: Alert) -> bool:
        """Whether this very alert, in this state, has been handled before."""
        mark = self.marks.get(alert.model_version, {}).get(series_of(alert))
        return mark is not None and mark.has_seen(alert)

    def see(self, alert: Alert) -> bool:
        """Mark the alert as handled. Returns whether it is a new one: not what becomes of an alert that has fired."""
        if alert.state is not AlertState.RESOLVED:
            self.firing.pop(alert.alert_id, None)
            self.firing[alert.alert_id] = alert.column
            if len(self.firing) > FIRING_MAX:
                del self.firing[next(iter(self.firing))]
        return self.marks.setdefault(alert.model_version, {}).setdefault(series_of(alert), SeriesMark()).see(alert)

    def is_quiet(self, alert: Alert, quiet_s: float) -> bool:
        """Whether the open incident was over before this alert came."""
        incident = self.open_incident
        # What becomes of an alert belongs where it fired, however long that took.
        if incident is None or alert.state is not AlertState.FIRING:
            return False
        if self.waiting or (self.last_request is not None and self.last_request.is_open(self.now)):
            return False
        return (self.now - incident.last_alert_at).total_seconds() > quiet_s

    def is_before_promotion(self, alert: Alert) -> bool:
        """Whether the alert fired before the last promotion, and so says nothing of the version that serves."""
        promoted_at = self.last_request.promoted_at if self.last_request else None
        return promoted_at is not None and alert.at.event_time <= promoted_at

    def promote(self, version: str, at: datetime) -> None:
        """Go over to the version that serves from now on; "" when versions have no names."""
        superseded = self.versions.newest
        self.versions.promote(version, at)
        self.waiting = None
        self.firing.clear()
        if self.versions.newest != superseded:
            self.forget_version(superseded)

    def forget_version(self, version: str) -> None:
        """Drop what is known of a superseded version: its alerts, repeated or not, change nothing any more."""
        self.marks.pop(version, None)
        self.waiting = None
        self.firing.clear()


@dataclass(slots=True)
class EngineState:
    """Everything the engine knows. The model that alerted longest ago comes first."""

    models: dict[str, ModelState] = field(default_factory=dict)
    made: list[datetime] = field(default_factory=list)  # when requests were made in the last hour, by the fleet's time
    now: datetime | None = None  # the fleet's: running maximum of the times of alerts and marks
    columns: dict[str, dict[str, datetime]] = field(default_factory=dict)  # column -> model -> its last alert, by `now`
    storms: dict[str, Storm] = field(default_factory=dict)  # by column
    sources: dict[str, SourceState] = field(default_factory=dict)  # by `source:<name>`; those that settings name
    silences: dict[str, Silence] = field(default_factory=dict)  # by id, in the order in which they began
    silenced: dict[str, SuppressedAlert] = field(
        default_factory=dict
    )  # by series; the one silenced longest ago comes first

    def is_calm(self, column: str) -> bool:
        """Whether alerts of the column count as their models' own."""
        storm = self.storms.get(column)
        return storm is None or storm.state is StormState.RELEASED

    def waits_with(self, model_id: str, column: str) -> bool:
        """Whether the model waits for a retrain because of this column of its own."""
        waiting = model.waiting if (model := self.models.get(model_id)) else None
        return waiting is not None and not waiting.source and waiting.alert.column == column

    def may_ask(self, waiter: Trigger) -> bool:
        """Whether no storm holds it back. Sources are in no storm; they have their own incidents."""
        return bool(waiter.source) or self.is_calm(waiter.alert.column)


def close(model: ModelState, reason: Outcome) -> list[Action]:
    """Close the model's incident, if one is open."""
    incident = model.open_incident
    if incident is None:
        return []
    if reason is not Outcome.JOINED_STORM:
        model.firing.clear()
    model.incident = incident.closed(reason)
    return [PublishIncident(model.incident, reason)]
