"""The report of a fleet as one HTML file: it needs no server and no network, and prints.

    records ─► Fleet, alerts ─► rows of models ─┬► heat map, table
               └► trails ─────────► stories ────┴► report.html

What a report of thousands of models would not hold is bounded here, and the report says how much was left out.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from markupsafe import Markup

from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.shift import Shift
from retrain.policy.settings import RetrainSettings
from streamer.app.offline.comparison import BacktestResult, SizeResult
from streamer.app.offline.injection import span_text
from streamer.audit.fleet import KINDS, Fleet, Wanted
from streamer.audit.source import Source
from streamer.audit.timeline import TimelineEntry, entries
from streamer.audit.trail import Trail, decoded
from streamer.contracts.topics import OutputTopics
from streamer.errors import UsageError
from streamer.eventlog.recordings.places import shown
from streamer.page.drawing import environment
from streamer.page.rows import LEGEND, ModelRow, counts_of, groups_of, rows_of

LISTED_MAX: Final = 2_000  # models in the table
STORIES_MAX: Final = 250  # models with a story of their own
ENTRIES_MAX: Final = 12  # records in a story, the newest
SHIFTS_MAX: Final = 8  # columns in the table of a model


@dataclass(frozen=True, slots=True)
class Story:
    """One model as the report tells it."""

    row: ModelRow
    sentence: str
    shifts: Sequence[Shift]  # what moved, one a column, the largest effect times importance first
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
    html = environment().get_template("report.html").render(
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
        style="".join(map(_asset, ("tokens.css", "report.css"))),
        script=(script := _asset("times.js")),
        script_hash=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
    )  # fmt: skip
    return html, ReportSize(len(rows), len(stories), len(alerts), count)


def _asset(name: str) -> str:
    return files("streamer.page").joinpath("static", name).read_text(encoding="utf-8")


def write_comparison(results: Sequence[BacktestResult], points: Sequence[SizeResult], of: Sequence[str]) -> str:
    """What recordings `of` these names give under several settings, and which sizes of a change are seen, as HTML."""
    curves: dict[str, list[SizeResult]] = {}
    for point in points:
        curves.setdefault(point.settings, []).append(point)
    return environment().get_template("comparison.html").render(
        title="Backtest", script="", of=[shown(one) for one in of], results=results, points=points, curves=curves,
        span=lambda seconds, signed: "–" if seconds is None else span_text(timedelta(seconds=seconds), signed=signed),
        style="".join(map(_asset, ("tokens.css", "report.css"))),
    )  # fmt: skip


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
    rules = settings.weights_of(row.model_id) if settings else None
    weight = rules.importance_of if rules else lambda _column: 1.0
    shifts = sorted(strongest.values(), key=lambda shift: (-shift.strength * weight(shift.column), shift.column))
    sentence = next(
        (one.summary for one in reversed(trail.incidents) if one.model_id == row.model_id and one.summary), ""
    )
    return Story(row, sentence, shifts[:SHIFTS_MAX], mine[-ENTRIES_MAX:], max(len(mine) - ENTRIES_MAX, 0))


def _heat(rows: Sequence[ModelRow]) -> Iterator[tuple[str, int, Any]]:
    """Each group of models: its name, its size and its cells in the order of names."""
    states = {row.model_id: row.state.value for row in rows}
    for group, names in groups_of(states):
        yield group, len(names), heat_map([states[name] for name in names])


def heat_map(colours: Sequence[str], across: int = 100, pitch: int = 10) -> Markup:
    """One cell for each name of a colour, row by row; the cells of one colour are one path."""
    paths: dict[str, list[str]] = {}
    for i, colour in enumerate(colours):
        paths.setdefault(colour, []).append(f"M{i % across * pitch} {i // across * pitch}h8v8h-8z")
    height = -(-len(colours) // across) * pitch
    body = "".join(f'<path class="h-{colour}" d="{"".join(cells)}"/>' for colour, cells in paths.items())
    box = f"0 0 {across * pitch} {height}"
    return Markup(f'<svg class="heat" viewBox="{box}" aria-hidden="true">{body}</svg>')  # noqa: S704 -- no name in it
