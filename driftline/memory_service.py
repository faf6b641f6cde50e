"""A service over topics in memory, for tests of one's own pipeline against Driftline's topics; and a trainer for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.request import RequestState, RetrainRequest
from streamer.app.replay import service_over
from streamer.audit.source import kinds_of
from streamer.audit.trail import decoded
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.errors import UsageError
from streamer.eventlog.memory import MemoryLog
from streamer.runtime.loop import Observer


class MemoryService:
    """The folds of `driftline run` over topics in memory, each of one partition. Time is that of the events.

    What was sent is folded at the next look at an output. The same records in the same order give the same outputs, as
    long as the looks are between the same records.
    """

    def __init__(self, config: Config) -> None:
        """Raises `UsageError` for a configuration without topics."""
        if not config.topics:
            raise UsageError("the configuration names no topics; give them, as in {'topics': {'predictions': {}}}")
        self.config = config
        outputs = config.outputs
        self._log = MemoryLog([*config.topics, outputs.alerts, outputs.watermarks, outputs.control])
        self._log.end_input()  # so that the service turns until all is folded
        self._service = service_over(config, self._log, SystemClock(), Observer())
        self._kinds = kinds_of(outputs)

    def send(self, topic: str, *records: Mapping[str, Any] | bytes, key: str | None = None) -> None:
        """Append records to a topic: mappings as JSON, bytes as they are. Raises `UsageError` for an unknown topic."""
        known = (*self.config.topics, self.config.outputs.control)
        if topic not in known:
            raise UsageError(f"the service reads no topic {topic}, but {', '.join(known)}")
        for record in records:
            value = record if isinstance(record, bytes) else msgspec.json.encode(record)
            self._log.store.append(topic, None if key is None else key.encode(), value)

    def control(
        self, kind: str, request_id: str, *, actor: str = "test", at: datetime | None = None, **fields: Any
    ) -> None:
        """Append a control record, as people and trainers do.

        `at` is its time; by default that of the newest record about the request. A silence needs one. `fields` are
        further ones of `driftline.control`, such as `comment`, `model_version`, `champion` and `challenger`. Raises
        `UsageError` for an unknown kind or request.
        """
        if kind not in set(ControlKind):
            raise UsageError(f"{kind} is no kind of control record; there are: {', '.join(ControlKind)}")
        at = self.newest_at(request_id) if at is None else at.astimezone(UTC)
        said = Control(ControlKind(kind), request_id, at, actor, **fields)
        time_ms = int(at.timestamp() * 1000)
        topic = self.config.outputs.control
        self._log.store.append(topic, request_id.encode(), msgspec.json.encode(said), timestamp_ms=time_ms)

    @property
    def alerts(self) -> list[Alert]:
        """The alerts in the order in which they fired, each in its newest state."""
        return list({one.alert_id: one for one in self._read("alert")}.values())

    @property
    def incidents(self) -> list[Incident]:
        """The incidents in the order in which they were opened, each in its newest state."""
        return list({one.incident_id: one for one in self._read("incident")}.values())

    @property
    def requests(self) -> list[RetrainRequest]:
        """The retrain requests."""
        return self._read("request")

    @property
    def decisions(self) -> list[Decision]:
        """The changes of requests and silences."""
        return self._read("decision")

    def state_of(self, request_id: str) -> RequestState:
        """The state of a request. Raises `UsageError` for an unknown one."""
        first = self._request(request_id).initial_state
        return [first, *(one.state for one in self.decisions if one.request_id == request_id and one.state)][-1]

    def values(self, topic: str) -> list[bytes]:
        """The values of a topic, as any client would read them; JSON, except for profiles."""
        self._service.run(stopped=lambda: False)
        records = self._log.store.read(topic)
        return [value for i in range(len(records)) if (value := records.value_of(i)) is not None]

    def _read(self, kind: str) -> list[Any]:
        (topic,) = (name for name, of in self._kinds.items() if of == kind)
        return [decoded(kind, value) for value in self.values(topic)]

    def newest_at(self, request_id: str) -> datetime:
        """The time of the newest record about a request. Raises `UsageError` for an unknown one."""
        made = self._request(request_id)
        return max([made.requested_at, *(one.at for one in self.decisions if one.request_id == request_id)])

    def _request(self, request_id: str) -> RetrainRequest:
        known = {one.request_id: one for one in self.requests}
        if request_id not in known:
            raise UsageError(f"there is no request {request_id}; there are: {', '.join(known) or 'none'}")
        return known[request_id]


class FakeTrainer:
    """Answers the requests that may be trained, as a pipeline would: `started`, then `trained` or `failed`.

    service: the service whose requests it answers.
    champion, challenger: the hold-out metrics that it reports, by name.
    failure: why its training fails; "": it succeeds.
    takes: from `started` to the end of the training.
    """

    def __init__(
        self,
        service: MemoryService,
        *,
        champion: Mapping[str, float] | None = None,
        challenger: Mapping[str, float] | None = None,
        failure: str = "",
        takes: timedelta = timedelta(hours=1),
    ) -> None:
        self._service, self._failure, self._takes = service, failure, takes
        self._metrics = {"champion": dict(champion or {}), "challenger": dict(challenger or {})}
        self._versions: dict[str, int] = {}

    def answer(self) -> list[str]:
        """Answer all requests that wait for training; returns their ids.

        The versions of a model are trained-1, trained-2, ...
        """
        service, approved = self._service, RequestState.APPROVED
        waiting = [one for one in service.requests if service.state_of(one.request_id) is approved]
        for one in waiting:
            service.control("started", one.request_id, actor="trainer")
            ended_at = service.newest_at(one.request_id) + self._takes
            if self._failure:
                service.control("failed", one.request_id, actor="trainer", at=ended_at, comment=self._failure)
                continue
            self._versions[one.model_id] = version = self._versions.get(one.model_id, 0) + 1
            service.control(
                "trained", one.request_id, actor="trainer", at=ended_at, model_version=f"trained-{version}",
                **self._metrics,
            )  # fmt: skip
        return [one.request_id for one in waiting]
