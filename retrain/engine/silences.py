"""Silences: how they begin and end, and the alerts that they suppress.

    silence ─► active ──── `until`, by the fleet's time ───► expired ─┐
                  └─────── unsilence ──────────────────────► ended ───┴─► suppressed alerts are judged, as if new

While an alert fits a silence, the newest one of each series is kept and has no effect: no incident, no request, no
storm, no end of a watch. When no silence fits it any more, the engine judges it like any alert. If a promotion or a
newer version has overtaken it by then, the engine only names that.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from retrain.messages.action import Action, NoAction, PublishDecision
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.outcome import Outcome
from retrain.messages.silence import Silence, SuppressedAlert
from retrain.policy.settings import RetrainSettings
from retrain.state.dedup import series_of
from retrain.state.state import EngineState, ModelState

SILENCES_MAX: Final = 200  # known at once, including those that a command ended and whose `until` has not passed
SUPPRESSED_MAX = 20_000  # series with a suppressed alert; beyond, the one suppressed longest ago is dropped

SILENCE_KINDS = frozenset({ControlKind.SILENCE, ControlKind.UNSILENCE})


class Silences:
    """The silences of the fleet. All state is in `state`, except what `take_freed` gives within the same step."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state
        self._freed: list[tuple[ModelState, SuppressedAlert]] = []

    def handle_control(self, control: Control) -> list[Action] | None:
        """See `retrain.engine.engine.Handler`: commands that begin or end a silence."""
        if control.kind not in SILENCE_KINDS:
            return None
        known = self._state.silences.get(control.request_id)
        if control.kind is ControlKind.SILENCE:
            return self._begin(control, known)
        if known is None or known.is_over:
            return [_answer(control, Outcome.NO_CHANGE if known else Outcome.UNKNOWN_SILENCE, known)]
        self._state.silences[known.silence_id] = over = replace(known, is_over=True)
        return [*self._free(), _answer(control, Outcome.SILENCE_ENDED, over)]

    def advance_time(self, now: datetime) -> list[Action]:
        """See `retrain.engine.engine.Handler`: silences expire, in the order in which they began."""
        due = [one for one in self._state.silences.values() if one.until <= now]
        actions: list[Action] = []
        for silence in due:
            del self._state.silences[silence.silence_id]
            if not silence.is_over:
                over = replace(silence, is_over=True)
                actions.append(_automatic(over, Outcome.SILENCE_EXPIRED, silence.until))
        return actions + self._free() if due else []

    def take_freed(self) -> list[tuple[ModelState, SuppressedAlert]]:
        """The alerts that no silence fits any more, each once, with their models. The caller judges them."""
        freed, self._freed = self._freed, []
        return freed

    def suppress(self, alert: Alert, is_new: bool) -> list[Action]:
        """Keep back an alert that a silence fits; no actions if none does."""
        silence = self._fitting(alert) if self._state.silences else None
        if silence is None:
            return []
        silence = replace(silence, alerts=silence.alerts + 1)
        self._state.silences[silence.silence_id] = silence
        actions = self._keep(alert, is_new)
        if silence.alerts & (silence.alerts - 1) == 0:  # at doublings, so that a storm is a few records
            actions.append(_automatic(silence, Outcome.SILENCE_UPDATED, alert.event_time, alert.model_id))
        return [*actions, NoAction(alert.alert_id, Outcome.SILENCED)]

    def release(self, alert: Alert) -> None:
        """Keep back an alert no longer, as it has ended."""
        series = _series(alert, "")
        if (known := self._state.silenced.get(series)) and known.alert.alert_id == alert.alert_id:
            del self._state.silenced[series]

    def release_source(self, source: str) -> list[Action]:
        """Keep back no alert any more that models wait with because of this source, as its drift has ended."""
        silenced = self._state.silenced
        found = {series: one.alert.alert_id for series, one in silenced.items() if one.source == source}
        for series in found:
            del silenced[series]
        return [NoAction(alert_id, Outcome.WITHDRAWN) for alert_id in found.values()]

    def _begin(self, control: Control, known: Silence | None) -> list[Action]:
        silences, now = self._state.silences, self._state.now
        matcher, until = control.matcher, control.until
        if known:
            return [_answer(control, Outcome.NO_CHANGE, known)]
        if matcher is None or until is None:  # readers of records reject these
            return [_answer(control, Outcome.UNKNOWN_SILENCE)]
        if now is not None and until <= now:
            return [_answer(control, Outcome.TOO_LATE)]
        if len(silences) >= SILENCES_MAX:
            over = [one for one in silences.values() if one.is_over]
            if not over:
                return [_answer(control, Outcome.TOO_MANY_SILENCES)]
            del silences[min(over, key=lambda one: one.until).silence_id]
        silence = Silence(control.request_id, matcher, control.at, until, control.actor, control.comment)
        silences[silence.silence_id] = silence
        return [*self._suppress_waiting(silence), _answer(control, Outcome.SILENCE_BEGAN, silence)]

    def _suppress_waiting(self, silence: Silence) -> list[Action]:
        """Let models that wait with an alert that fits wait for the end of the silence instead."""
        dropped = list[Action]()
        for model in self._state.models.values():
            trigger = model.waiting
            if trigger and silence.matcher.fits(trigger.alert, trigger.source):
                dropped += self._keep(trigger.alert, is_new=False, source=trigger.source)
                model.waiting = None
        return dropped

    def _keep(self, alert: Alert, is_new: bool, source: str = "") -> list[Action]:
        """Keep an alert back unless a newer one of its series is; names the alert that is dropped for want of room."""
        silenced, series = self._state.silenced, _series(alert, source)
        before = silenced.pop(series, None)
        if before and before.alert.at.position > alert.at.position:
            silenced[series] = before
            return []
        is_new |= before is not None and before.is_new and before.alert.alert_id == alert.alert_id
        silenced[series] = SuppressedAlert(alert, is_new, source)
        if len(silenced) <= SUPPRESSED_MAX:
            return []
        dropped = silenced.pop(next(iter(silenced)))
        return [NoAction(dropped.alert.alert_id, Outcome.SILENCED_DROPPED)]

    def _fitting(self, alert: Alert, source: str = "") -> Silence | None:
        """The first silence that fits an alert."""
        silences = self._state.silences.values()
        return next((one for one in silences if not one.is_over and one.matcher.fits(alert, source)), None)

    def _free(self) -> list[Action]:
        """Free the alerts that no silence fits any more, models at the fleet's time; outdated ones are only named."""
        actions, silenced = list[Action](), self._state.silenced
        for series in [s for s, one in silenced.items() if self._fitting(one.alert, one.source) is None]:
            suppressed = silenced.pop(series)
            alert = suppressed.alert
            model = self._state.models.get(alert.model_id)
            if model is None:
                actions.append(NoAction(alert.alert_id, Outcome.MODEL_EVICTED))
            elif model.is_before_promotion(alert):
                actions.append(NoAction(alert.alert_id, Outcome.BEFORE_PROMOTION))
            elif alert.model_version in model.versions.older:
                actions.append(NoAction(alert.alert_id, Outcome.OLDER_VERSION))
            else:
                model.now = max(model.now, self._state.now or model.now)
                if model.is_quiet(alert, self._settings.incident_quiet_s):
                    actions += model.close(Outcome.QUIET)
                self._freed.append((model, suppressed))
        return actions


def _answer(control: Control, reason: Outcome, silence: Silence | None = None) -> Action:
    return PublishDecision(replace(Decision.answer(control, reason), silence=silence), reason)


def _automatic(silence: Silence, reason: Outcome, at: datetime, model_id: str = "") -> Action:
    return PublishDecision(Decision.of_silence(silence, reason, at, model_id), reason)


def _series(alert: Alert, source: str) -> str:
    return "\n".join((alert.model_id, alert.model_version, series_of(alert), source))
