"""The models of a fleet as rows: what each one needs, since when, and what moved most."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from retrain.messages.alert import AlertKind
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from retrain.messages.shift import Shift
from streamer.audit.fleet import AlertStatus, Fleet
from streamer.audit.requests import RequestStatus


class Attention(StrEnum):
    """What a model needs, the most pressing first."""

    PERSON = "person"  # a request waits for approval or review
    FAULT = "fault"  # its data are faulty; asks for no retrain
    INCIDENT = "incident"  # drift, certain and large
    HELD = "held"  # by a storm or a source, until somebody decides
    ALERT = "alert"  # drift that has no incident, or gathers data
    QUIET = "quiet"


ORDER: Final = {state: place for place, state in enumerate(Attention)}
LEGEND: Final[Mapping[Attention, tuple[str, str]]] = {  # of one model, and of several
    Attention.PERSON: ("waits for a person", "wait for a person"),
    Attention.FAULT: ("has faulty data", "have faulty data"),
    Attention.INCIDENT: ("has an open incident", "have an open incident"),
    Attention.HELD: ("is held by a storm or source", "are held by a storm or source"),
    Attention.ALERT: ("has an alert", "have an alert"),
    Attention.QUIET: ("is quiet again", "are quiet again"),
}
_ASKS: Final[Mapping[RequestState, str]] = {
    RequestState.REQUESTED: "Approve the retrain",
    RequestState.AWAITING_REVIEW: "Review the challenger",
    RequestState.TRAINED: "Promote the challenger",
}
_GOES_ON: Final[Mapping[RequestState, str]] = {
    RequestState.APPROVED: "Approved, not started",
    RequestState.TRAINING: "Training",
    RequestState.WATCHING: "Promoted, watched",
}
_HOLDS: Final = frozenset({Outcome.HELD_BY_STORM, Outcome.HELD_FOR_SOURCE})


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the fleet."""

    model_id: str
    state: Attention
    words: str  # the state in words
    since: datetime | None  # event time at which the state began; None for a model without any record
    shift: Shift | None  # the strongest of what moved; None where nothing does any more
    request_id: str = ""

    @property
    def severity(self) -> tuple[int, float, str]:
        """Orders models, the most pressing first."""
        return ORDER[self.state], -(self.shift.strength if self.shift else 0.0), self.model_id


def rows_of(fleet: Fleet, alerts: Sequence[AlertStatus]) -> list[ModelRow]:
    """The models with an alert, incident or request, the most pressing first; `alerts` are all, ended or not."""
    of_model: dict[str, list[AlertStatus]] = defaultdict(list)
    for one in alerts:
        of_model[one.alert.model_id].append(one)
    requests = {one.model_id: one for one in fleet.requests()}
    incidents = {one.model_id: one for one in fleet.open.values()}
    names = {*of_model, *requests, *incidents}
    rows = (
        _row(name, of_model.get(name, []), incidents.get(name), requests.get(name))
        for name in names
        if not name.startswith((FLEET_PREFIX, SOURCE_PREFIX))
    )
    return sorted(rows, key=lambda row: row.severity)


def counts_of(rows: Iterable[ModelRow]) -> dict[Attention, int]:
    """How many models are in each state, the most pressing first; states without models are left out."""
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in Attention if counts[state]}


def _row(
    name: str, alerts: Sequence[AlertStatus], incident: Incident | None, request: RequestStatus | None
) -> ModelRow:
    active = [one for one in alerts if one.is_active]
    shift = incident.columns[0] if incident and incident.columns else _strongest(active)
    asked = request.request_id if request else ""
    if request and (words := _ASKS.get(request.state)):
        return ModelRow(name, Attention.PERSON, words, request.since, shift, asked)
    faults = [one for one in active if one.alert.kind is not AlertKind.DRIFT]
    if faults:
        first = faults[0].alert
        return ModelRow(name, Attention.FAULT, f"Fault: {first.kind}", first.at.event_time, _strongest(faults), asked)
    if incident:
        goes_on = _GOES_ON.get(request.state, "") if request else ""
        return ModelRow(name, Attention.INCIDENT, goes_on or "Incident open", incident.opened_at, shift, asked)
    held = [one for one in active if one.decision in _HOLDS]
    state, words = (Attention.HELD, "Held") if held else (Attention.ALERT, "Alert")
    if active:
        return ModelRow(name, state, words, min(one.alert.at.event_time for one in held or active), shift, asked)
    last = max((one.alert.event_time for one in alerts), default=request.since if request else None)
    if last is None:
        raise ValueError(f"{name} has neither alert nor incident nor request")
    return ModelRow(
        name, Attention.QUIET, _GOES_ON.get(request.state, "") if request else "Quiet again", last, None, asked
    )


def _strongest(alerts: Iterable[AlertStatus]) -> Shift | None:
    return max((Shift.of(one.alert) for one in alerts), key=lambda shift: shift.strength, default=None)


def groups_of(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Names by the part before their first digit, as in `bus-*`; groups and names in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        at = next((i for i, char in enumerate(name) if char.isdigit()), len(name))
        found[name[:at] + "*" if at < len(name) else name].append(name)
    for group, members in sorted(found.items()):
        yield group, sorted(members)
