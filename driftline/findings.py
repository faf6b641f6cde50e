"""What a replay found: typed records, Arrow tables, pictures and a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from detectors.profile.distances import Estimate
from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.distribution import distances_of
from retrain.messages.incident import Incident
from retrain.messages.patterns import matches
from retrain.messages.request import RetrainRequest
from streamer.app.replay import Summary
from streamer.audit.reasons import clock, many, number
from streamer.audit.source import KINDS, PROFILE, RawRecord
from streamer.audit.trail import decoded
from streamer.clock import seconds_of
from streamer.config import Config

ROWS_SHOWN: Final = 20  # alerts in the text and the HTML of findings
NEAR_ROWS: Final = 500
NEAR_TIME: Final = "1d"
_TIME: Final = pa.timestamp("ms", "UTC")
_ALERT_COLUMNS: Final = (
    "model_id", "model_version", "segment", "column", "kind", "state", "detector", "effect", "effect_unit",
    "effect_se", "before", "after", "category", "n_reference", "n_current", "statistic", "threshold", "resolution",
    "summary", "alert_id",
)  # fmt: skip
_INCIDENT_COLUMNS: Final = (
    "incident_id", "model_id", "model_version", "state", "opened_at", "last_alert_at", "alerts", "request_id",
    "reason", "decision", "returns", "summary",
)  # fmt: skip
_REQUEST_COLUMNS: Final = (
    "request_id", "model_id", "model_version", "reason", "incident_id", "requested_at", "expires_at", "approval",
    "summary",
)  # fmt: skip
_DISTANCES: Final = pa.schema([
    *((name, pa.string()) for name in ("alert_id", "model_id", "column", "segment")),
    *((name, pa.int64()) for name in ("n_before", "n_after")),
    ("distance", pa.string()), *((name, pa.float64()) for name in Estimate._fields),
])  # fmt: skip
_DECISION_COLUMNS: Final = ("request_id", "model_id", "state", "reason", "at", "actor", "comment", "model_version")


class Picture(str):
    """The text of an SVG picture, which notebooks draw."""

    def __repr__(self) -> str:
        return f"<Picture: {len(self):,} characters of SVG>"

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the picture as a file of UTF-8. Raises OSError."""
        Path(path).write_text(self, encoding="utf-8")
        return Path(path)


@dataclass(frozen=True, repr=False)
class Findings:
    """The alerts, incidents, requests and decisions of a replay, each kind in the order of publication.

    Of an alert or incident, the records here are the newest of each, as their state changes.
    """

    summary: Summary  # counts of the input and the outputs, and the warnings
    config: Config  # the configuration that the recordings were folded with
    records: Sequence[RawRecord] = field(default=())  # all as published: (kind, JSON; of profiles Arrow)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is probably not read as meant, with what to set."""
        return self.summary.warnings

    @cached_property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts in the order in which they fired, each in its newest state."""
        return tuple({one.alert_id: one for one in self._of("alert")}.values())

    @cached_property
    def incidents(self) -> tuple[Incident, ...]:
        """The incidents in the order in which they were opened, each in its newest state."""
        return tuple({one.incident_id: one for one in self._of("incident")}.values())

    @cached_property
    def requests(self) -> tuple[RetrainRequest, ...]:
        """The retrain requests."""
        return tuple({one.request_id: one for one in self._of("request")}.values())

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The changes of requests and silences."""
        return tuple(self._of("decision"))

    def alerts_table(self) -> pa.Table:
        """One row an alert; `onset` and `fired_at` are event times in UTC. `.to_pandas()` works where pandas is."""
        times = {
            "onset": pa.array([one.onset.event_time for one in self.alerts], _TIME),
            "fired_at": pa.array([one.at.event_time for one in self.alerts], _TIME),
        }
        return _table(self.alerts, _ALERT_COLUMNS, times)

    def incidents_table(self) -> pa.Table:
        """One row an incident."""
        columns = pa.array([[shift.column for shift in one.columns] for one in self.incidents], pa.list_(pa.string()))
        return _table(self.incidents, _INCIDENT_COLUMNS, {"columns": columns})

    def requests_table(self) -> pa.Table:
        """One row a retrain request."""
        return _table(self.requests, _REQUEST_COLUMNS, {})

    def decisions_table(self) -> pa.Table:
        """One row a change of a request or silence."""
        return _table(self.decisions, _DECISION_COLUMNS, {})

    def profiles_table(self) -> pa.Table:
        """One row a column and interval of event time: count, mean, percentiles, cells, and PSI and KS distance.

        `psi_chance` and `ks_chance` are what 95 of 100 intervals without drift stay below. `docs/profiles.md` has all
        columns. It is empty with `profiles.publish: false`, and before an interval (a day) has ended.
        """
        from streamer.contracts.profiles import READ, read_profiles

        tables = [read_profiles(value) for kind, value in self.records if kind == PROFILE]
        return pa.concat_tables(tables).unify_dictionaries() if tables else READ.empty_table()

    def distances_table(self) -> pa.Table:
        """One row an alert and distance between the values before and after: PSI, Jensen-Shannon, KS and Wasserstein.

        `low` and `high` are bounds of the distance at 95 %, for values that do not depend on each other, and
        `by_chance` is its mean without a change. `n_before` and `n_after` are the values that it rests on. An alert is
        measured when its data are ready for training; one that never was has no row.
        """
        measured = {one.alert_id: one for one in self._of("alert") if one.distribution is not None}
        rows = [
            {"alert_id": one.alert_id, "model_id": one.model_id, "column": one.column, "segment": one.segment}
            | {"n_before": one.distribution.n_before, "n_after": one.distribution.n_after, "distance": name}
            | found._asdict()
            for one in measured.values()
            for name, found in distances_of(one.distribution).items()
        ]
        return pa.Table.from_pylist(rows, _DISTANCES)

    def plot(self, model: str, column: str, segment: str = "") -> Picture:
        """One column before and after its drift, as SVG. Raises `UsageError` if no record names the column."""
        from streamer.page.plot import plot

        return Picture(plot(lambda: iter(self.records), self.config.outputs, model, column, segment))

    def report(self, path: str | PathLike[str], title: str = "Drift report") -> Path:
        """Write all of it as one HTML file, without a network. Raises `UsageError` if there is nothing to report."""
        from streamer.page.report import write_report

        html, _ = write_report(self._source, self.config.outputs, title, self.config.retrain)
        Path(path).write_text(html, encoding="utf-8")
        return Path(path)

    def assert_quiet(
        self, *, except_columns: Sequence[str] = (), models: Sequence[str] = ("*",), effect_min: float = 0.0,
        kinds: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Fail if there is an alert on these models.

        `except_columns` are patterns of columns that may drift, `effect_min` is the least effect that counts, in the
        unit of the alert, and `kinds` are the kinds of alerts that count; empty: all.
        """
        counted = [
            one
            for one in self.alerts
            if fits(one.model_id, models)
            and not fits(one.column, except_columns)
            and one.effect >= effect_min
            and (not kinds or one.kind.value in kinds)
        ]
        if counted:
            expected = f"expected no alert, found {many(len(counted), 'alert')}"
            raise AssertionError(_failure(expected, counted, "allow some with except_columns=, effect_min= or kinds="))

    def assert_drift(
        self, model: str, column: str, *, near: int | str | datetime | None = None, within: int | str | None = None
    ) -> Alert:
        """Fail unless there is an alert on this column, and return the first one.

        `near` is where the drift began: the number of a row, or a time. `within` is how far the onset may be from it: a
        number of rows, or a duration such as "2h"; the default is 500 rows, or 1 day.
        """
        found = [one for one in self.alerts if fits(one.model_id, [model]) and fits(one.column, [column])]
        expected = f"expected an alert on {column} of {model}"
        if not found:
            raise AssertionError(_failure(f"{expected}, found none on it", self.alerts))
        if near is None:
            return found[0]
        close = [one for one in found if _is_near(one, near, within)]
        if not close:
            onsets = ", ".join(f"{one.onset.event_time:%Y-%m-%d %H:%M:%S} (row {one.onset.offset:,})" for one in found)
            allowed = within if within is not None else "500 rows" if isinstance(near, int) else "1d"
            raise AssertionError(
                _failure(f"{expected} that began near {near}, within {allowed}; it began at {onsets}", found)
            )
        return close[0]

    def assert_requests(self, *models: str) -> None:
        """Fail unless these models, and no others, have a retrain request each; without models: none has."""
        found = sorted(one.model_id for one in self.requests)
        if found != sorted(models):
            names = ", ".join(sorted(models)) or "no model"
            got = ", ".join(found) or "no model"
            raise AssertionError(_failure(f"expected retrain requests for {names}, found them for {got}", self.alerts))

    def lines(self) -> list[str]:
        """The findings as lines of text, the same in every run, for snapshots."""
        alerts = [f"alert  {'  '.join(cells_of(one))}  {one.detector}" for one in self.alerts]
        incidents = [
            f"incident  {one.model_id}  {one.state.value}  {one.reason.value}  "
            f"{', '.join(dict.fromkeys(shift.column for shift in one.columns))}"
            for one in self.incidents
        ]
        requests = [f"request  {one.model_id}  {one.request_id}  {one.requested_at:%F %T} UTC" for one in self.requests]
        return [*alerts, *incidents, *requests]

    def __repr__(self) -> str:
        return "\n".join((f"Findings: {self._counts()}", *(f"  {line}" for line in self._lines())))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("model", "column", "onset", "before → after", "effect", "state"))
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells_of(one))}</tr>"
            for one in self.alerts[:ROWS_SHOWN]
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        notes = "".join(f"<p>warning: {escape(one)}</p>" for one in self.warnings)
        return f"<div><p><b>{escape(self._counts())}</b></p>{table}{notes}</div>"

    def _source(self) -> Iterator[RawRecord]:
        return (one for one in self.records if one[0] in KINDS)

    def _of(self, kind: str) -> Iterator[Any]:
        return (decoded(of, value) for of, value in self.records if of == kind)

    def _counts(self) -> str:
        return ", ".join((
            many(len(self.alerts), "alert"), many(len(self.incidents), "incident"),
            many(len(self.requests), "retrain request"),
            f"of {many(self.summary.events, 'event')} of {many(self.summary.models, 'model')}",
        ))  # fmt: skip

    def _lines(self) -> Iterator[str]:
        for one in self.alerts[:ROWS_SHOWN]:
            yield "  ".join(cells_of(one))
        if len(self.alerts) > ROWS_SHOWN:
            yield f"and {len(self.alerts) - ROWS_SHOWN:,} more alerts"
        yield from (f"warning: {one}" for one in self.warnings)


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is, or matches, one of the patterns."""
    return any(matches(name, one) for one in patterns)


def _is_near(alert: Alert, near: int | str | datetime, within: int | str | None) -> bool:
    """Whether the onset of an alert is near a row or a time."""
    if isinstance(near, int):
        if isinstance(within, str):
            raise TypeError(f"within={within!r} is a duration, and near={near} the number of a row: give both as one")
        return abs(alert.onset.offset - near) <= (NEAR_ROWS if within is None else within)
    if isinstance(within, int):
        raise TypeError(f"within={within} is a number of rows, and near={near!r} a time: give a duration such as '2h'")
    at = near if isinstance(near, datetime) else datetime.fromisoformat(near)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return abs((alert.onset.event_time - at).total_seconds()) <= seconds_of(within or NEAR_TIME)


def _failure(expected: str, alerts: Sequence[Alert], advice: str = "") -> str:
    """Why an assertion failed, with the alerts that it is about."""
    shown = [f"    {'  '.join(cells_of(one))}" for one in alerts[:ROWS_SHOWN]] or ["    there is no alert at all"]
    more = [f"    and {len(alerts) - ROWS_SHOWN:,} more"] if len(alerts) > ROWS_SHOWN else []
    return "\n".join((expected + ":", *shown, *more, *([f"  {advice}"] if advice else [])))


def cells_of(alert: Alert) -> tuple[str, str, str, str, str, str]:
    """An alert in words: model, column, onset, before and after, effect, state."""
    name = f"{alert.column} [{alert.segment}]" if alert.segment else alert.column
    what = name if alert.kind.value == "drift" else f"{name} ({alert.kind.value})"
    return (
        alert.model_id, what, f"{clock(alert.onset.event_time)} UTC",
        f"{number(alert.before)} → {number(alert.after)}", f"{number(alert.effect)} {alert.effect_unit}",
        alert.state.value,
    )  # fmt: skip


def _table(records: Sequence[Any], names: Sequence[str], more: Mapping[str, pa.Array]) -> pa.Table:
    """Fields of records as columns; texts of enumerations, times in UTC."""
    columns = {name: _column([getattr(one, name) for one in records], name) for name in names}
    return pa.table({**columns, **more})


def _column(values: list[Any], name: str) -> pa.Array:
    plain = [str(getattr(one, "value", one)) if isinstance(one, str) else one for one in values]
    if name in _TIMES:
        return pa.array(plain, _TIME)
    kind = pa.float64() if name in _NUMBERS else pa.int64() if name in _COUNTS else pa.string()
    return pa.array(plain, kind)


_TIMES: Final = {"opened_at", "last_alert_at", "requested_at", "expires_at", "at"}
_NUMBERS: Final = {"effect", "effect_se", "before", "after", "statistic", "threshold"}
_COUNTS: Final = {"n_reference", "n_current", "alerts", "returns"}
