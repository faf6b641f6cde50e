"""Alerts and control records in, actions out: the core of the decide fold.

    alert ─► seen before? ─► older version? ─► incident: open, absorb, close ─► the rules of `policy` ─► request
                 │                 │                     │                              │                   │
              duplicate      older_version        PublishIncident              Noted(why not)            `waiting`
    control record ─► `register` ─► PublishDecision                        room in the budget ─► PublishRequest

`Engine.handle` is the only method that changes state. There is no clock: time is the alert's event time, and for each
model it never runs backwards (its running maximum), so a late alert can neither shorten a cooldown nor end an incident.
Marks of event time move the fleet's time alone: what is due ends, and who waits is asked for where there is room.
"""

from __future__ import annotations

from datetime import datetime

from retrain.engine.incidents import OwnDrift, make_last
from retrain.engine.queue import RequestQueue
from retrain.engine.requests import RequestTracker
from retrain.engine.resolution import Firing
from retrain.engine.silences import SILENCE_KINDS, Again, Silences
from retrain.engine.sources import Sources, SourcesByName, Users
from retrain.engine.storms import Storms
from retrain.engine.withdrawals import Withdrawals
from retrain.messages.action import Action, NoAction
from retrain.messages.alert import Alert, AlertState
from retrain.messages.control import Control
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.outcome import Outcome
from retrain.messages.watermark import Watermark
from retrain.policy.inhibition import tell_fault
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState, close
from retrain.state.versions import Order


class Engine:
    """Folds alerts and what is said of requests. Deterministic; all it knows is in its settings and `state`."""

    def __init__(
        self, settings: RetrainSettings, state: EngineState | None = None, sources: SourcesByName | None = None
    ) -> None:
        """Go on from `state`, or from nothing; `sources` says which models use which."""
        self.settings = settings
        self.state = state or EngineState()
        self._register = RequestTracker(settings, self.state)
        self._withdrawals = Withdrawals(settings, self.state, self._register)
        self._storms = Storms(settings, self.state, self._withdrawals)
        self._silences = Silences(settings, self.state)
        self._waiting = RequestQueue(settings, self.state, self._register)
        self._own = OwnDrift(settings, self.state, self._waiting)
        self._users = Users(sources or {}, self.state, settings.models_max)
        self._sources = Sources(settings, self.state, self._users, self._register, self._waiting)
        self._firing = Firing(self.state, self._waiting)

    def handle(self, record: Alert | Control | Watermark) -> list[Action]:
        """Fold one record. Returns what to do, in order; the last action is the answer to the record.

        That is a `PublishRequest` or `NoAction` for an alert, and a `PublishDecision` for a control record; a mark has
        no
        answer. Times must be aware of their zone; numbers finite.
        """
        if isinstance(record, Alert):
            return self._alerted(record)
        if isinstance(record, Watermark):
            return self._reached(record.at)
        if record.kind in SILENCE_KINDS:
            answer, again = self._silences.told(record)
            return self._waiting.release()[0] + self._judge_again(again) + answer
        answer, freed = self._storms.told(record) or (self._sources.told(record) or self._register.told(record), [])
        self._waiting.free(freed)
        return self._waiting.release()[0] + answer

    def _alerted(self, record: Alert) -> list[Action]:
        event_time = record.event_time
        model = self.state.models.get(record.model_id) or ModelState.met(record.model_version, event_time)
        if model.has_seen(record):
            return [NoAction(record.alert_id, Outcome.DUPLICATE)]
        if model.is_before_promotion(record):
            return [NoAction(record.alert_id, Outcome.BEFORE_PROMOTION)]
        superseded = model.versions.newest
        order = model.versions.take(record.model_version, event_time)
        if order is Order.OLDER:
            return [NoAction(record.alert_id, Outcome.OLDER_VERSION)]
        now, actions = self._pass_time(event_time)
        self._users.met(record.model_id)
        actions += make_last(self.state, self._register, self.settings.models_max, record.model_id, model)
        model.now = max(model.now, event_time)
        if order is Order.NEWER:
            model.forget_version(superseded)
            actions += close(model, Outcome.NEW_VERSION)
        elif model.is_quiet(record, self.settings.incident_quiet_s):
            actions += close(model, Outcome.QUIET)
        return actions + self._judge(model, record, now, model.see(record))

    def _reached(self, at: datetime) -> list[Action]:
        """What is due by a mark's time; one that says nothing new, as it is late, changes nothing."""
        if self.state.now is not None and at <= self.state.now:
            return []
        return self._pass_time(at)[1] + self._waiting.release()[0]

    def _judge(self, model: ModelState, record: Alert, now: datetime, is_new: bool) -> list[Action]:
        """Make of an alert that counts what it is: over, silenced, part of a storm, or its model's own."""
        if record.state is AlertState.RESOLVED:
            return self._firing.end(model, record)
        is_fault = tell_fault(model.faults, record, model.now, self.settings)
        if silenced := self._silences.take(record, is_new):
            return self._waiting.release()[0] + silenced
        actions = self._withdrawals.told_of_fault(model, record) if is_fault else []
        if record.model_id.startswith(SOURCE_PREFIX):
            return actions + self._sources.drifted(model, record, is_new)
        actions += self._storms.join(record, now)
        if not self.state.is_calm(record.column):
            return actions + self._own.hold(model, record)
        return actions + self._register.drifted(model, record) + self._own.absorb(model, record, is_new)

    def _judge_again(self, freed: Again) -> list[Action]:
        """What silences have kept, as if it came now; what came of a source waits again."""
        actions = list[Action]()
        for model, kept in freed:
            if self.state.models.get(kept.alert.model_id) is not model:
                actions.append(NoAction(kept.alert.alert_id, Outcome.MODEL_EVICTED))  # by what came before it
            elif kept.source:
                actions += self._waiting.again(model, kept)
            else:
                actions += self._judge(model, kept.alert, model.now, kept.is_new)
        return actions

    def _pass_time(self, event_time: datetime) -> tuple[datetime, list[Action]]:
        """The fleet's time, and what ends by it."""
        now = self.state.now = max(self.state.now or event_time, event_time)
        ended, freed = self._silences.pass_time(now)
        actions = self._register.pass_time(now) + self._storms.pass_time(now) + self._sources.pass_time(now) + ended
        return now, actions + self._judge_again(freed)
