"""Withdrawals: requests end before anybody has begun, because their reason proved to be none.

    request made ─► its column is in a storm, or faulty, and so is all else that moved ─► withdrawn
                         │                                                                  └─ of a storm: waits with it
                         └─ approved by a person, or training: it stands

A storm becomes known when enough models have alerted, and a broken column by an alert that may follow that of its
drift. In either order the outcome is the same: no retrain on broken data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action
from retrain.messages.alert import Alert
from retrain.messages.lifecycle import RequestRecord
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift
from retrain.policy.case import RetrainCase
from retrain.policy.inhibition import is_faulty
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """Withdraws requests. All state is in `state`."""

    settings: RetrainSettings
    state: EngineState
    requests: RequestTracker

    def report_fault(self, model: ModelState, alert: Alert) -> list[Action]:
        """Withdraw a recent request that was made for the column whose fault this alert reports."""
        if source := self.state.sources.get(alert.model_id):
            return self._review_source(model, source.models)
        record = model.last_request
        if record is None or not _is_recent(record, model.now, self.settings.inhibit_s):
            return []
        return self._review(model) if any(alert.column == shift.column for shift in _reasons(model)) else []

    def join_storm(self, model_id: str, column: str) -> list[Action]:
        """Withdraw a recent request of one of the first models of a storm, and close its incident of that column."""
        model = self.state.models.get(model_id)
        if model is None:
            return []
        record, window_s = model.last_request, self.settings.storm_window_s
        is_recent = record is not None and _is_recent(record, model.now, window_s)  # by its own time: it may lag behind
        actions, own = self._review(model) if is_recent else [], model.open_incident
        if own and (actions or own.request_id is None) and {shift.column for shift in own.columns} == {column}:
            actions += model.close(Outcome.JOINED_STORM)
        return actions

    def _review(self, model: ModelState) -> list[Action]:
        """Withdraw the model's request if none of its own shifts is a reason for it any more."""
        record, reasons = model.last_request, _reasons(model)
        if record is None or record.trigger is None or not reasons:
            return []
        valid = [shift for shift in reasons if not self._is_no_reason(model, shift.column)]
        if RetrainCase.of(record.trigger.alert, model, model.now, self.settings).is_met_among(valid):
            return []
        column = record.trigger.alert.column
        # Where its own column is valid, another that the rule needs is not: a fault takes that back, a storm does not.
        suspects = {shift.column for shift in reasons} if column in {shift.column for shift in valid} else {column}
        if any(is_faulty(model.faults, name, model.now, self.settings) for name in suspects):
            return [self.requests.end(model, record, Outcome.WITHDRAWN_BY_DATA_FAULT, model.now)]
        if self.state.has_no_storm(column):
            return []
        storm = self.state.storms[column]
        storm.join(record.trigger.alert.model_id, self.settings.models_max)
        if storm.holds(record.trigger.alert.model_id):
            model.waiting = record.trigger
        return [self.requests.end(model, record, Outcome.WITHDRAWN_BY_STORM, model.now)]

    def _review_source(self, source: ModelState, model_ids: Iterable[str]) -> list[Action]:
        """Withdraw the requests of the models of a source if all that moved in it is faulty."""
        shifts, now = source.incident.columns if source.incident else (), source.now
        if not all(is_faulty(source.faults, shift.column, now, self.settings) for shift in shifts):
            return []
        actions, alert_ids = list[Action](), {shift.alert_id for shift in shifts}
        for model in filter(None, map(self.state.models.get, model_ids)):
            record = model.last_request
            if not (record and record.trigger) or record.trigger.alert.alert_id not in alert_ids:
                continue
            if _is_recent(record, now, self.settings.inhibit_s):
                actions.append(self.requests.end(model, record, Outcome.WITHDRAWN_BY_DATA_FAULT, now))
        return actions

    def _is_no_reason(self, model: ModelState, column: str) -> bool:
        return not self.state.has_no_storm(column) or is_faulty(model.faults, column, model.now, self.settings)


def _is_recent(record: RequestRecord, now: datetime, within_s: float) -> bool:
    return (now - record.requested_at).total_seconds() < within_s


def _reasons(model: ModelState) -> list[Shift]:
    """The model's own shifts that its request is about; none if a source is its cause."""
    trigger = model.last_request.trigger if model.last_request else None
    if trigger is None or trigger.source:
        return []
    return [Shift.of(trigger.alert), *(model.incident.columns if model.incident else ())]
