"""What the engine remembers: plain dataclasses of strings, numbers and times, which any serializer can write and read.

Mappings keep their order, which says which model alerted longest ago. A serializer must keep it too; JSON does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from retrain.messages.action import Action, NoAction, PublishIncident
from retrain.messages.alert import Alert, AlertState
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import RequestRecord, Trigger
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from retrain.messages.silence import Silence, SuppressedAlert
from retrain.state.dedup import SeriesMark, series_of
from retrain.state.hold import Hold
from retrain.state.source import SourceState
from retrain.state.storm import Storm
from retrain.state.versions import Versions

READY_MAX = 64  # series of a model whose ready alerts are kept for the windows of other partitions
FIRING_MAX = 200  # active alerts of a model; beyond, the one that was updated longest ago counts as ended


@dataclass(slots=True)
class ModelState:
    """One model: its newest incident, its last request, its active alerts, and the marks of its series.

    Marks exist for the newest version and for events without a version, one for each series that alerted.
    """

    now: datetime  # running maximum of the event times of its alerts
    versions: Versions
    incident: Incident | None = None
    last_request: RequestRecord | None = None
    waiting: Trigger | None = None  # worth a retrain; waits for the fleet's budget, or for the person who holds a storm
    unhelpful: int = 0  # failed retrains: promotions in a row that did not help
    faults: dict[str, datetime] = field(default_factory=dict)  # column -> when a fault of its data was last reported
    firing: dict[str, str] = field(default_factory=dict)  # id of an active alert -> its column
    marks: dict[str, dict[str, SeriesMark]] = field(default_factory=dict)  # version -> series -> mark
    ready: dict[str, Alert] = field(default_factory=dict)  # series -> its active alert that is ready, the oldest first
    compared: Alert | None = None  # the last one that found the better of two versions

    @classmethod
    def first_seen(cls, version: str, event_time: datetime) -> ModelState:
        """A model whose first alert is of this version and time."""
        return cls(now=event_time, versions=Versions(version, event_time))

    @property
    def open_incident(self) -> Incident | None:
        """The model's incident, if it is open."""
        return self.incident if self.incident and self.incident.state is IncidentState.OPEN else None

    def has_had_request_for(self, column: str) -> bool:
        """Whether the column comes back again and again in the open incident, whose request was not withdrawn."""
        incident, last = self.open_incident, self.last_request
        if incident is None or column not in incident.recurring or incident.request_id is None:
            return False
        is_withdrawn = last is not None and last.state is RequestState.WITHDRAWN
        return not (is_withdrawn and last is not None and last.request_id == incident.request_id)

    def incident_for(self, is_new: bool) -> Incident | None:
        """The incident that an alert joins; None if it opens one.

        A later state of an alert also joins the last incident, reopened, if that became quiet or joined a storm.
        """
        last = self.incident
        if last and not is_new and last.reason in (Outcome.QUIET, Outcome.JOINED_STORM):
            return replace(last, state=IncidentState.OPEN)
        return self.open_incident

    def recur(self, alert: Alert, within_s: float) -> bool:
        """Whether a new alert is a return of the drift of the last incident, which then is open and counts it.

        A closed incident returns within so many seconds of its last alert, if recovery or quiet closed it. After a
        promotion no drift is a return, as another version serves.
        """
        last, request = self.incident, self.last_request
        promoted_at = request.promoted_last_at if request else None
        if last is None or last.model_version != self.versions.newest:
            return False
        if (promoted_at and promoted_at >= last.last_alert_at) or not self._may_recur(last, within_s):
            return False
        before = last.returning(alert, self.firing)
        if before is None:
            return False
        self.incident = last.recurred(before)
        return True

    def _may_recur(self, last: Incident, within_s: float) -> bool:
        if last.state is IncidentState.OPEN:
            return within_s > 0
        age_s = (self.now - last.last_alert_at).total_seconds()
        return age_s <= within_s and last.reason in (Outcome.QUIET, Outcome.BACK_TO_NORMAL)

    def is_duplicate(self, alert: Alert) -> bool:
        """Whether the alert, in this state, has been handled before."""
        mark = self.marks.get(alert.model_version, {}).get(series_of(alert))
        return mark is not None and mark.is_duplicate(alert)

    def record(self, alert: Alert) -> bool:
        """Mark the alert as handled. Returns whether it is a new one: not a later state of one that fired before."""
        if alert.state is not AlertState.RESOLVED:
            self.firing.pop(alert.alert_id, None)
            self.firing[alert.alert_id] = alert.column
            if len(self.firing) > FIRING_MAX:
                del self.firing[next(iter(self.firing))]
        series = series_of(alert)
        self._record_ready(alert, series)
        return self.marks.setdefault(alert.model_version, {}).setdefault(series, SeriesMark()).record(alert)

    def _record_ready(self, alert: Alert, series: str) -> None:
        """Keep the alert if it is ready, until its series resolves or fires again."""
        self.ready.pop(series, None)
        if alert.state is AlertState.READY and alert.windows:
            self.ready[series] = alert
            if len(self.ready) > READY_MAX:
                del self.ready[next(iter(self.ready))]

    def is_quiet(self, alert: Alert, quiet_s: float) -> bool:
        """Whether the open incident had ended by quiet before this alert."""
        incident = self.open_incident
        # A later state of an alert belongs to the incident in which it fired, after any time.
        if incident is None or alert.state is not AlertState.FIRING:
            return False
        if self.waiting or (self.last_request is not None and self.last_request.is_open(self.now)):
            return False
        return (self.now - incident.last_alert_at).total_seconds() > quiet_s

    def is_before_promotion(self, alert: Alert) -> bool:
        """Whether the alert fired before the last promotion, and so is not about the version that serves."""
        promoted_at = self.last_request.promoted_at if self.last_request else None
        return promoted_at is not None and alert.at.event_time <= promoted_at

    def promote(self, version: str, at: datetime) -> None:
        """Go over to the version that serves from now on; "" when versions have no names."""
        superseded = self.versions.newest
        self.versions.promote(version, at)
        self.waiting = None
        self.firing.clear()
        self.ready.clear()
        if self.versions.newest != superseded:
            self.forget_version(superseded)

    def forget_version(self, version: str) -> None:
        """Drop the state of a superseded version: its alerts change nothing any more."""
        self.marks.pop(version, None)
        self.waiting = None
        self.firing.clear()
        self.ready.clear()

    def withdraw(self, source: str = "") -> list[Action]:
        """Let the model wait no longer for a retrain because of this source, or of its own drift."""
        trigger = self.waiting
        if trigger is None or trigger.source != source:
            return []
        self.waiting = None
        return [NoAction(trigger.alert.alert_id, Outcome.WITHDRAWN)]

    def close(self, reason: Outcome) -> list[Action]:
        """Close the model's incident, if one is open."""
        incident = self.open_incident
        if incident is None:
            return []
        if reason is not Outcome.JOINED_STORM:
            self.firing.clear()
            self.ready.clear()
        self.incident = incident.closed(reason)
        return [PublishIncident(self.incident, reason)]


@dataclass(slots=True)
class EngineState:
    """All that the engine remembers. The model that alerted longest ago comes first."""

    models: dict[str, ModelState] = field(default_factory=dict)
    made: list[datetime] = field(default_factory=list)  # when requests were made in the last hour, by the fleet's time
    now: datetime | None = None  # the fleet's: running maximum of the times of alerts and watermarks
    columns: dict[str, dict[str, datetime]] = field(default_factory=dict)  # column -> model -> its last alert, by `now`
    storms: dict[str, Storm] = field(default_factory=dict)  # by column
    sources: dict[str, SourceState] = field(default_factory=dict)  # by `source:<name>`; those that settings name
    silences: dict[str, Silence] = field(default_factory=dict)  # by id, in the order of their beginning
    silenced: dict[str, SuppressedAlert] = field(default_factory=dict)  # by series, the oldest first

    def has_no_storm(self, column: str) -> bool:
        """Whether alerts of the column count as their models' own."""
        storm = self.storms.get(column)
        return storm is None or storm.state is Hold.RELEASED

    def waits_with(self, model_id: str, column: str) -> bool:
        """Whether the model waits for a retrain because of its own drift of this column."""
        trigger = model.waiting if (model := self.models.get(model_id)) else None
        return trigger is not None and not trigger.source and trigger.alert.column == column

    def may_request(self, trigger: Trigger) -> bool:
        """Whether no storm holds the trigger back. Sources are in no storm; they have their own incidents."""
        return bool(trigger.source) or self.has_no_storm(trigger.alert.column)
