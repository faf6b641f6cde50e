"""Snapshots: what a view reads of the read model, all of it as of one commit of the follower."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from retrain.messages.alert import Alert, AlertKind
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.patterns import matches
from retrain.messages.request import RetrainRequest
from retrain.messages.shift import Shift
from retrain.policy.model_rules import ModelRules
from retrain.policy.settings import RetrainSettings
from streamer.audit.requests import RequestStatus
from streamer.audit.source import KINDS
from streamer.audit.trail import Trail, decoded
from streamer.contracts.profile_rows import cells_of, four_digits, numbers_of
from streamer.events import time_of
from streamer.page.rows import ORDER, Attention, ModelRow
from streamer.page.store import CONTROL, PLACES

TRAIL_MAX: Final = 5_000  # records of the models of a view, the newest
SHARED_MAX: Final = 2_000  # records of storms and silences beside them
FOUND_MAX: Final = 20  # of each sort, of a search
SEARCHED_MAX: Final = 8_000  # names among which near ones are searched
NEAR: Final = 5
STATES: Final = tuple(Attention)

# The order of the table -> its SQL; the first one is that of the page.
SORTS: Final[Mapping[str, str]] = {
    "state": "state, strength DESC, model",
    "model": "model",
    "since": "since_ms DESC, model",
    "column": '"column" IS NULL, "column", strength DESC, model',
    "effect": "strength DESC, model",
}
_FITS: Final = """
    WHERE (:grp = '' OR grp = :grp) AND (:state < 0 OR state = :state)
    AND (:name = '' OR CASE WHEN :is_pattern THEN model GLOB :name ELSE instr(model, :name) END)
"""
_NO_FAULTS: Final = frozenset({AlertKind.DRIFT, AlertKind.BETTER_VERSION})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which models are listed, in which order."""

    group: str = ""
    state: str = ""
    name: str = ""  # a part of the name, or a pattern
    sort: str = "state"
    page: int = 1

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "grp": self.group, "state": ORDER[Attention(self.state)] if self.state else -1, "name": self.name,
            "is_pattern": any(char in self.name for char in "*?["),
        }  # fmt: skip


class ReadView:
    """The read model as of one commit. Raises `sqlite3.Error` only if the file is damaged."""

    def __init__(self, db: sqlite3.Connection, settings: RetrainSettings | None = None) -> None:
        self._db, self._settings = db, settings

    def weights_of(self, model: str) -> ModelRules | None:
        """The rules that name the importance of the features of a model; None: all weigh the same."""
        return self._settings.weights_of(model) if self._settings else None

    def count(self, sql: str, *values: Any) -> int:
        """The number that a query gives."""
        return int(self._db.execute(sql, values).fetchone()[0] or 0)

    def states(self) -> dict[Attention, int]:
        """How many models are in each state, the most pressing first."""
        found = dict(self._db.execute("SELECT state, count(*) FROM models GROUP BY state ORDER BY state"))
        return {state: found[place] for state, place in ORDER.items() if place in found}

    def groups(self) -> dict[str, dict[Attention, int]]:
        """Group -> how many of its models are in each state."""
        found: dict[str, dict[Attention, int]] = {}
        for group, state, n in self._db.execute("SELECT grp, state, count(*) FROM models GROUP BY 1, 2 ORDER BY 1, 2"):
            found.setdefault(group, {})[STATES[state]] = n
        return found

    def cells(self, group: str, most: int) -> Sequence[tuple[str, int]]:
        """Name and place of the state of the models of a group, in the order of names."""
        sql = "SELECT model, state FROM models WHERE grp = ? ORDER BY model LIMIT ?"
        return self._db.execute(sql, (group, most)).fetchall()

    def models(self, wanted: Filter, size: int) -> tuple[list[ModelRow], int]:
        """One page of the models, and how many there are on all pages."""
        values = wanted.parameters
        total = self._db.execute(f"SELECT count(*) FROM models {_FITS}", values).fetchone()[0]  # noqa: S608 -- no input
        sql = f"""
            SELECT model, state, words, since_ms, request_id, shift FROM models {_FITS}
            ORDER BY {SORTS[wanted.sort]} LIMIT :n OFFSET :at
        """  # noqa: S608 -- no input
        rows = self._db.execute(sql, {**values, "n": size, "at": (wanted.page - 1) * size})
        return [_row(*one) for one in rows], total

    def model(self, name: str) -> ModelRow | None:
        """One model; None if there is no such."""
        sql = "SELECT model, state, words, since_ms, request_id, shift FROM models WHERE model = ?"
        found = self._db.execute(sql, (name,)).fetchone()
        return _row(*found) if found else None

    def incidents(self, is_open: bool, size: int, page: int, model: str = "") -> tuple[list[Incident], int]:
        """One page of the incidents that are open or closed, the latest first, and their number."""
        where = "WHERE is_open = :is_open AND (:model = '' OR model = :model)"
        values = {"is_open": is_open, "model": model, "n": size, "at": (page - 1) * size}
        total = self._db.execute(f"SELECT count(*) FROM incidents {where}", values).fetchone()[0]  # noqa: S608
        sql = f"SELECT body FROM incidents {where} ORDER BY opened_ms DESC, incident_id LIMIT :n OFFSET :at"  # noqa: S608
        return [_incident(body) for (body,) in self._db.execute(sql, values)], total

    def holds(self) -> list[Incident]:
        """The open storms and held sources, the largest first."""
        sql = "SELECT body FROM incidents WHERE is_open AND model >= ? AND model < ?"
        found = [_incident(body) for (body,) in self._db.execute(sql, (FLEET_PREFIX, FLEET_PREFIX[:-1] + ";"))]
        return sorted(found, key=lambda one: (-one.model_count, one.incident_id))

    def incident(self, name: str) -> Incident | None:
        """The newest record of an incident."""
        found = self._db.execute("SELECT body FROM incidents WHERE incident_id = ?", (name,)).fetchone()
        return _incident(found[0]) if found else None

    def requests(self, is_over: bool, size: int, page: int, model: str = "") -> tuple[list[RequestStatus], int]:
        """One page of the requests that are open or over, the latest change first, and their number."""
        where = "WHERE is_over = :is_over AND (:model = '' OR model = :model)"
        values = {"is_over": is_over, "model": model, "n": size, "at": (page - 1) * size}
        total = self._db.execute(f"SELECT count(*) FROM requests {where}", values).fetchone()[0]  # noqa: S608
        sql = f"SELECT body FROM requests {where} ORDER BY since_ms DESC, request_id LIMIT :n OFFSET :at"  # noqa: S608
        return [_status(body) for (body,) in self._db.execute(sql, values)], total

    def request(self, name: str) -> RequestStatus | None:
        """Where a request or held storm stands; None if there is none with this id."""
        found = self._db.execute("SELECT body FROM requests WHERE request_id = ?", (name,)).fetchone()
        return _status(found[0]) if found else None

    def waiting(self) -> int:
        """How many requests, held storms and held sources wait for a person."""
        return self.count(
            "SELECT count(*) FROM requests WHERE NOT is_over AND state IN ('requested', 'awaiting_review', 'trained')"
        )

    def silences(self) -> list[Decision]:
        """The newest decision on each silence, the latest first."""
        sql = "SELECT body, max(seq) FROM records WHERE shared AND kind = 3 GROUP BY name ORDER BY 2 DESC"
        return [one for body, _ in self._db.execute(sql) if isinstance(one := decoded("decision", body), Decision)]

    def trail(self, models: Sequence[str]) -> Trail:
        """The records of these models, of the sources behind their requests, and of all storms and silences."""
        sql = "SELECT body FROM records WHERE kind = 2 AND model IN (SELECT value FROM json_each(?))"
        names = {*models} | {
            model
            for (body,) in self._db.execute(sql, (msgspec.json.encode(list(models)).decode(),))
            for model in self._models_of(msgspec.json.decode(body, type=RetrainRequest).incident_id)
        }
        sql = """
            SELECT kind, body FROM records WHERE seq IN (
                SELECT seq FROM (
                    SELECT seq FROM records WHERE kind < 4 AND model IN (SELECT value FROM json_each(:names))
                    ORDER BY seq DESC LIMIT :own
                )
                UNION ALL SELECT seq FROM (
                    SELECT seq FROM records INDEXED BY records_shared WHERE shared ORDER BY seq DESC LIMIT :shared
                )
            ) ORDER BY seq
        """
        trail = Trail()
        listed = msgspec.json.encode(sorted(names)).decode()
        for kind, body in self._db.execute(sql, {"names": listed, "own": TRAIL_MAX, "shared": SHARED_MAX}):
            trail.add(decoded(KINDS[kind], body))
        return trail

    def trail_of(self, name: str) -> Trail | None:
        """The records of the models behind an id of `explain`; None if no record has it."""
        models = self._models_of(name)
        return self.trail(models) if models else None

    def runs(self, request_id: str) -> list[dict[str, Any]]:
        """The control records about a request, as they are, in order."""
        sql = "SELECT body FROM records WHERE name = ? AND kind = ? ORDER BY seq"
        return [msgspec.json.decode(body) for (body,) in self._db.execute(sql, (request_id, PLACES[CONTROL]))]

    def profiles(self, model: str, column: str | None = None, most: int = 400) -> list[dict[str, Any]]:
        """The profiles of a column, or the newest of each column of a model, oldest first."""
        own = "SELECT id FROM series WHERE model = ?"
        newest = f"SELECT series, max(start_ms) FROM profiles WHERE series IN ({own}) GROUP BY 1"  # noqa: S608
        where = f'series IN ({own} AND "column" = ?)' if column is not None else f"(series, start_ms) IN ({newest})"
        values = (model,) if column is None else (model, column)
        joined = "SELECT * FROM profiles JOIN series ON series.id = series"
        sql = f"{joined} WHERE {where} ORDER BY start_ms DESC LIMIT {int(most)}"
        cursor = self._db.execute(sql, values)
        names = [one[0] for one in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        numbers = numbers_of(row.pop("numbers") for row in rows)
        return [_profile(row | own) for row, own in zip(rows, numbers, strict=True)][::-1]

    def silenced(self, model: str, column: str, most: int) -> tuple[int, list[str]]:
        """How many models that are not quiet a silence of these patterns would touch now, and some of their names."""
        sql = 'SELECT model, "column" FROM models WHERE state < ? AND "column" IS NOT NULL'
        rows = self._db.execute(sql, (ORDER[Attention.QUIET],))
        names = sorted(name for name, moved in rows if matches(name, model) and matches(moved, column))
        return len(names), names[:most]

    def psi(self, model: str, column: str, most: int) -> list[float]:
        """The PSI of the newest intervals of a column, oldest first."""
        sql = """
            SELECT psi FROM profiles WHERE psi IS NOT NULL AND series = (
                SELECT max(id) FROM series WHERE model = ? AND "column" = ? AND segment = ''
            ) ORDER BY start_ms DESC LIMIT ?
        """
        return [four_digits(psi) for (psi,) in self._db.execute(sql, (model, column, most))][::-1]

    def search(self, text: str) -> dict[str, Sequence[Any]]:
        """Models, columns that moved and ids that hold the text; without any, near names of models and columns."""
        like = {"text": text, "n": FOUND_MAX}
        models = self._names(
            "SELECT model FROM models WHERE instr(model, :text) ORDER BY model <> :text, model LIMIT :n", like
        )
        columns = self._columns('instr("column", :text)', like)
        ids = self._names(
            "SELECT DISTINCT name FROM records WHERE name >= :text AND name < :text || x'f4' LIMIT :n", like
        )
        near, moved = list[str](), list[tuple[str, int, str]]()
        if not (models or columns or ids):
            near, of = self.near(text), {one[0]: one for one in self._columns("1", {"n": SEARCHED_MAX})}
            moved = [of[name] for name in get_close_matches(text, list(of), NEAR)]
        return {"models": models, "columns": columns, "ids": ids, "near": near, "near_columns": moved}

    def _columns(self, where: str, values: Mapping[str, Any]) -> list[tuple[str, int, str]]:
        sql = f"""
            SELECT "column", count(*), min(model) FROM models WHERE "column" IS NOT NULL AND {where} GROUP BY 1 LIMIT :n
        """  # noqa: S608 -- no input
        return self._db.execute(sql, values).fetchall()

    def near(self, text: str) -> list[str]:
        """Names of models that are spelled like the text, the nearest first."""
        sql = "SELECT model FROM models ORDER BY substr(model, 1, 1) <> substr(:text, 1, 1) LIMIT :n"
        return get_close_matches(text, self._names(sql, {"text": text, "n": SEARCHED_MAX}), NEAR)

    def near_columns(self, model: str, text: str) -> list[str]:
        """Columns of a model that alerts or profiles name, those that are spelled like the text first."""
        sql = """
            SELECT DISTINCT "column" FROM series WHERE model = :model UNION
            SELECT DISTINCT json_extract(body, '$.column') FROM records WHERE kind = 0 AND model = :model LIMIT :n
        """
        names = self._names(sql, {"model": model, "n": SEARCHED_MAX})
        return get_close_matches(text, names, NEAR, 0.0)

    def days(self, kind: str, most: int = 30) -> list[tuple[int, int]]:
        """Event day since 1970 -> records of the kind, for the newest days, oldest first; days without any are 0."""
        found = dict(self._db.execute("SELECT day, n FROM days WHERE kind = ?", (PLACES[kind],)))
        last = max(found, default=0)
        return [(day, found.get(day, 0)) for day in range(max(min(found, default=0), last - most + 1), last + 1)]

    def newest(self) -> dict[str, Any]:
        """The latest event time of each kind of record, and the end of the last interval of each unit."""
        found = dict(self._db.execute("SELECT kind, newest_ms FROM kinds WHERE newest_ms <> 0"))
        times = {kind: time_of(found[place]) for kind, place in PLACES.items() if place in found}
        units = {unit: time_of(ms) for unit, ms in self._db.execute("SELECT unit, end_ms FROM units ORDER BY end_ms")}
        return {"kinds": times, "units": units}

    def faults(self, most: int) -> tuple[list[Alert], int]:
        """The latest alerts about data, delivery and limits that have not ended, and how many there are of them."""
        sql = """
            SELECT body FROM records WHERE seq IN (
                SELECT max(seq) FROM records WHERE kind = 0 AND model IN (SELECT model FROM models WHERE state = ?)
                GROUP BY model, name
            ) ORDER BY seq DESC
        """
        found = (decoded("alert", body) for (body,) in self._db.execute(sql, (ORDER[Attention.FAULT],)))
        held = [one for one in found if isinstance(one, Alert) and one.kind not in _NO_FAULTS]
        open_ones = [one for one in held if one.resolved_at is None]
        return open_ones[:most], len(open_ones)

    def _names(self, sql: str, values: Mapping[str, Any]) -> list[str]:
        return [one[0] for one in self._db.execute(sql, values)]

    def _models_of(self, name: str) -> list[str]:
        sql = "SELECT DISTINCT model FROM records WHERE name = ? AND kind < 4"
        return [model for (model,) in self._db.execute(sql, (name,)) if model is not None]


class Reader:
    """Gives each thread a connection of its own, for reading only."""

    def __init__(self, path: Path, settings: RetrainSettings | None = None) -> None:
        self._path, self._settings = path, settings  # of the decide fold; None where they are unknown
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    @contextmanager
    def snapshot(self) -> Iterator[ReadView]:
        """The read model as it is now; it stays so within the block."""
        db = getattr(self._local, "db", None)
        if db is None:
            address = f"file:{self._path}?mode=ro"
            db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            self._local.db = db
            self._opened.append(db)
        db.execute("BEGIN")
        try:
            yield ReadView(db, self._settings)
        finally:
            db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connections of all threads, which must have ended."""
        for db in self._opened:
            db.close()


def _row(model: str, state: int, words: str, since_ms: int | None, request_id: str, shift: bytes | None) -> ModelRow:
    moved = msgspec.json.decode(shift, type=Shift) if shift else None
    since = None if since_ms is None else time_of(since_ms)
    return ModelRow(model, STATES[state], words, since, moved, request_id)


def _incident(body: bytes) -> Incident:
    return msgspec.json.decode(body, type=Incident)


def _status(body: bytes) -> RequestStatus:
    return msgspec.json.decode(body, type=RequestStatus)


def _profile(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "series"):
        row.pop(name)
    row["start"], row["end"] = time_of(row.pop("start_ms")), time_of(row.pop("end_ms"))
    row["cells"] = cells_of(row["cells"])
    row["categories"] = msgspec.json.decode(row["categories"]) if row["categories"] else []
    return row
