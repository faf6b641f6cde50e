"""The views of one model and of one of its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from retrain.messages.alert import Alert, AlertState
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift
from retrain.policy.model_rules import ModelRules
from streamer.audit.explanation import NEVER
from streamer.audit.timeline import TimelineEntry, entries
from streamer.audit.trail import Trail, ids_of
from streamer.page.drawing import Missing, Page, Parameters, page_of
from streamer.page.lanes import Item, Lane, lanes_of
from streamer.page.reader import ReadView

ENTRIES: Final = 12  # of the story, a page
CURVES: Final = ("error", "prediction")  # columns whose percentiles stand above the story
COLUMNS_MAX: Final = 200  # of the table of a model
PROFILES_MAX: Final = 400  # intervals of a column
SEGMENTS_MAX: Final = 100  # of the table of a column


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column of a model: the strongest of what moved, and its newest interval."""

    column: str
    shift: Shift | None
    is_active: bool  # whether an alert on it has not ended
    profile: Mapping[str, Any] | None
    importance: float | None = None  # by the rules of the model; None where they name none

    @property
    def rank(self) -> float:
        """Effect times importance; without an effect, below all others."""
        weight = 1.0 if self.importance is None else self.importance
        return self.shift.strength * weight if self.shift else -1.0


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment of a column, or the whole: its newest interval, and what fires there."""

    segment: str  # "" is the whole model
    profile: Mapping[str, Any] | None
    firing: int  # alerts that have not ended


def model_view(view: ReadView, given: Parameters) -> Page:
    """One model: what happened on one time axis, its columns by effect and importance, and its records."""
    name = given.get("name", "")
    row = view.model(name)
    if row is None:
        raise Missing(f"no record names a model {name}", name)
    trail = view.trail([name])
    newest = newest_alerts(trail, name)
    found = entries(trail, lambda record: record.model_id == name)
    page = page_of(given)
    shown = found[::-1][(page - 1) * ENTRIES : page * ENTRIES]
    incidents, _ = view.incidents(True, 1, 1, name)
    requests, _ = view.requests(False, 5, 1, name)
    data = {
        "row": row,
        "incident": incidents[0] if incidents else None,
        "requests": requests,
        "columns": columns_of(newest, view.profiles(name), view.weights_of(name)),
        "versions": sorted({one.model_version for one in newest if one.model_version}),
        "alerts": len(newest),
        "entries": entries_of(shown),
        "total": len(found),
        "page": page,
        "is_cut": trail.is_cut,
    }
    curves = [(column, _whole(view.profiles(name, column, PROFILES_MAX))) for column in CURVES]
    ends = [one.at for one in found] + [one["end"] for _, profiles in curves for one in profiles[-1:]]
    now = max(ends, default=None)
    extra = {"lanes_drawn": _lanes(trail, name, newest), "curves": curves, "now": now, "rows_a_page": ENTRIES}
    return Page("model.html", data, extra)


def _whole(profiles: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the whole model, not of a segment; of versions that serve side by side, the one with the most values."""
    of_start: dict[datetime, Mapping[str, Any]] = {}
    for one in profiles:
        known = of_start.get(one["start"])
        if not one["segment"] and (known is None or one["count"] > known["count"]):
            of_start[one["start"]] = one
    return list(of_start.values())


def column_view(view: ReadView, given: Parameters) -> Page:
    """One column: the reference against what is now, its intervals, and the alerts on it."""
    model, column = given.get("model", ""), given.get("column", "")
    alerts = [one for one in newest_alerts(view.trail([model]), model) if one.column == column]
    profiles = view.profiles(model, column, PROFILES_MAX)
    if not alerts and not profiles:
        raise Missing(f"no record names a column {column} of {model}", column)
    segments = sorted({one.segment for one in alerts} | {one["segment"] for one in profiles})
    segment = given.get("segment", "")
    own = [one for one in alerts if one.segment == segment]
    series = [one for one in profiles if one["segment"] == segment]
    last = series[-1]["version"] if series else ""
    data = {
        "model": model,
        "column": column,
        "segment": segment,
        "segments": segments,
        "beside": _beside(segments, alerts, profiles),
        "shift": strongest(own),
        "alerts": sorted(own, key=lambda one: one.at.event_time, reverse=True)[:COLUMNS_MAX],
        "profiles": [one for one in series if one["version"] == last],
        "row": view.model(model),
    }
    return Page("column.html", data)


def _beside(
    segments: Sequence[str], alerts: Sequence[Alert], profiles: Sequence[Mapping[str, Any]]
) -> list[SegmentRow]:
    """The segments and the whole, the whole first, then those that fire, and by PSI; none if there are no segments."""
    newest = {one["segment"]: one for one in profiles}
    firing = Counter(one.segment for one in alerts if one.state is not AlertState.RESOLVED)
    rows = [SegmentRow(name, newest.get(name), firing[name]) for name in segments]

    def rank(row: SegmentRow) -> tuple[bool, bool, float, str]:
        psi = row.profile["psi"] if row.profile else None
        return row.segment != "", not row.firing, -(psi or 0.0), row.segment

    return sorted(rows, key=rank)[:SEGMENTS_MAX] if len(rows) > 1 else []


def newest_alerts(trail: Trail, model: str) -> list[Alert]:
    """The alerts of a model in their newest states, in the order in which they fired."""
    found: dict[str, Alert] = {}
    for one in trail.alerts:
        if one.model_id == model:
            known = found.get(one.alert_id)
            if known is not None and one.distribution is None and known.distribution is not None:
                one = _with_distribution(one, known)
            found[one.alert_id] = one
    return sorted(found.values(), key=lambda one: (one.at.event_time, one.alert_id))


def _with_distribution(alert: Alert, before: Alert) -> Alert:
    """A resolved alert with the picture of its drift, which only its `ready` record has."""
    return replace(alert, distribution=before.distribution)


def strongest(alerts: Iterable[Alert]) -> Shift | None:
    """The shift to draw: one with a distribution if there is any, then the strongest."""
    shifts = map(Shift.of, alerts)
    return max(shifts, key=lambda one: (one.distribution is not None, one.strength), default=None)


def columns_of(
    alerts: Sequence[Alert], profiles: Sequence[Mapping[str, Any]], rules: ModelRules | None
) -> list[ColumnRow]:
    """The columns of a model, the largest effect times importance first, active ones before others."""
    newest = {one["column"]: one for one in profiles if not one["segment"]}
    of_column: dict[str, list[Alert]] = {}
    for one in alerts:
        of_column.setdefault(one.column, []).append(one)
    rows = []
    for name in {*newest, *of_column}:
        mine = of_column.get(name, [])
        active = [one for one in mine if one.state is not AlertState.RESOLVED]
        weight = rules.importance_of(name) if rules else None
        rows.append(ColumnRow(name, strongest(active or mine), bool(active), newest.get(name), weight))
    rows.sort(key=lambda one: (not one.is_active, -one.rank, one.column))
    return rows[:COLUMNS_MAX]


def entries_of(found: Iterable[TimelineEntry]) -> list[dict[str, Any]]:
    """Entries of a timeline as data; the heading names the kind of the record, and not its id."""
    rows = []
    for one in found:
        ids, (kind, *words) = ids_of(one.record), one.lines[0].split()
        head = " ".join([kind, *(word for word in words if word not in ids)])
        rows.append({"at": one.at, "kind": kind, "ids": ids, "head": head, "lines": one.lines[1:]})
    return rows


def _lanes(trail: Trail, model: str, alerts: Sequence[Alert]) -> list[Lane]:
    by_column: dict[str, list[Item]] = {}
    for one in alerts:
        end = one.resolved_at.event_time if one.resolved_at else NEVER
        items = by_column.setdefault(one.column, [])
        items.append(Item("alertbar", one.onset.event_time, end, f"{one.alert_id}, since its onset"))
        items.append(Item("alert", one.at.event_time, None, f"{one.alert_id}: {one.kind} by {one.detector}"))
    promoted = [one for one in trail.decisions if one.model_id == model and one.reason is Outcome.PROMOTED]
    versions = [Item("good", one.at, None, f"version {one.model_version} promoted by {one.actor}") for one in promoted]
    groups = [(f"{name}", items, "") for name, items in sorted(by_column.items())[:12]]
    return lanes_of([
        *groups,
        ("Incident", _incident_items(trail, model), ""),
        ("Request", _request_items(trail, model), ""),
        ("Promotion", versions, promoted[-1].model_version if promoted else ""),
    ])  # fmt: skip


def _incident_items(trail: Trail, model: str) -> list[Item]:
    newest: dict[str, Incident] = {one.incident_id: one for one in trail.incidents if one.model_id == model}
    return [
        Item("inc", one.opened_at, _end_of(one), f"{one.incident_id}, {one.alerts} alerts, {one.reason}")
        for one in newest.values()
    ]


def _end_of(incident: Incident) -> datetime:
    return NEVER if incident.state is IncidentState.OPEN else incident.last_alert_at


def _request_items(trail: Trail, model: str) -> list[Item]:
    found = []
    for request in trail.requests:
        if request.model_id != model:
            continue
        changes = [one for one in trail.decisions if one.request_id == request.request_id and one.state]
        end = max((one.at for one in changes if one.state in _OVER), default=request.expires_at)
        found.append(Item("req1", request.requested_at, end, request.request_id))
        found += [Item("req", one.at, None, f"{one.reason} by {one.actor or 'the service'}") for one in changes]
    return found


_OVER: Final = frozenset({"rejected", "failed", "expired", "withdrawn", "helped", "did_not_help"})
