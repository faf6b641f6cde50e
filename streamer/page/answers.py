"""What the page knows of the service beside its records: lag, workers and dead letters, asked of Kafka or of a file.

A thread asks the brokers every few seconds. While they give no answer, the last one stays, with its time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamer.audit.source import DEAD_LETTER, RawRecord
from streamer.clock import Clock, SystemClock
from streamer.errors import DriftlineError
from streamer.events import time_of
from streamer.logs import log_of

if TYPE_CHECKING:
    from streamer.app.standing import ServiceStanding, UnitStanding
    from streamer.config import Config
    from streamer.page.follow import Arrivals

log = log_of("page")

ASK_EVERY_S: Final = 10.0
LOADED_POLL_S: Final = 0.2
STUCK_S: Final = 60.0  # without a commit while records wait, after which a unit is said to stand still
OFFSETS_MAX: Final = 200  # of each partition with dead letters, the newest
REASONS_MAX: Final = 100  # of topics and reasons
SAMPLES: Final = 3  # of a reason, the newest
CHARS_MAX: Final = 300  # of a message


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit as of an answer of the brokers."""

    unit: str
    behind: int  # records that wait; with `is_exact` false, at most
    is_exact: bool
    waits_s: float | None  # age of the oldest record that waits; None: none does, or it wasn't read
    commit_age_s: float | None  # None: it never committed, or the brokers don't say
    committed_at: datetime | None
    events_until: datetime | None  # event time that it has reached, by the newest watermarks
    is_stuck: bool  # records wait, and no commit has come for `STUCK_S`


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The service, its worst unit first."""

    at: datetime  # when the brokers answered
    workers: int
    state: str  # of the group, in Kafka's words
    units: list[UnitRow]


@dataclass(frozen=True, slots=True)
class LetterSample:
    """Where a dead letter came from, and what is wrong with it."""

    partition: int
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class LetterRow:
    """The dead letters of one topic and reason."""

    topic: str
    reason: str
    records: int
    newest: datetime | None  # time of the newest of these records
    samples: list[LetterSample]  # the latest first


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known now. A `problem` says why there is no newer answer."""

    source: str = "none"  # "brokers", "file" or "none"
    service: ServiceAnswer | None = None
    service_problem: str = ""
    letters: list[LetterRow] = field(default_factory=list)
    letters_at: datetime | None = None  # when the brokers answered; None: never, or of a file
    letters_problem: str = ""
    failing_since: datetime | None = None  # since the first failure of those in a row
    version: int = 0  # increases with each answer


class _LetterLine(msgspec.Struct):
    """A dead letter of a replay."""

    topic: str
    reason: str
    partition: int = 0
    offset: int = 0
    timestamp: int = -1
    message: str = ""


_line = msgspec.json.Decoder(_LetterLine).decode


class LetterTable:
    """Dead letters by topic and reason. Their values stay where they are: they may be data of people."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[list[int], deque[LetterSample]]] = {}

    def add(self, topic: str, reason: str, place: tuple[int, int], timestamp_ms: int, message: str) -> None:
        """Count one; `place` is its partition and offset."""
        key = topic[:CHARS_MAX], reason[:CHARS_MAX]
        if key not in self._found and len(self._found) >= REASONS_MAX:
            return
        counts, samples = self._found.setdefault(key, ([0, -1], deque(maxlen=SAMPLES)))
        counts[0] += 1
        counts[1] = max(counts[1], timestamp_ms)
        samples.appendleft(LetterSample(*place, message[:CHARS_MAX]))

    def rows(self) -> list[LetterRow]:
        """The most frequent first."""
        found = [
            LetterRow(topic, reason, n, time_of(newest_ms) if newest_ms > 0 else None, list(samples))
            for (topic, reason), ((n, newest_ms), samples) in self._found.items()
        ]
        return sorted(found, key=lambda one: (-one.records, one.topic, one.reason))


class FileAnswers:
    """What the output of a replay tells: its dead letters, which are taken out of its arrivals."""

    def __init__(self) -> None:
        self._table, self._answers = LetterTable(), Answers("file")

    def __call__(self) -> Answers:
        return self._answers

    def without_letters(self, arrivals: Arrivals) -> Arrivals:
        """The other records."""

        def read() -> Generator[Sequence[RawRecord] | None]:
            for stretch in arrivals():
                if stretch is None:
                    self._answers = replace(self._answers, letters=self._table.rows())
                    yield None
                    continue
                for kind, value in stretch:
                    if kind == DEAD_LETTER:
                        self._add(value)
                yield [one for one in stretch if one[0] != DEAD_LETTER]

        return read

    def _add(self, value: bytes) -> None:
        try:
            one = _line(value)
        except msgspec.MsgspecError:
            return
        self._table.add(one.topic, one.reason, (one.partition, one.offset), one.timestamp, one.message)


class BrokerWatch:
    """Asks the brokers, on a thread of its own."""

    def __init__(
        self,
        standing: Callable[[], ServiceStanding],
        letters: Callable[[], list[LetterRow]],
        clock: Clock | None = None,
    ) -> None:
        """Both raise `BrokerError` where Kafka gives no answer."""
        self._standing, self._letters, self._clock = standing, letters, clock or SystemClock()
        self._answers = Answers("brokers")
        self._waits_from: dict[str, tuple[datetime | None, datetime]] = {}  # unit -> its last commit, since when
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self) -> Answers:
        return self._answers

    def start(self, is_loaded: Callable[[], bool]) -> None:
        """Begin to ask once the records are read, which needs the machine for itself."""

        def run() -> None:
            while not is_loaded() and not self._stop.wait(LOADED_POLL_S):
                pass
            while not self._stop.is_set():
                began_s = self._clock.monotonic_s()
                self.ask()
                self._stop.wait(max(ASK_EVERY_S, 4 * (self._clock.monotonic_s() - began_s)))

        self._thread = threading.Thread(target=run, name="driftline-ui-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. A question that is under way gets a moment to end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def ask(self) -> None:
        """Ask once. What the brokers do not answer stays as it was."""
        before, now = self._answers, time_of(int(self._clock.now_s() * 1000))
        service, service_problem = _tried(lambda: self._service(self._standing(), now))
        letters, letters_problem = _tried(self._letters)
        failing_since = (before.failing_since or now) if service_problem or letters_problem else None
        self._answers = Answers(
            "brokers", service or before.service, service_problem, before.letters if letters is None else letters,
            before.letters_at if letters is None else now, letters_problem, failing_since, before.version + 1,
        )  # fmt: skip

    def _service(self, found: ServiceStanding, now: datetime) -> ServiceAnswer:
        rows = [self._row(one, now) for one in found.units]
        rows.sort(
            key=lambda one: (not one.is_stuck, one.is_exact or not one.behind, -(one.waits_s or 0.0), -one.behind)
        )
        return ServiceAnswer(now, found.workers, found.state, rows)

    def _row(self, one: UnitStanding, now: datetime) -> UnitRow:
        commit, since = self._waits_from.get(one.unit, (None, now))
        if not one.behind or commit != one.committed_at:
            since = now
        self._waits_from[one.unit] = one.committed_at, since
        is_stuck = one.committed_at is not None and (now - since).total_seconds() >= STUCK_S
        return UnitRow(
            one.unit, one.behind, one.is_exact, _age_s(one.waiting_since, now), _age_s(one.committed_at, now),
            one.committed_at, one.events_until, is_stuck,
        )  # fmt: skip


def _age_s(at: datetime | None, now: datetime) -> float | None:
    """Clocks of two machines differ, so it may not be negative."""
    return None if at is None else max((now - at).total_seconds(), 0.0)


def _tried(ask: Callable[[], Any]) -> tuple[Any, str]:
    """The answer, or None and why there is none."""
    try:
        return ask(), ""
    except DriftlineError as problem:
        return None, str(problem)
    except Exception as problem:  # of the client of Kafka: the page lives on
        log.exception("Kafka could not be asked")
        return None, f"{type(problem).__name__}: {problem}"


def watch_of(config: Config) -> BrokerWatch:
    """The watch over the service of a configuration."""

    def standing() -> ServiceStanding:
        from streamer.app.standing import standing_of

        return standing_of(config)

    return BrokerWatch(standing, _LettersOf(config))


class _LettersOf:
    """The newest dead letters of a service, read only where new ones have come."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ends: dict[tuple[str, int], int] = {}
        self._rows: list[LetterRow] = []

    def __call__(self) -> list[LetterRow]:
        from streamer.app.dead_letters import letter_ends, newest_letters

        ends = letter_ends(self._config)
        if ends != self._ends:
            table = LetterTable()
            for one in newest_letters(self._config, ends, OFFSETS_MAX):
                table.add(one.topic, one.reason, (one.partition, one.offset), one.timestamp_ms, one.message)
            self._rows, self._ends = table.rows(), ends
        return self._rows
