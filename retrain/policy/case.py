"""The case of one alert: all that the rules may look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from datetime import datetime

from retrain.messages.alert import Alert
from retrain.messages.lifecycle import RequestRecord
from retrain.messages.shift import Shift
from retrain.messages.value import record
from retrain.policy.inhibition import is_faulty
from retrain.policy.model_rules import Match, ModelRules
from retrain.policy.settings import RetrainSettings
from retrain.state.state import ModelState

# Shifts of an incident that are no drift: faults of the data, flows, gaps between segments, and the lag of labels.
OTHER_UNITS = frozenset({"rate", "s", "per_hour", "rank_biserial"})
LAG_COLUMN = "label_lag_s"
ANY_DRIFT = ModelRules()


@record
class RetrainCase:
    """Is this alert worth a retrain request, now?"""

    alert: Alert
    now: datetime  # the model's running maximum of event time
    last_request: RequestRecord | None  # the model's last one, open or not
    settings: RetrainSettings
    failed_retrains: int = 0  # promotions of the model in a row that did not help
    users: int = 0  # of a source: how many models are known to use it
    faults: Mapping[str, datetime] = field(default_factory=dict)  # of the alert's data, by column
    own_faults: Mapping[str, datetime] = field(default_factory=dict)  # of the model's own data, also if a source alerts
    shifts: tuple[Shift, ...] = ()  # what else moved in the model's open incident
    has_recurred: bool = False  # whether the drift of the column comes and goes, in an incident with a request
    serving_since: datetime | None = None  # when the version that serves first alerted, or was promoted

    @classmethod
    def of(
        cls,
        alert: Alert,
        model: ModelState,
        now: datetime,
        settings: RetrainSettings,
        source: ModelState | None = None,
        users: int = 0,
    ) -> RetrainCase:
        """The case of a model, or of a source with so many users, and an alert of its own or of `source`."""
        last, incident, faults = model.last_request, model.open_incident, (source or model).faults
        shifts = incident.columns if incident else ()
        promoted_at = last.promoted_last_at if last else None
        since = max(model.versions.since, promoted_at or model.versions.since)
        has_recurred = source is None and model.has_had_request_for(alert.column)
        return cls(
            alert, now, last, settings, model.unhelpful, users, faults, model.faults, shifts, has_recurred, since
        )

    @property
    def rules(self) -> ModelRules:
        """The rules for the model; any drift suffices without."""
        return self.settings.rules_for(self.alert.model_id) or ANY_DRIFT

    def match(self, shift: Shift | None) -> Match:
        """How far this shift, with what moved besides it, meets the rules for the model. Faulty columns do not count.

        None: a shift that is too small to count.
        """
        if not self.settings.rules_by_model:
            return Match.ALL if shift else Match.NONE
        return self._judge(shift, self.shifts)

    def is_met_among(self, shifts: Collection[Shift]) -> bool:
        """Whether one of these shifts is reason enough, with no others than these."""
        if not self.settings.rules_by_model:
            return bool(shifts)
        return any(self._judge(shift if self._counts(shift) else None, shifts) is Match.ALL for shift in shifts)

    def _judge(self, shift: Shift | None, others: Iterable[Shift]) -> Match:
        age_s = (self.now - self.serving_since).total_seconds() if self.serving_since else 0.0
        return self.rules.judge(shift, [other for other in others if self._counts(other)], age_s)

    def _counts(self, shift: Shift) -> bool:
        is_drift = shift.effect_unit not in OTHER_UNITS and shift.column != LAG_COLUMN
        is_large = shift.effect >= self.settings.effect_min(shift.effect_unit)
        return is_drift and is_large and not is_faulty(self.own_faults, shift.column, self.now, self.settings)
