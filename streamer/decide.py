"""The decide fold: alerts and control records to incidents, retrain requests and decisions, in one order for the fleet.

    alerts ──┬─► engine ─► actions ─┬─► incidents, keyed by incident_id
    control ─┤                      ├─► retrain requests, keyed by model_id
    clock ───┴► dead letters        └─► decisions, keyed by request_id

The thinking is done by `retrain.engine`; here are bytes, topics and keys. Incidents are keyed by their own id rather
than by model, because an incident stands for a cause and outlives the model's next one: a compacted topic then keeps
the last word on each incident, open or closed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from retrain.engine.engine import Engine
from retrain.messages.action import Action, NoAction, PublishDecision, PublishIncident
from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from retrain.state.state import EngineState
from streamer.codecs.base import Reason
from streamer.contracts.alert_reader import Unreadable, read_alert
from streamer.contracts.cloudevents import headers_of_request
from streamer.contracts.control_reader import read_control
from streamer.contracts.dead_letters import dead_letter, poison_letter
from streamer.contracts.topics import OutputTopics
from streamer.contracts.watermarks import SKEW_MAX_S, read_mark
from streamer.errors import UsageError
from streamer.eventlog.base import Output, Records
from streamer.runtime.order import in_order
from streamer.runtime.snapshot import Snapshot

Read = Alert | Control | Watermark | Unreadable
Told = tuple[Records, int, Read]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class DecideFold:
    """The one unit of the decide fold."""

    def __init__(
        self,
        settings: RetrainSettings,
        topics: OutputTopics | None = None,
        sources: Mapping[str, SourceSettings] | None = None,
        skew_max_s: float = SKEW_MAX_S,
    ) -> None:
        """`skew_max_s`: how far events, and so marks, may be ahead of their records at most."""
        self._sources = sources or {}  # which models use which source
        self.topics = topics or OutputTopics()
        self.tally: Counter[tuple[str, ...]] = Counter()  # ("outcomes", name), ("dead_letters", topic, reason), ...
        self.newest_event_time_ms = -1
        self._engine = Engine(settings, None, self._sources)
        self._skew_max_s = skew_max_s

    @property
    def models(self) -> int:
        """How many models and sources have alerted and are remembered."""
        return len(self._engine.state.models)

    def gauges(self) -> Mapping[str, int]:
        return {}  # models and series are those of the detect folds

    def step(self, stretch: Sequence[Records]) -> list[Output]:
        """Fold records of all topics in order of their times, alerts first, and marks where their time is reached.

        Returns what is to be published.
        """
        return [output for records, i, record in self._in_order(stretch) for output in self._fold(records, i, record)]

    def _in_order(self, stretch: Sequence[Records]) -> Iterator[Told]:
        """What is read, each with its record. A mark goes ahead of what is of a later time, or to the end."""
        clocks = [records for records in stretch if records.topic == self.topics.watermarks]
        read = [(r, i, self._read_mark(r, i)) for r in clocks for i in range(len(r))]
        marks = deque(sorted(read, key=_time_of))
        others = [records for records in stretch if records.topic != self.topics.watermarks]
        for records, i in in_order(sorted(others, key=lambda records: records.topic == self.topics.control)):
            record = self._read(records, i)
            while marks and not isinstance(record, Unreadable) and _time_of(marks[0]) < _reached_by(record):
                yield marks.popleft()
            yield records, i, record
        yield from marks

    @property
    def series(self) -> int:
        """None: series are detect's."""
        return 0

    def bury(self, records: Records, i: int) -> Output:
        """See `streamer.runtime.unit.Fold`."""
        self.tally["dead_letters", records.topic, Reason.POISON_RECORD.value] += 1
        return poison_letter(records, i, self.topics.dead_letters(records.topic))

    def dump(self) -> Snapshot:
        """The whole state; it shows this fold's own memory until the next step."""
        return Snapshot({"decide": _Dumped(self.newest_event_time_ms, self._engine.state)}, {})

    def load(self, snapshot: Snapshot) -> None:
        """Become the fold that was dumped. Raises `UsageError` when that was another kind of fold."""
        try:
            dumped = msgspec.convert(msgspec.to_builtins(snapshot.meta["decide"]), _Dumped)
        except (msgspec.ValidationError, KeyError) as problem:
            raise UsageError(f"this is not a state that the decide fold has dumped: {problem}") from problem
        self.newest_event_time_ms = dumped.newest_event_time_ms
        self._engine = Engine(self._engine.settings, dumped.engine, self._sources)

    def _fold(self, records: Records, i: int, record: Read) -> list[Output]:
        self.tally["records", records.topic] += 1
        if isinstance(record, Unreadable):
            self.tally["dead_letters", records.topic, record.reason.value] += 1
            return [dead_letter(records, i, record.reason, record.detail, self.topics.dead_letters(records.topic))]
        if isinstance(record, Alert):
            event_time_ms = (record.event_time - _EPOCH) // _MS
            self.newest_event_time_ms = max(self.newest_event_time_ms, event_time_ms)
        actions = self._engine.handle(record)
        for action in actions:
            self.tally["outcomes", action.reason.value] += 1
        return [output for action in actions if (output := self._output_of(action))]

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
            return Output(self.topics.incidents, incident.incident_id.encode(), msgspec.json.encode(incident))
        if isinstance(action, PublishDecision):
            decision = action.decision
            return Output(self.topics.decisions, decision.request_id.encode(), msgspec.json.encode(decision))
        request = action.request
        key, value = request.model_id.encode(), msgspec.json.encode(request)
        return Output(self.topics.requests, key, value, headers_of_request(request))


class _Dumped(msgspec.Struct):
    newest_event_time_ms: int
    engine: EngineState


def _time_of(mark: tuple[Records, int, Watermark | Unreadable]) -> datetime:
    return mark[2].at if isinstance(mark[2], Watermark) else _EPOCH


def _reached_by(record: Alert | Control) -> datetime:
    return record.event_time if isinstance(record, Alert) else record.at
