"""The silences of the fleet: how they begin and end, and what becomes of the alerts they keep back.

    silence ─► begun ──── `until`, by the fleet's time ───► expired ─┐
                 └─────── unsilence ──────────────────────► ended ───┴─► what is kept is judged, as if it came now

While an alert fits a silence it is kept, the newest of each series, and nothing else comes of it: no incident, no
request, no storm, no verdict. When no silence fits it any more, it goes the way of every alert; what a later promotion
or a newer version has overtaken by then is passed over by name.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from retrain.messages.action import Action, NoAction, PublishDecision
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.outcome import Outcome
from retrain.messages.silence import Silence, SuppressedAlert
from retrain.policy.settings import RetrainSettings
from retrain.state.dedup import series_of
from retrain.state.state import EngineState, ModelState, close

SILENCES_MAX = 200  # known at once, those included that a word has ended and `until` has not passed

SILENCE_KINDS = frozenset({ControlKind.SILENCE, ControlKind.UNSILENCE})

Again = list[tuple[ModelState, SuppressedAlert]]  # what is to be judged again


class Silences:
    """Holds nothing of its own but what can be found again from `state`."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state

    def told(self, control: Control) -> tuple[list[Action], Again]:
        """What a person says of a silence: the answer, last, and what is to be judged before it is given."""
        known = self._state.silences.get(control.request_id)
        if control.kind is ControlKind.SILENCE:
            return self._begin(control, known), []
        if known is None or known.is_over:
            return [_answer(control, Outcome.NO_CHANGE if known else Outcome.UNKNOWN_SILENCE, known)], []
        self._state.silences[known.silence_id] = over = replace(known, is_over=True)
        actions, again = self._free()
        return [*actions, _answer(control, Outcome.SILENCE_ENDED, over)], again

    def pass_time(self, now: datetime) -> tuple[list[Action], Again]:
        """End what is to end by the fleet's time, `now` included, in the order in which it was said."""
        due = [one for one in self._state.silences.values() if one.until <= now]
        if not due:
            return [], []
        actions: list[Action] = []
        for silence in due:
            del self._state.silences[silence.silence_id]
            if not silence.is_over:
                over = replace(silence, is_over=True)
                actions.append(_by_itself(over, Outcome.SILENCE_EXPIRED, silence.until))
        noted, again = self._free()
        return actions + noted, again

    def take(self, alert: Alert, is_new: bool) -> list[Action]:
        """Keep an alert that a silence fits, and say so; nothing for one that none does."""
        silence = self._silencing(alert) if self._state.silences else None
        if silence is None:
            return []
        silence = replace(silence, alerts=silence.alerts + 1)
        self._state.silences[silence.silence_id] = silence
        actions = keep(self._state.silenced, alert, is_new)
        if silence.alerts & (silence.alerts - 1) == 0:  # at doublings, so that a storm is a few records
            actions.append(_by_itself(silence, Outcome.SILENCE_UPDATED, alert.event_time, alert.model_id))
        return [*actions, NoAction(alert.alert_id, Outcome.SILENCED)]

    def _begin(self, control: Control, known: Silence | None) -> list[Action]:
        silences, now = self._state.silences, self._state.now
        matcher, until = control.matcher, control.until
        if known:
            return [_answer(control, Outcome.NO_CHANGE, known)]
        if matcher is None or until is None:  # whoever reads the records lets none of these through
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
        return [*self._keep_waiting(silence), _answer(control, Outcome.SILENCE_BEGAN, silence)]

    def _keep_waiting(self, silence: Silence) -> list[Action]:
        """What waits for a person or for room, and fits, waits for the end of the silence instead."""
        dropped = list[Action]()
        for model in self._state.models.values():
            waiter = model.waiting
            if waiter and silence.matcher.fits(waiter.alert, waiter.source):
                dropped += keep(self._state.silenced, waiter.alert, is_new=False, source=waiter.source)
                model.waiting = None
        return dropped

    def _silencing(self, alert: Alert, source: str = "") -> Silence | None:
        """The first of the silences that fit an alert."""
        silences = self._state.silences.values()
        return next((one for one in silences if not one.is_over and one.matcher.fits(alert, source)), None)

    def _free(self) -> tuple[list[Action], Again]:
        """Take out what no silence fits any more, its models brought to the fleet's time, and pass over what is old."""
        actions, again, silenced = list[Action](), Again(), self._state.silenced
        for series in [s for s, one in silenced.items() if self._silencing(one.alert, one.source) is None]:
            kept = silenced.pop(series)
            model, alert = self._state.models.get(kept.alert.model_id), kept.alert
            if model is None:
                actions.append(NoAction(alert.alert_id, Outcome.MODEL_EVICTED))
            elif model.is_before_promotion(alert):
                actions.append(NoAction(alert.alert_id, Outcome.BEFORE_PROMOTION))
            elif alert.model_version in model.versions.older:
                actions.append(NoAction(alert.alert_id, Outcome.OLDER_VERSION))
            else:
                model.now = max(model.now, self._state.now or model.now)
                if model.is_quiet(alert, self._settings.incident_quiet_s):
                    actions += close(model, Outcome.QUIET)
                again.append((model, kept))
        return actions, again


def _answer(control: Control, reason: Outcome, silence: Silence | None = None) -> Action:
    return PublishDecision(replace(Decision.answer(control, reason), silence=silence), reason)


def _by_itself(silence: Silence, reason: Outcome, at: datetime, model_id: str = "") -> Action:
    return PublishDecision(Decision.of_silence(silence, reason, at, model_id), reason)


KEPT_MAX = 20_000  # series; beyond, the alert that was silenced longest ago is dropped


def keep(kept: dict[str, SuppressedAlert], alert: Alert, is_new: bool, source: str = "") -> list[Action]:
    """Keep an alert unless a newer one of its series is kept already; returns what is dropped for it, by name."""
    series = _series(alert, source)
    before = kept.pop(series, None)
    if before and before.alert.at.offset > alert.at.offset:
        kept[series] = before
        return []
    same = before if before and before.alert.alert_id == alert.alert_id else None
    kept[series] = SuppressedAlert(alert, is_new or (same is not None and same.is_new), source)
    if len(kept) <= KEPT_MAX:
        return []
    dropped = kept.pop(next(iter(kept)))
    return [NoAction(dropped.alert.alert_id, Outcome.SILENCED_DROPPED)]


def let_go(kept: dict[str, SuppressedAlert], alert: Alert) -> None:
    """Keep an alert no longer, as it is over."""
    series = _series(alert, "")
    if (known := kept.get(series)) and known.alert.alert_id == alert.alert_id:
        del kept[series]


def let_go_of_source(kept: dict[str, SuppressedAlert], source: str) -> list[Action]:
    """Keep nothing any more that came to models because of this source; returns what is let go, by name."""
    found = {series: one.alert.alert_id for series, one in kept.items() if one.source == source}
    for series in found:
        del kept[series]
    return [NoAction(alert_id, Outcome.WITHDRAWN) for alert_id in found.values()]


def _series(alert: Alert, source: str) -> str:
    return "\n".join((alert.model_id, alert.model_version, series_of(alert), source))
