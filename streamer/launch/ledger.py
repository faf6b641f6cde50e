"""The ledger of the launcher: requests, decisions and control records, folded into what is left to do.

The log is the ledger. Whatever the launcher has done is a control record, so a new process finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from retrain.messages.control import ControlKind
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.lifecycle import REFUSALS
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import read_control
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.events import time_of
from streamer.launch.base import LaunchRequest, Run

ENDED_MAX: Final = 1_000_000  # ids of ended requests that are remembered, the newest
_S = RequestState
ENDED: Final = frozenset({_S.HELPED, _S.DID_NOT_HELP, _S.REJECTED, _S.FAILED, _S.EXPIRED, _S.WITHDRAWN})
TO_CANCEL: Final = frozenset({_S.REJECTED, _S.EXPIRED, _S.WITHDRAWN})


class _Made(msgspec.Struct):
    approval: str = ""


class _DecisionRead(msgspec.Struct):
    request_id: str
    model_id: str
    state: RequestState | None
    reason: Outcome
    at: datetime
    model_version: str = ""
    champion: dict[str, float] = {}
    challenger: dict[str, float] = {}


class _Said(msgspec.Struct):
    kind: str
    request_id: str
    at: datetime
    run: str = ""
    link: str = ""


Report = dict[str, Any]  # the fields of a control record; or `request_id`, and as `raw` the record of a trainer


@dataclass(slots=True)
class Task:
    """A request, and what has become of it. `request` is None until its record is read."""

    request: LaunchRequest | None = None
    state: RequestState | None = None
    run: Run | None = None
    started_at: datetime | None = None
    challenger_version: str = ""
    champion: dict[str, float] = field(default_factory=dict)
    challenger: dict[str, float] = field(default_factory=dict)
    reviewed: bool = False  # by the rule, with these metrics
    cancelled: bool = False


class Ledger:
    """Tasks by request id. Topics may come in any order; the records of one topic come in theirs."""

    def __init__(self, topics: OutputTopics) -> None:
        self._topics = topics
        self.tasks: dict[str, Task] = {}
        self._ended: dict[str, RequestState] = {}
        self.unreadable = 0

    def add(self, records: Records) -> None:
        """Take a stretch of one of the three topics in. Records that can't be read are counted."""
        for i in range(len(records)):
            try:
                self._add(records.topic, records.value_of(i) or b"")
            except (msgspec.MsgspecError, KeyError):
                self.unreadable += 1

    def end(self, request_id: str) -> None:
        """Forget a request that is over and done with."""
        task = self.tasks.pop(request_id, None)
        if task is not None and task.state is not None:
            self._ended[request_id] = task.state
            if len(self._ended) > ENDED_MAX:
                del self._ended[next(iter(self._ended))]

    def ended_as(self, request_id: str) -> RequestState | None:
        """The last state of a request that is over; None for an unknown one."""
        return self._ended.get(request_id)

    def _add(self, topic: str, value: bytes) -> None:
        if topic == self._topics.requests:
            self._made(value)
        elif topic == self._topics.decisions:
            self._decided(msgspec.json.decode(value, type=_DecisionRead))
        elif topic == self._topics.control:
            self._said(msgspec.json.decode(value, type=_Said))

    def _made(self, value: bytes) -> None:
        request = LaunchRequest.of(value)
        if request.request_id in self._ended:
            return
        task = self.tasks.setdefault(request.request_id, Task())
        task.request = request
        if task.state is None:
            waits = msgspec.json.decode(value, type=_Made).approval == "required"
            task.state = _S.REQUESTED if waits else _S.APPROVED

    def _decided(self, decision: _DecisionRead) -> None:
        is_of_incident = decision.model_id.startswith((FLEET_PREFIX, SOURCE_PREFIX))
        if decision.state is None or decision.reason in REFUSALS or is_of_incident:
            return
        if decision.request_id in self._ended:
            return
        task = self.tasks.setdefault(decision.request_id, Task())
        task.state = decision.state
        if decision.model_version:
            task.challenger_version = decision.model_version
        if decision.champion or decision.challenger:
            task.champion |= decision.champion
            task.challenger |= decision.challenger
            task.reviewed = False
        if decision.state in ENDED and (task.run is None or decision.state not in TO_CANCEL):
            self.end(decision.request_id)

    def _said(self, said: _Said) -> None:
        """A `started` with a run is ours; the first one counts."""
        if said.kind == "started" and said.run and said.request_id not in self._ended:
            task = self.tasks.setdefault(said.request_id, Task())
            if task.run is None:
                task.run, task.started_at = Run(said.run, said.link), said.at


class ControlTopic:
    """Appends control records, each keyed by its request, for the one launcher of a service.

    Each call is a transaction under the id `group`. A later process with this id fences this one: from then on, each
    call raises `BrokerError`.
    """

    def __init__(self, connection: KafkaConnection, topic: str, group: str) -> None:
        from streamer.eventlog.kafka.transfer import Transfer  # a configuration with targets needs no client of Kafka

        self._topic = topic
        self._read = 0  # offset up to which the topic is read; committed, as a transaction must hold something
        self._transfer = Transfer(connection, [topic], group)

    def reached(self, records: Records) -> None:
        """Take note of how far the topic is read."""
        if records.topic == self._topic:
            self._read = max(self._read, records.next_offset)

    def append(self, reports: list[Report]) -> None:
        """Append these, if no later launcher has taken over; without any, only check that. Raises `BrokerError`."""
        from streamer.eventlog.kafka.transfer import Copy

        copies = []
        for report in reports:
            key, value = report["request_id"].encode(), report.get("raw") or msgspec.json.encode(report)
            copies.append(Copy(self._topic, None, None, key, value, ()))
        self._transfer.write(copies, {(self._topic, 0): self._read})

    def close(self) -> None:
        """Let the client go."""
        self._transfer.close()


def checked_report(raw: bytes, request: LaunchRequest, now_ms: int) -> Report:
    """The report that a trainer has left, byte for byte; `failed` for one that the service could not use."""
    control = read_control(raw, now_ms)
    if isinstance(control, Unreadable):
        why = f"the report of the trainer is unusable: {control.detail}"
    elif control.request_id != request.request_id:
        why = f"the report of the trainer is unusable: it is about {control.request_id}"
    elif not (control.kind is ControlKind.TRAINED and (why := serves_already(control.model_version, request))):
        return {"request_id": request.request_id, "raw": raw}
    about: Report = {"kind": "failed", "request_id": request.request_id, "actor": "driftline-launch"}
    return {**about, "at": time_of(now_ms), "comment": why}


def serves_already(version: str, request: LaunchRequest) -> str:
    """Why a version is no challenger: it is the one that drifted; "" for another, and for versions without names."""
    is_champion = version != "" and version == request.model_version
    return f"the trainer names version {version}, which serves already and has drifted" if is_champion else ""
