"""Incidents, at most one open per model: what moved, since when, and what was decided.

These are the records of the topic `driftline.incidents`; `docs/schemas/incident.v1.json` is generated from them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from retrain.messages.alert import Alert, Place
from retrain.messages.ids import derived_id
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift, summary_of, with_shift
from retrain.messages.value import record


class IncidentState(StrEnum):
    """Whether alerts still join the incident."""

    OPEN = "open"
    CLOSED = "closed"


@record
class Incident:
    """The drift of one version of one model, from its first alert until it is closed.

    Each change is published whole, keyed by `incident_id`; the newest record of an id suffices. Times never run
    backwards.
    """

    incident_id: str  # derived from the first alert; the key of the record
    state: IncidentState  # `open` while alerts still join it, else `closed`
    model_id: str  # the model; `source:<name>` for a feature source, `fleet:<column>` for a storm
    model_version: str  # the version that drifted; "" when events name none
    opened_at: datetime  # event time of the first alert; UTC
    last_alert_at: datetime  # event time of the latest alert; UTC, never before `opened_at`
    columns: tuple[Shift, ...]  # what moved, strongest first; one entry for each column and detector, its strongest
    alerts: int  # alerts in the incident, the first included; `firing` and `ready` of one alert count once
    request_id: str | None  # its latest retrain request; null when it has none
    reason: Outcome  # why this record was published: the last change of the incident
    decision: Outcome  # the decision on the latest alert: whether it made a retrain request, and if not, why
    model_count: int = 1  # models it covers: more than one in a storm, or of a source that several models use
    models: tuple[str, ...] = ()  # of a storm the models that joined first, of a source its users; at most a hundred
    alert_id: str = ""  # the alert that `decision` is about; "" in records of earlier versions
    summary: str = ""  # what moved, in one sentence
    returns: int = 0  # times that its drift came back between the same two states; above 0, the incident recurs
    recurring: tuple[str, ...] = ()  # the columns that came back, of those in `columns`
    # where the drift began the time before its last return; a request's training window begins there, so that it covers
    # both states; null while it does not recur
    previous_onset: Place | None = None
    schema_version: Literal[1] = 1  # version of this schema

    @classmethod
    def opened(cls, alert: Alert, version: str, now: datetime, decision: Outcome) -> Incident:
        """A new incident with this alert as its first."""
        columns = (Shift.of(alert),)
        return cls(
            incident_id=derived_id("incident", alert.model_id, alert.alert_id),
            state=IncidentState.OPEN,
            model_id=alert.model_id,
            model_version=version,
            opened_at=now,
            last_alert_at=now,
            columns=columns,
            alerts=1,
            request_id=None,
            reason=Outcome.INCIDENT_OPENED,
            decision=decision,
            alert_id=alert.alert_id,
            summary=summary_of(columns),
        )

    def absorb(
        self, alert: Alert, version: str, now: datetime, decision: Outcome, *, is_new: bool, columns_max: int
    ) -> Incident:
        """The incident with one more alert, or (`is_new` false) with a later state of an alert that it holds."""
        columns = with_shift(self.columns, Shift.of(alert), columns_max)
        return replace(
            self,
            model_version=version,
            last_alert_at=now,
            columns=columns,
            summary=summary_of(columns),
            alerts=self.alerts + is_new,
            reason=Outcome.ABSORBED,
            decision=decision,
            alert_id=alert.alert_id,
        )

    def returning(self, alert: Alert, firing: Collection[str]) -> Shift | None:
        """The shift that this new alert brings back, or leads back from; None if it is no return.

        firing: ids of alerts that have not ended. What still holds can't come back; it can be left.
        """
        new = Shift.of(alert)
        others = [one for one in self.columns if one.alert_id != alert.alert_id]
        left = (one for one in others if new.reverses(one))
        over = (one for one in others if one.alert_id not in firing and new.repeats(one))
        return next(left, None) or (None if self.reason is Outcome.QUIET else next(over, None))

    def recurred(self, before: Shift) -> Incident:
        """The incident, open, with one more return of its drift; `before` is that drift as it was."""
        held = {shift.column for shift in self.columns}
        recurring = tuple(dict.fromkeys(column for column in (*self.recurring, before.column) if column in held))
        return replace(
            self, state=IncidentState.OPEN, returns=self.returns + 1, recurring=recurring, previous_onset=before.onset,
            reason=Outcome.RECURRED,
        )  # fmt: skip

    def closed(self, reason: Outcome) -> Incident:
        """The incident, closed for this reason."""
        return replace(self, state=IncidentState.CLOSED, reason=reason)
