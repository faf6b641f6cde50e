"""The question that an alert puts, with all that the rules may look at."""

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

# Moves of an incident that are no drift: faults of the data, flows, gaps between segments, and how long labels take.
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
    unhelpful: int = 0  # promotions of the model in a row that did not help
    users: int = 0  # of a source: the models that are known to use it
    faults: Mapping[str, datetime] = field(default_factory=dict)  # of the data that the alert is of, by column
    own_faults: Mapping[str, datetime] = field(default_factory=dict)  # of the model's data, whosever the alert is
    moves: tuple[Shift, ...] = ()  # what else has moved in the model's open incident
    born: datetime | None = None  # when the version that serves was first heard of, or promoted

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
        """About a model, or a source with so many users, and an alert of its own or of `source`."""
        last, incident, faults = model.last_request, model.open_incident, (source or model).faults
        moves = incident.columns if incident else ()
        promoted_at = last.promoted_last_at if last else None
        born = max(model.versions.since, promoted_at or model.versions.since)
        return cls(alert, now, last, settings, model.unhelpful, users, faults, model.faults, moves, born)

    @property
    def rules(self) -> ModelRules:
        """For what the model is retrained."""
        return self.settings.rules_for(self.alert.model_id) or ANY_DRIFT

    def met_by(self, move: Shift | None) -> Match:
        """How much of what the model is retrained for is met by this move and by what moved with it, faults aside.

        None: by a move that is too small to count.
        """
        if not self.settings.rules_by_model:
            return Match.ALL if move else Match.NONE
        return self._judge(move, self.moves)

    def is_met_among(self, moves: Collection[Shift]) -> bool:
        """Whether one of these moves is reason enough, with no others than these."""
        if not self.settings.rules_by_model:
            return bool(moves)
        return any(self._judge(move if self._counts(move) else None, moves) is Match.ALL for move in moves)

    def _judge(self, move: Shift | None, others: Iterable[Shift]) -> Match:
        age_s = (self.now - self.born).total_seconds() if self.born else 0.0
        return self.rules.judge(move, [other for other in others if self._counts(other)], age_s)

    def _counts(self, move: Shift) -> bool:
        is_drift = move.effect_unit not in OTHER_UNITS and move.column != LAG_COLUMN
        is_large = move.effect >= self.settings.effect_min(move.effect_unit)
        return is_drift and is_large and not is_faulty(self.own_faults, move.column, self.now, self.settings)
