"""The follower: the thread that reads published records into the read model, and goes on reading those of a topic.

It also summarizes models, incidents and requests. The rules are those of `driftline alerts`, `incidents`, `requests`
and `report`: the page has none of its own.
"""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from streamer.audit.fleet import Fleet, Wanted
from streamer.audit.source import KINDS, PROFILE, RawRecord, Source, kinds_of
from streamer.audit.trail import decoded
from streamer.clock import Clock, SystemClock
from streamer.contracts.topics import OutputTopics
from streamer.errors import BrokerError, DriftlineError, UsageError
from streamer.logs import log_of
from streamer.page.progress import Progress
from streamer.page.rows import ORDER, Attention, ModelRow, groups_of, rows_of
from streamer.page.store import CONTROL, Store, ms_of

if TYPE_CHECKING:
    from streamer.eventlog.kafka.connection import KafkaConnection
    from streamer.eventlog.kafka.reader import KafkaReader

log = log_of("page")

COMMIT_RECORDS: Final = 20_000  # of the first load
POLL_S: Final = 0.2
OPTIONAL_POLL_S: Final = 0.05
RETRY_S: Final = 5.0  # after a broker failed
SUMMARY_S: Final = 1.0  # summaries are at most so much older than records; of a fleet that alerts all at once, longer


MODELS_AT_ONCE: Final = 1_000
QUIET: Final = ORDER[Attention.QUIET]
# Incidents, requests and decisions of some models, with all storms and silences, in order; and the newest of an alert.
DECISIONS: Final = """
    SELECT kind, body FROM records WHERE seq IN (
        SELECT seq FROM records WHERE kind IN (1, 2, 3) AND model IN (SELECT value FROM json_each(?))
        UNION ALL SELECT seq FROM records WHERE shared
    ) ORDER BY seq
"""
NEWEST_ALERTS: Final = """
    SELECT body FROM records WHERE seq IN (
        SELECT max(seq) FROM records WHERE kind = 0 AND model IN (SELECT value FROM json_each(?)) GROUP BY model, name
    ) ORDER BY seq
"""


class ReadStretch(list[RawRecord]):
    """Records that came together, and when the oldest and the newest of them were written; 0 where that is unknown."""

    oldest_ms: int = 0
    newest_ms: int = 0


class Arrivals(Protocol):
    """Where records come from: a source that ends, or a log that goes on."""

    def __call__(self) -> Generator[Sequence[RawRecord] | None]:
        """Stretches of records; None when all that was there at the start has been given. May raise errors."""
        ...


class Follower:
    """Reads arrivals into a store until it is stopped."""

    def __init__(self, store: Store, outputs: OutputTopics, arrivals: Arrivals, clock: Clock | None = None) -> None:
        self.progress = Progress()
        self._store, self._outputs, self._arrivals = store, outputs, arrivals
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftline-ui-follower", daemon=True)
        self._summarized_s = 0.0
        self._oldest_ms = 0  # of the records that no reader sees yet

    def start(self) -> None:
        """Begin to read, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within a poll."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def load(self) -> None:
        """Read on this thread until the arrivals end. Raises their errors."""
        arrivals = self._arrivals()
        # Records make no cycles, and to look for some takes a third of the time while hundreds of thousands come.
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            for stretch in arrivals:
                if self._stop.is_set():
                    return
                self._take(stretch)
                if was_collecting and self.progress.is_loaded:
                    gc.enable()
        finally:
            if was_collecting:
                gc.enable()
            arrivals.close()
        self._publish(now=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.load()
            except BrokerError as problem:
                self.progress.problem = str(problem)
                self._stop.wait(RETRY_S)
                continue
            except DriftlineError as problem:
                self.progress.problem = str(problem)
            except sqlite3.OperationalError as problem:  # the disk is full, most likely
                self.progress.problem = (
                    f"the read model can't be written ({problem}): make room in {self._store.path.parent.parent}, or "
                    "name another folder by TMPDIR, and start `driftline ui` again"
                )
                log.error(self.progress.problem)
            except Exception as problem:
                log.exception("the read model can't go on")
                self.progress.problem = f"the read model can't go on ({problem}): restart `driftline ui`"
            return

    def _take(self, stretch: Sequence[RawRecord] | None) -> None:
        if stretch is None:
            self._store.commit()
            self._store.index()
            self._oldest_ms = 0  # what was there at the start has no lag
            self._publish(now=True)
            self.progress.is_loaded = True  # ready once readers can see it
            return
        self.progress.problem = ""
        if isinstance(stretch, ReadStretch) and stretch.oldest_ms:
            self.progress.newest_ms = max(self.progress.newest_ms, stretch.newest_ms)
            self._oldest_ms = min(self._oldest_ms or stretch.oldest_ms, stretch.oldest_ms)
        for kind, value in stretch:
            self._store.add(kind, value)
        if stretch:
            self._store.commit()
            self.progress.version += 1
        if self.progress.is_loaded:
            self._publish(now=False)
        self._note()

    def _publish(self, now: bool) -> None:
        """Summarize what has changed; readers see it afterwards."""
        at_s = self._clock.monotonic_s()
        if self._store.dirty or self._store.is_shared_dirty:
            if not now and at_s < self._summarized_s:
                return
            summarize(self._store, self._outputs)
            took_s = self._clock.monotonic_s() - at_s
            self._summarized_s = at_s + max(SUMMARY_S, 2 * took_s)  # a heavy fleet leaves time to answer
            self._note()
            self.progress.version += 1
        if self._oldest_ms:
            self.progress.lag_s = max(self._clock.now_s() - self._oldest_ms / 1000, 0.0)
            self._oldest_ms = 0

    def _note(self) -> None:
        self.progress.records = self._store.records
        self.progress.unreadable, self.progress.cut = self._store.unreadable, self._store.cut
        self.progress.rows = self._store.rows()


def from_source(source: Source) -> Arrivals:
    """The records of a source that ends."""

    def read() -> Generator[Sequence[RawRecord] | None]:
        stretch: list[RawRecord] = []
        for one in source():
            stretch.append(one)
            if len(stretch) == COMMIT_RECORDS:
                yield stretch
                stretch = []
        yield stretch
        yield None

    return read


def from_topics(connection: KafkaConnection, outputs: OutputTopics, profiles: bool) -> Arrivals:
    """The output topics from their beginning on, without end; profiles only where the service publishes them.

    After a failure of the broker it goes on where it was. The topics of control records and of profiles are left out
    where they are missing or may not be read.
    """
    from streamer.eventlog.kafka.reader import KafkaReader

    kinds = {topic: kind for topic, kind in kinds_of(outputs).items() if topic != outputs.profiles}
    optional = {outputs.control: CONTROL} | ({outputs.profiles: PROFILE} if profiles else {})
    reached: dict[tuple[str, int], int] = {}

    def read() -> Generator[Sequence[RawRecord] | None]:
        reader = KafkaReader(connection, list(kinds), {**reached})
        others = [_OptionalTopic(connection, topic, kind, reached) for topic, kind in optional.items()]
        try:
            is_loaded = False
            while True:  # until the follower is stopped and lets it go
                found = _polled(reader, kinds, POLL_S)
                for other in others:
                    found += other.poll()
                yield found
                reached.update(reader.positions())
                if not is_loaded and (is_loaded := reader.at_end() and all(other.at_end() for other in others)):
                    yield None
        finally:
            reader.close()
            for other in others:
                other.close()

    return read


class _OptionalTopic:
    """A topic as far as it may be read: control records have runs and unanswered commands; profiles draw intervals."""

    def __init__(self, connection: KafkaConnection, topic: str, kind: str, reached: dict[tuple[str, int], int]) -> None:
        from streamer.eventlog.kafka.reader import KafkaReader

        self._kinds, self._reached = {topic: kind}, reached
        self._reader: KafkaReader | None = None
        with suppress(BrokerError):
            self._reader = KafkaReader(connection, [topic], {**reached})

    def poll(self) -> list[RawRecord]:
        if self._reader is None:
            return []
        try:
            found = _polled(self._reader, self._kinds, OPTIONAL_POLL_S)
        except BrokerError:
            self.close()
            return []
        self._reached.update(self._reader.positions())
        return found

    def at_end(self) -> bool:
        """Whether all records that were there at the start are read."""
        return self._reader is None or self._reader.at_end()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _polled(reader: KafkaReader, kinds: dict[str, str], timeout_s: float) -> ReadStretch:
    found = ReadStretch()
    for records in reader.poll(timeout_s):
        kind, values = kinds[records.topic], map(records.value_of, range(len(records)))
        found += [(kind, value) for value in values if value is not None]
        times = [ms for ms in records.timestamp_ms.tolist() if ms > 0]
        if times:
            found.oldest_ms = min(found.oldest_ms or times[0], *times)
            found.newest_ms = max(found.newest_ms, *times)
    return found


def summarize(store: Store, outputs: OutputTopics) -> None:
    """Bring the summaries of all models up to date that have new records, or that a storm or silence may touch."""
    names = {*store.dirty}
    if store.is_shared_dirty:
        names |= {name for (name,) in store.db.execute("SELECT model FROM models WHERE state < ?", (QUIET,))}
    ordered = sorted(names)
    with store.transaction():
        for first in range(0, len(ordered), MODELS_AT_ONCE):
            some = ordered[first : first + MODELS_AT_ONCE]
            try:
                _summarize(store.db, outputs, some)
            except UsageError:
                _drop_unreadable(store, some)
                _summarize(store.db, outputs, some)
    store.dirty.clear()
    store.is_shared_dirty = False


def _drop_unreadable(store: Store, names: Sequence[str]) -> None:
    """Delete and count the records of these models, and those of storms and silences, that this version can't read."""
    sql = """
        SELECT seq, kind, body FROM records
        WHERE kind < 4 AND (shared OR model IN (SELECT value FROM json_each(?)))
    """
    for seq, kind, body in store.db.execute(sql, (msgspec.json.encode(names).decode(),)).fetchall():
        try:
            decoded(KINDS[kind], body)
        except UsageError:
            store.db.execute("DELETE FROM records WHERE seq = ?", (seq,))
            store.unreadable += 1


def _summarize(db: sqlite3.Connection, outputs: OutputTopics, names: Sequence[str]) -> None:
    listed = msgspec.json.encode(names).decode()
    fleet = Fleet(outputs, ((KINDS[kind], body) for kind, body in db.execute(DECISIONS, (listed,))))
    newest = (("alert", body) for (body,) in db.execute(NEWEST_ALERTS, (listed,)))
    alerts = fleet.alerts(newest, Wanted(ended=True))
    found = {row.model_id: row for row in rows_of(fleet, alerts)}
    wanted = {name for name in names if name and not name.startswith((FLEET_PREFIX, SOURCE_PREFIX))}
    group_of = {name: group for group, members in groups_of(wanted) for name in members}
    db.executemany(
        "INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_model(name, group_of[name], found.get(name)) for name in wanted),
    )
    db.executemany(
        "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?)",
        map(_incident, [*fleet.closed.values(), *fleet.open.values()]),
    )
    held = {one.request_id for one in fleet.requests(ended=True)}
    db.executemany("DELETE FROM requests WHERE request_id = ?", ((name,) for name in fleet.closed if name not in held))
    db.executemany(
        "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?)",
        (
            (one.request_id, one.model_id, one.is_over, one.state.value, ms_of(one.since), msgspec.json.encode(one))
            for one in fleet.requests(ended=True)
        ),
    )


def _model(name: str, group: str, row: ModelRow | None) -> tuple[object, ...]:
    """A model without alerts, incidents and requests is quiet."""
    if row is None:
        return name, group, QUIET, "Quiet", None, None, 0.0, "", None
    shift = row.shift
    since_ms = ms_of(row.since) if row.since else None
    return (
        name, group, ORDER[row.state], row.words, since_ms, shift.column if shift else None,
        shift.strength if shift else 0.0, row.request_id, msgspec.json.encode(shift) if shift else None,
    )  # fmt: skip


def _incident(one: Incident) -> tuple[object, ...]:
    strength = one.columns[0].strength if one.columns else 0.0
    is_open = one.state is IncidentState.OPEN
    return (
        one.incident_id, one.model_id, is_open, ms_of(one.opened_at), ms_of(one.last_alert_at), strength,
        msgspec.json.encode(one),
    )  # fmt: skip
