"""The report of a fleet as one HTML file: it needs no server and no network, and prints.

    records ─► Fleet, alerts ─► rows of models ─┬► heat map, table
               └► trails ─────────► stories ────┴► report.html

What a report of thousands of models would not hold is bounded here, and the report says how much was left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from retrain.messages.alert import AlertKind
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from retrain.messages.shift import Shift
from retrain.policy.settings import RetrainSettings
from streamer.audit.fleet import KINDS, AlertStatus, Fleet, Wanted
from streamer.audit.reasons import clock, many, number
from streamer.audit.requests import RequestStatus
from streamer.audit.source import Source
from streamer.audit.timeline import TimelineEntry, entries
from streamer.audit.trail import Trail, decoded
from streamer.contracts.topics import OutputTopics
from streamer.errors import UsageError
from streamer.page import charts

LISTED_MAX: Final = 2_000  # models in the table
STORIES_MAX: Final = 250  # models with a story of their own
ENTRIES_MAX: Final = 12  # records in a story, the newest
PAIRS_MAX: Final = 40  # models whose column is drawn twice: as histogram, and as shares up to each value
SHIFTS_MAX: Final = 8  # columns in the table of a model


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
    since: datetime  # event time at which the state began
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


@dataclass(frozen=True, slots=True)
class Story:
    """One model as the report tells it."""

    row: ModelRow
    sentence: str
    shifts: Sequence[Shift]  # what moved, strongest first, one a column
    timeline: Sequence[TimelineEntry]
    left_out: int  # earlier records


@dataclass(frozen=True, slots=True)
class ReportSize:
    """What a report holds."""

    models: int  # with an alert, incident or request
    stories: int
    alerts: int
    requests: int


def write_report(
    source: Source, outputs: OutputTopics, title: str, settings: RetrainSettings | None
) -> tuple[str, ReportSize]:
    """The report of the records of `source` as HTML, and what it holds.

    `settings` are those of the decide fold, for the numbers in reasons; None where they are unknown. Raises
    `UsageError` when there is no record at all, or one that can't be read.
    """
    fleet = Fleet(outputs, (one for one in source() if one[0] in KINDS))
    alerts = fleet.alerts((one for one in source() if one[0] == "alert"), Wanted(ended=True))
    rows = rows_of(fleet, alerts)
    storms = [one for one in fleet.open.values() if one.model_id.startswith(FLEET_PREFIX)]
    if not (rows or storms):
        raise UsageError(
            "there is no alert, incident or request to report. Where a fleet drifts, `driftline replay` writes them"
        )
    pressing = rows[:STORIES_MAX]
    trails = trails_of(source, [row.model_id for row in pressing])
    stories = [_story(row, trails[row.model_id], settings) for row in pressing]
    times = [one.alert.event_time for one in alerts]
    html = _environment().get_template("report.html").render(
        title=title,
        begin=min((one.alert.onset.event_time for one in alerts), default=None),
        end=max(times, default=None),
        rows=rows[:LISTED_MAX],
        rows_left_out=max(len(rows) - LISTED_MAX, 0),
        stories=stories,
        stories_left_out=len(rows) - len(stories),
        storms=storms,
        counts=counts_of(rows),
        legend=LEGEND,
        heat=list(_heat(rows)),
        alerts=alerts,
        requests=(count := sum(len(trail.requests) for trail in trails.values())),
        is_cut=fleet.is_cut,
        style=files("streamer.page").joinpath("static/style.css").read_text(encoding="utf-8"),
    )  # fmt: skip
    return html, ReportSize(len(rows), len(stories), len(alerts), count)


def trails_of(source: Source, models: Iterable[str]) -> dict[str, Trail]:
    """The trail of each model, in one pass; each also holds the records of storms and silences."""
    trails = {model: Trail() for model in models}
    for kind, value in source():
        record = decoded(kind, value)
        if (trail := trails.get(record.model_id)) is not None:
            trail.add(record)
        is_shared = isinstance(record, Incident) and record.model_id.startswith(FLEET_PREFIX)
        if is_shared or (isinstance(record, Decision) and record.silence is not None):
            for trail in trails.values():
                trail.add(record)
    return trails


def _story(row: ModelRow, trail: Trail, settings: RetrainSettings | None) -> Story:
    mine = entries(trail, lambda record: record.model_id == row.model_id, settings)
    strongest: dict[str, Shift] = {}
    newest = {one.alert_id: one for one in trail.alerts}
    for shift in map(Shift.of, newest.values()):
        known = strongest.get(shift.column)
        if known is None or (shift.distribution is not None, shift.strength) > (
            known.distribution is not None, known.strength
        ):  # fmt: skip
            strongest[shift.column] = shift
    shifts = sorted(strongest.values(), key=lambda shift: (-shift.strength, shift.column))
    sentence = next(
        (one.summary for one in reversed(trail.incidents) if one.model_id == row.model_id and one.summary), ""
    )
    return Story(row, sentence, shifts[:SHIFTS_MAX], mine[-ENTRIES_MAX:], max(len(mine) - ENTRIES_MAX, 0))


def _heat(rows: Sequence[ModelRow]) -> Iterator[tuple[str, int, Any]]:
    """Each group of models: its name, its size and its cells in the order of names."""
    states = {row.model_id: row.state.value for row in rows}
    for group, names in groups_of(states):
        yield group, len(names), charts.heat_map([states[name] for name in names])


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("streamer.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals |= {"charts": charts, "number": number, "clock": clock, "many": many, "pictures": _pictures}
    made.filters["rfc3339"] = lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}"
    made.tests["instant"] = lambda value: isinstance(value, datetime)
    return made


def _pictures(shift: Shift, place: int) -> Sequence[Any]:
    """The pictures of a shift of the model at this place."""
    of = shift.distribution
    if of is None:
        return ()
    if of.categories:
        return (charts.paired_bars(of, shift.column),)
    drawn = charts.histogram(of, shift.before, shift.after, shift.column)
    return (drawn, charts.shares_up_to(of, shift.column)) if place < PAIRS_MAX else (drawn,)
