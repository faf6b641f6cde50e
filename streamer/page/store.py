"""The read model of the page: published records in SQLite, in a file that is thrown away at the end.

    follower ─ add ─► records, profiles ─ summarize ─► models, incidents, requests      one writer
                                                              └─► Snapshot              one connection a thread

It is rebuilt from the log at each start, so it has no migrations and no backups.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from retrain.messages.ids import FLEET_PREFIX
from streamer.audit.source import KINDS, PROFILE
from streamer.contracts.profile_rows import MS, rows_in
from streamer.events import EPOCH

RECORDS_MAX: Final = 1_000_000  # of all kinds but profiles, the newest
PROFILES_MAX: Final = 3_000_000  # rows, the newest intervals
SERIES_MAX: Final = 400_000  # of profiles; further ones are left out
DAYS_MAX: Final = 400  # event days that are counted, the newest
TRIM_EVERY: Final = 0.1  # share of a bound by which it may be exceeded
CONTROL: Final = "control"
PLACES: Final[Mapping[str, int]] = {kind: place for place, kind in enumerate((*KINDS, CONTROL))}

LOADING: Final = "PRAGMA page_size=16384; PRAGMA cache_size=-32768; PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF"
FOLLOWING: Final = "PRAGMA journal_mode=WAL"  # readers see whole commits, and never wait
SCHEMA: Final = """
CREATE TABLE records (
    seq INTEGER PRIMARY KEY, kind INTEGER, model TEXT, name TEXT, shared INTEGER, at_ms INTEGER, body BLOB
);
CREATE TABLE models (
    model TEXT PRIMARY KEY, grp TEXT, state INTEGER, words TEXT, since_ms INTEGER, "column" TEXT, strength REAL,
    request_id TEXT, shift BLOB
);
CREATE TABLE incidents (
    incident_id TEXT PRIMARY KEY, model TEXT, is_open INTEGER, opened_ms INTEGER, last_ms INTEGER, strength REAL,
    body BLOB
);
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY, model TEXT, is_over INTEGER, state TEXT, since_ms INTEGER, body BLOB
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, model TEXT, version TEXT, segment TEXT, topic TEXT, "column" TEXT
);
CREATE TABLE profiles (
    series INTEGER, start_ms INTEGER, psi REAL, numbers BLOB, cells BLOB, categories TEXT,
    PRIMARY KEY (series, start_ms)
) WITHOUT ROWID;
CREATE TABLE days (day INTEGER, kind INTEGER, n INTEGER, PRIMARY KEY (day, kind)) WITHOUT ROWID;
CREATE TABLE units (unit TEXT PRIMARY KEY, end_ms INTEGER);
CREATE TABLE kinds (kind INTEGER PRIMARY KEY, newest_ms INTEGER);
"""
INDEXES: Final = """
CREATE INDEX IF NOT EXISTS records_of_model ON records (model, kind, name);
CREATE INDEX IF NOT EXISTS records_of_name ON records (name);
CREATE INDEX IF NOT EXISTS records_shared ON records (kind) WHERE shared;
CREATE INDEX IF NOT EXISTS models_by_severity ON models (state, strength DESC, model);
CREATE INDEX IF NOT EXISTS models_by_group ON models (grp, model, state);
CREATE INDEX IF NOT EXISTS incidents_by_time ON incidents (is_open, opened_ms);
CREATE INDEX IF NOT EXISTS incidents_of_model ON incidents (model);
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (is_over, since_ms);
CREATE INDEX IF NOT EXISTS requests_of_model ON requests (model);
CREATE INDEX IF NOT EXISTS series_of_model ON series (model, "column");
"""


class _EventTime(msgspec.Struct):
    event_time: datetime


class _AlertIndex(msgspec.Struct):
    alert_id: str
    model_id: str
    at: _EventTime
    ready_at: _EventTime | None = None
    resolved_at: _EventTime | None = None


class _Suppressed(msgspec.Struct):
    """Whether a decision is about a silence."""


class _RecordIndex(msgspec.Struct):
    """The fields by which the other kinds are found."""

    model_id: str = ""
    incident_id: str = ""
    request_id: str | None = None
    last_alert_at: datetime | None = None
    requested_at: datetime | None = None
    at: datetime | None = None
    silence: _Suppressed | None = None


def ms_of(at: datetime) -> int:
    """A time in whole milliseconds since 1970."""
    return (at - EPOCH) // MS


_alert = msgspec.json.Decoder(_AlertIndex).decode
_other = msgspec.json.Decoder(_RecordIndex).decode
Row = tuple[Any, ...]
RECORD_SQL: Final = "INSERT INTO records VALUES (NULL, ?, ?, ?, ?, ?, ?)"
PROFILE_SQL: Final = "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?, ?, ?)"
OLD_DAYS_SQL: Final = "DELETE FROM days WHERE day NOT IN (SELECT DISTINCT day FROM days ORDER BY day DESC LIMIT ?)"
DAY_SQL: Final = "INSERT INTO days VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"


class Store:
    """The writer. One thread may use it; readers open `path` on their own."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="driftline-ui-")
        self.path = Path(self._folder.name) / "page.sqlite"
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.db.executescript(f"{LOADING}; {SCHEMA}")
        self.records = 0  # that were added, profiles by rows
        self.unreadable = 0
        self.cut = 0  # records and rows of profiles that were left out
        self.dirty: set[str] = set()  # models whose summary is out of date
        self.is_shared_dirty = False
        self._rows: list[Row] = []
        self._profiles: list[Row] = []
        self._series: dict[tuple[str, ...], int] = {}
        self._fresh: list[Row] = []  # series
        self._units: dict[str, int] = {}
        self._newest: dict[int, int] = {}  # place of a kind -> the latest event time
        self._days = Counter[tuple[int, int]]()
        self._seq = self._kept = 0
        self._n_profiles = 0

    def rows(self) -> dict[str, tuple[int, int]]:
        """Table -> its rows, and the most that it may have; a tenth beyond the bound is deleted at once."""
        return {
            "records": (self._seq - self._kept, RECORDS_MAX), "profiles": (self._n_profiles, PROFILES_MAX),
            "series": (len(self._series), SERIES_MAX),
        }  # fmt: skip

    def close(self) -> None:
        """Delete the file."""
        self.db.close()
        self._folder.cleanup()

    def add(self, kind: str, value: bytes) -> None:
        """Take a record in; one that can't be read is counted. It is visible after `commit`."""
        try:
            if kind == PROFILE:
                self._add_profiles(value)
            else:
                self._add(kind, value)
        except (msgspec.MsgspecError, ValueError, OverflowError):
            self.unreadable += 1

    def commit(self) -> None:
        """Write what was added, and keep the bounds."""
        with self.transaction():
            self.db.executemany(RECORD_SQL, self._rows)
            self.db.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)", self._fresh)
            self.db.executemany(PROFILE_SQL, self._profiles)
            self.db.executemany(DAY_SQL, ((*key, n) for key, n in self._days.items()))
            self.db.executemany("INSERT OR REPLACE INTO units VALUES (?, ?)", self._units.items())
            self.db.executemany("INSERT OR REPLACE INTO kinds VALUES (?, ?)", self._newest.items())
            self._seq += len(self._rows)
            self._n_profiles += len(self._profiles)
            self._trim()
        for pending in (self._rows, self._fresh, self._profiles, self._days):
            pending.clear()

    def index(self) -> None:
        """Make the indexes, after the first load, as that is faster. From here on readers may open the file."""
        self.db.executescript(f"{INDEXES}; {FOLLOWING}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of the block."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:  # a full disk has ended it
                self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _add(self, kind: str, value: bytes) -> None:
        place = PLACES[kind]
        shared = 0
        if kind == "alert":
            alert = _alert(value)
            model, name = alert.model_id, alert.alert_id
            at = (alert.resolved_at or alert.ready_at or alert.at).event_time
            if alert.resolved_at is None and alert.ready_at is None:
                self._days[ms_of(at) // 86_400_000, place] += 1
        else:
            found = _other(value)
            moments = (found.last_alert_at, found.requested_at, found.at)
            at = next((one for one in moments if one is not None), EPOCH)
            model, name = found.model_id, (found.incident_id if kind == "incident" else found.request_id) or ""
            is_storm = kind == "incident" and model.startswith(FLEET_PREFIX)
            shared = int(is_storm or found.silence is not None)
            self.is_shared_dirty |= shared > 0
        at_ms = ms_of(at)
        self._newest[place] = max(self._newest.get(place, at_ms), at_ms)
        self._rows.append((place, model, name, shared, at_ms, value))
        self.records += 1
        if kind != CONTROL:
            self.dirty.add(model)

    def _add_profiles(self, value: bytes) -> None:
        found = rows_in(value)
        self._units[found.unit] = max(self._units.get(found.unit, 0), found.end_ms)
        for names, row in found.rows:
            series = self._series_of(names)
            if series:
                self._profiles.append((series, *row))
            else:
                self.cut += 1
            self.records += 1

    def _series_of(self, names: tuple[str, ...]) -> int:
        """The number of a series; 0 where there is no room for it."""
        found = self._series.get(names)
        if found is None:
            if len(self._series) >= SERIES_MAX:
                return 0
            names = tuple(map(sys.intern, names))
            found = self._series[names] = len(self._series) + 1
            self._fresh.append((found, *names))
            self.dirty.add(names[0])
        return found

    def _trim(self) -> None:
        if self._seq - self._kept > RECORDS_MAX * (1 + TRIM_EVERY):
            self.cut += self._seq - RECORDS_MAX - self._kept
            self._kept = self._seq - RECORDS_MAX
            self.db.execute("DELETE FROM records WHERE seq <= ?", (self._kept,))
        if self._days:
            self.db.execute(OLD_DAYS_SQL, (DAYS_MAX,))
        if self._n_profiles > PROFILES_MAX * (1 + TRIM_EVERY):
            self._trim_profiles()

    def _trim_profiles(self) -> None:
        n = int(self.db.execute("SELECT count(*) FROM profiles").fetchone()[0])
        for start_ms, rows in self.db.execute(
            "SELECT start_ms, count(*) FROM profiles GROUP BY 1 ORDER BY 1"
        ).fetchall():
            if n <= PROFILES_MAX:
                break
            self.db.execute("DELETE FROM profiles WHERE start_ms = ?", (start_ms,))
            n, self.cut = n - rows, self.cut + rows
        self._n_profiles = n
