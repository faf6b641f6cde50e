"""What the engine's state holds, counted for metrics: requests, incidents, holds, the budget and the bounded tables.

Ages are event time: the fleet's time less the time since when something is as it is. They stand still while no alert
and no watermark comes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from retrain.engine.queue import HOUR_S
from retrain.engine.silences import SILENCES_MAX, SUPPRESSED_MAX
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.lifecycle import OPEN, RUNNING
from retrain.messages.request import RequestState, later
from retrain.policy.settings import RetrainSettings
from retrain.state.hold import Hold
from retrain.state.state import EngineState

SCOPES: Final = ("model", "source", "fleet")  # of incidents
HOLDS: Final = ("source", "fleet")  # of incidents that a person must release or dismiss
STATES: Final = tuple(state.value for state in RequestState if state in OPEN or state is RequestState.WATCHING)
BUDGETS: Final = ("requests_per_hour_max", "running_max")
WAITS: Final = ("budget", "storm")
TABLES: Final = ("decide_models", "storm_columns", "silences", "suppressed")
OVERDUE_SHARE: Final = 0.5  # of the time until a request expires

Counts = dict[tuple[str, ...], float]


def tables_of(settings: RetrainSettings, state: EngineState) -> dict[str, tuple[int, int]]:
    """The rows of each bounded table, and its bound."""
    rows = len(state.models), len(state.columns), len(state.silences), len(state.silenced)
    most = settings.models_max, settings.storm_columns_max, SILENCES_MAX, SUPPRESSED_MAX
    return dict(zip(TABLES, zip(rows, most, strict=True), strict=True))


def census_of(settings: RetrainSettings, state: EngineState) -> Counts:
    """All counts and ages, in seconds of event time; a limit that is not set has no row."""
    return _requests(state) | _incidents(state) | _budget(settings, state)


def _requests(state: EngineState) -> Counts:
    counts: Counts = {(what, one): 0 for what in ("requests", "request_age") for one in STATES}
    counts |= {("requests_overdue", one): 0 for one in STATES if one in OPEN}
    now = state.now
    for record in (model.last_request for model in state.models.values()):
        if record is None or now is None or ("requests", record.state) not in counts:
            continue
        age_s = max((now - record.changed_at).total_seconds(), 0.0)
        counts["requests", record.state] += 1
        counts["request_age", record.state] = max(counts["request_age", record.state], age_s)
        if record.state in OPEN:
            allowed_s = (record.answer_by - record.changed_at).total_seconds()
            counts["requests_overdue", record.state] += age_s > OVERDUE_SHARE * allowed_s
    return counts


def _incidents(state: EngineState) -> Counts:
    opened: dict[str, list[datetime]] = {scope: [] for scope in SCOPES}
    for name, model in state.models.items():
        if incident := model.open_incident:
            opened[scope_of(name)].append(incident.opened_at)
    opened["fleet"] = [storm.incident.opened_at for storm in state.storms.values() if storm.state is Hold.HELD]
    held = {"fleet": opened["fleet"], "source": [incident.opened_at for incident in _held_sources(state)]}
    counts: Counts = {("incidents_open", scope): len(times) for scope, times in opened.items()}
    counts |= {("incident_age", scope): _age_s(state, times) for scope, times in opened.items()}
    counts |= {("held", scope): len(held[scope]) for scope in HOLDS}
    return counts | {("held_age", scope): _age_s(state, held[scope]) for scope in HOLDS}


def _held_sources(state: EngineState) -> Iterator[Incident]:
    for name, source in state.sources.items():
        model = state.models.get(name)
        if source.standing is Hold.HELD and model is not None and model.open_incident is not None:
            yield model.open_incident


def _budget(settings: RetrainSettings, state: EngineState) -> Counts:
    made, now = state.made, state.now
    recent = 0 if now is None else len(made) - bisect_right(made, now, key=lambda at: later(at, HOUR_S))
    records = (model.last_request for model in state.models.values())
    running = sum(record.state in RUNNING for record in records if record is not None)
    limits = dict(
        zip(BUDGETS, ((recent, settings.requests_per_hour_max), (running, settings.running_max)), strict=True)
    )
    counts: Counts = {("waiting", reason): 0 for reason in WAITS}
    for trigger in (model.waiting for model in state.models.values()):
        if trigger is not None:
            counts["waiting", "budget" if state.may_request(trigger) else "storm"] += 1
    for name, (used, most) in limits.items():
        if most is not None:
            counts |= {("budget_used", name): used, ("budget_left", name): max(most - used, 0)}
    return counts


def _age_s(state: EngineState, since: Iterable[datetime]) -> float:
    """The age of the oldest of these times; 0 without any."""
    oldest = min(since, default=None)
    return 0.0 if oldest is None or state.now is None else max((state.now - oldest).total_seconds(), 0.0)


def scope_of(model_id: str) -> str:
    """The scope of an incident, by the name in its record."""
    if model_id.startswith(FLEET_PREFIX):
        return "fleet"
    return "source" if model_id.startswith(SOURCE_PREFIX) else "model"
