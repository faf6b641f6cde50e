"""The decide fold: alerts and control records to incidents, retrain requests and decisions, in one order for the fleet.

    alerts ──┬─► engine ─► actions ─┬─► incidents, keyed by incident_id
    control ─┤                      ├─► retrain requests, keyed by model_id
    clock ───┴► dead letters        └─► decisions, keyed by request_id

`retrain.engine` decides; this module adds bytes, topics and keys. The key of an incident is its own id, not the model,
because a model has several incidents over time. A compacted topic then keeps the newest record of each incident, open
or closed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec

from retrain.engine.census import census_of, tables_of
from retrain.engine.engine import Engine
from retrain.messages.action import Action, NoAction, PublishDecision, PublishIncident
from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from retrain.state.state import EngineState
from streamer.clock import StageTimes
from streamer.contracts.alert_reader import Unreadable, read_alert
from streamer.contracts.alert_time import CLOCK_HEADER, held_back, own_limit_ms
from streamer.contracts.cloudevents import headers_of_decision, headers_of_incident, headers_of_request
from streamer.contracts.control_reader import read_control
from streamer.contracts.dead_letters import dead_letter, set_aside_letter
from streamer.contracts.encoding import json_of
from streamer.contracts.event_clock import NEVER
from streamer.contracts.topics import OutputTopics
from streamer.contracts.watermarks import SKEW_MAX_S, read_mark
from streamer.errors import UsageError
from streamer.eventlog.base import Output, Records
from streamer.logs import log_of
from streamer.runtime.fold import Gauges, ModelFacts
from streamer.runtime.order import in_order
from streamer.runtime.snapshot import Snapshot

log = log_of("decide")

Read = Alert | Control | Watermark | Unreadable
Item = tuple[Records, int, Read]  # a record, as an index into its records, and what it holds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class DecideFold:
    """The one unit of the decide fold."""

    joins_epochs: ClassVar[bool] = False  # the watermarks of an epoch precede its later alerts

    def __init__(
        self,
        settings: RetrainSettings,
        topics: OutputTopics | None = None,
        sources: Mapping[str, SourceSettings] | None = None,
        skew_max_s: float = SKEW_MAX_S,
        reference_url: str = "",
    ) -> None:
        """Start empty.

        topics: names of the output topics; None: the defaults
        sources: the models that use each source
        skew_max_s: how far the event time of a watermark may be ahead of the time of its record, in seconds
        reference_url: where the training references are, for requests; "" where no other machine can read them
        """
        self._sources = sources or {}
        self.topics = topics or OutputTopics()
        self.tally: Counter[tuple[str, ...]] = Counter()  # ("outcomes", name), ("dead_letters", topic, reason), ...
        self.stages = StageTimes()
        self.newest_event_time_ms = -1
        self._newest_mark_ms = NEVER
        self._has_logged_ahead = False  # once for each process, so not part of the state
        self._engine = Engine(settings, None, self._sources)
        self._skew_max_s = skew_max_s
        self._reference_url = reference_url

    @property
    def models(self) -> int:
        """How many models and sources the engine remembers."""
        return len(self._engine.state.models)

    @property
    def series(self) -> int:
        """0: only the detect fold has series."""
        return 0

    def gauges(self) -> Gauges:
        """The rows of what is bounded; models and series are counted by the detect folds."""
        tables = tables_of(self._engine.settings, self._engine.state)
        rows: dict[tuple[str, ...], float] = {("rows", table): n for table, (n, _) in tables.items()}
        return rows | {("rows_max", table): most for table, (_, most) in tables.items()}

    def census(self) -> Gauges:
        """Requests, incidents, holds and budget; ages are those at the fleet's time."""
        return census_of(self._engine.settings, self._engine.state)

    def model_facts(self) -> ModelFacts | None:
        """None: the detect folds have the events of models."""
        return None

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        """Fold records of all topics in order of their times, alerts first, and watermarks where their time is reached.

        Returns the records to publish, in order. An unreadable record becomes a dead letter.
        """
        with self.stages.of("decide"):
            ordered = self._in_order(stretch)
            return [output for records, i, record in ordered for output in self._fold(records, i, record)]

    def _in_order(self, stretch: Sequence[Records]) -> Iterator[Item]:
        """The records of an epoch, in order. A watermark precedes the first record of a later event time.

        An alert that is ahead of its own record or unit brings no watermark forward: others may precede that time.
        """
        clocks = [records for records in stretch if records.topic == self.topics.watermarks]
        marks = deque(sorted(((r, i, self._read_mark(r, i)) for r in clocks for i in range(len(r))), key=_time_of))
        others = [records for records in stretch if records.topic != self.topics.watermarks]
        for records, i in in_order(sorted(others, key=lambda records: records.topic == self.topics.control)):
            record = self._read(records, i)
            reached = self._reached_by(record, records, i)
            while marks and _time_of(marks[0]) < reached:
                yield marks.popleft()
            yield records, i, record
        yield from marks

    def new_references(self) -> Mapping[str, Mapping[str, str]]:
        """None: only the detect folds compare with training data."""
        return {}

    def refer(self, references: Mapping[str, Mapping[str, str]]) -> None:  # noqa: ARG002
        """Nothing; see `new_references`."""
        return

    def to_dead_letter(self, records: Records, i: int) -> Output:
        """See `streamer.runtime.unit.Fold`."""
        reason, letter = set_aside_letter(records, i, self.topics.dead_letters(records.topic))
        self.tally["dead_letters", records.topic, reason.value] += 1
        return letter

    def dump(self) -> Snapshot:
        """The whole state. It refers to the memory of this fold, so it is valid until the next step."""
        return Snapshot({"decide": _Dumped(self.newest_event_time_ms, self._newest_mark_ms, self._engine.state)}, {})

    def load(self, snapshot: Snapshot) -> None:
        """Take over a state. Raises `UsageError` if another kind of fold has dumped it."""
        try:
            dumped = msgspec.convert(msgspec.to_builtins(snapshot.meta["decide"]), _Dumped)
        except (msgspec.ValidationError, KeyError) as problem:
            raise UsageError(f"this is not a state that the decide fold has dumped: {problem}") from problem
        self.newest_event_time_ms = dumped.newest_event_time_ms
        self._newest_mark_ms = dumped.newest_mark_ms
        self._engine = Engine(self._engine.settings, dumped.engine, self._sources)

    def _fold(self, records: Records, i: int, record: Read) -> list[Output]:
        self.tally["records", records.topic] += 1
        if isinstance(record, Unreadable):
            self.tally["dead_letters", records.topic, record.reason.value] += 1
            return [dead_letter(records, i, record.reason, record.detail, self.topics.dead_letters(records.topic))]
        if isinstance(record, Alert):
            record = self._held_back(record, records, i)
            event_time_ms = (record.event_time - _EPOCH) // _MS
            self.newest_event_time_ms = max(self.newest_event_time_ms, event_time_ms)
        elif isinstance(record, Watermark):
            self._newest_mark_ms = max(self._newest_mark_ms, (record.at - _EPOCH) // _MS)
        actions = self._engine.handle(record)
        for action in actions:
            self.tally["outcomes", action.reason.value] += 1
        return [output for action in actions if (output := self._output_of(action))]

    def _held_back(self, alert: Alert, records: Records, i: int) -> Alert:
        """The alert as of the fleet's time, counted and logged, if it is ahead of it; else as it is."""
        now, has_marks = self._engine.state.now, self._newest_mark_ms != NEVER
        headers, record_ms = records.headers_with(CLOCK_HEADER, i), int(records.timestamp_ms[i])
        held = held_back(alert, record_ms, headers, now, has_marks, self._skew_max_s)
        if held is not alert:
            self.tally["ahead", records.topic] += 1
            if not self._has_logged_ahead:
                self._has_logged_ahead = True
                log.warning(
                    "%s[%d] at offset %d: an alert of %.60r is dated %s, too far ahead to move the time of the fleet. "
                    "It is folded as of %s. Check the clock of the producer. Further ones are only counted",
                    records.topic, records.partition, records.offset[i], alert.model_id, alert.event_time,
                    held.event_time,
                )  # fmt: skip
        return held

    def _reached_by(self, record: Read, records: Records, i: int) -> datetime:
        """The time that a record brings with it, up to which watermarks precede it."""
        if isinstance(record, Control):
            return record.at
        if not isinstance(record, Alert):
            return _EPOCH
        headers, record_ms = records.headers_with(CLOCK_HEADER, i), int(records.timestamp_ms[i])
        is_ahead = (record.event_time - _EPOCH) // _MS > own_limit_ms(record_ms, headers, self._skew_max_s)
        return _EPOCH if is_ahead else record.event_time

    def _read_mark(self, records: Records, i: int) -> Watermark | Unreadable:
        return read_mark(records.value_of(i), int(records.timestamp_ms[i]), self._skew_max_s)

    def _read(self, records: Records, i: int) -> Alert | Control | Unreadable:
        if records.topic == self.topics.control:
            return read_control(records.value_of(i), int(records.timestamp_ms[i]))
        return read_alert(records.value_of(i))

    def _output_of(self, action: Action) -> Output | None:
        if isinstance(action, NoAction):
            return None
        if isinstance(action, PublishIncident):
            incident = action.incident
            key, value = incident.incident_id.encode(), json_of(incident)
            return Output(self.topics.incidents, key, value, headers_of_incident(incident, value))
        if isinstance(action, PublishDecision):
            decision = action.decision
            key, value = decision.request_id.encode(), json_of(decision)
            return Output(self.topics.decisions, key, value, headers_of_decision(decision, value))
        request = action.request
        if request.reference is not None:
            request = replace(request, reference=replace(request.reference, url=self._reference_url))
        key, value = request.model_id.encode(), json_of(request)
        return Output(self.topics.requests, key, value, headers_of_request(request))


class _Dumped(msgspec.Struct):
    newest_event_time_ms: int
    newest_mark_ms: int
    engine: EngineState


def _time_of(mark: tuple[Records, int, Watermark | Unreadable]) -> datetime:
    return mark[2].at if isinstance(mark[2], Watermark) else _EPOCH
