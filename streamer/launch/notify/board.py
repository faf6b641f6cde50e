"""The open incidents, and the changes that people hear of: a fold over the topics of incidents and requests.

    opened ─► recurred | grown ─► closed ─► recurred ...    requested: each retrain request    many: beyond the bound

An incident is published again with every alert that joins it, which is no change here. The id of a notice follows from
its incident and what changed, so that a receiver knows a repeat, in this process or a later one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX, derived_id
from retrain.messages.incident import IncidentState
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Records

REMEMBERED_MAX: Final = 100_000  # closed incidents, and requests, that are remembered; the newest
CLOSED: Final = "incident.closed"
FEW: Final = 0.9  # of `incidents_max`: with so few open, a further crossing of the bound is a notice again

V = TypeVar("V")
Spot = tuple[str, int]


class OpenIncident(msgspec.Struct, frozen=True):
    """An incident as people hear of it; fields of `docs/schemas/incident.v1.json`."""

    incident_id: str
    state: IncidentState
    model_id: str
    opened_at: datetime
    last_alert_at: datetime
    summary: str = ""
    request_id: str | None = None
    returns: int = 0
    model_count: int = 1

    @property
    def kind(self) -> str:
        """What it is about: `fleet`, `source` or `model`."""
        by_prefix = {FLEET_PREFIX: "fleet", SOURCE_PREFIX: "source"}
        return next((kind for prefix, kind in by_prefix.items() if self.model_id.startswith(prefix)), "model")

    @property
    def order(self) -> tuple[datetime, str]:
        """The longest open come first."""
        return self.opened_at, self.incident_id


class _RequestSeen(msgspec.Struct, frozen=True):
    request_id: str
    model_id: str
    requested_at: datetime
    incident_id: str | None = None
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of one incident, for people. `offset` is that of its record at `spot`."""

    notice_id: str
    type: str  # incident.opened, .recurred, .grown, .closed, .many, or retrain.requested
    incident_id: str
    model_id: str
    at: datetime
    record: bytes
    spot: Spot | None = None  # None: of an incident that was open before notices began
    offset: int = -1


@dataclass(slots=True)
class _Stage:
    """What of an incident makes a change."""

    state: IncidentState
    returns: int
    models: int = 1  # of a storm, at its last change
    is_announced: bool = False  # whether it has been among the first `incidents_max`


class Board:
    """Open incidents by id. Records of one partition come in their order; partitions in any."""

    def __init__(self, topics: OutputTopics, incidents_max: int) -> None:
        self._topics, self._incidents_max = topics, incidents_max
        self._open: dict[str, OpenIncident] = {}
        self._values: dict[str, bytes] = {}  # the records of the open ones
        self._order: list[tuple[datetime, str]] = []  # of the open ones
        self._stages: dict[str, _Stage] = {}  # of the open ones
        self._closed: dict[str, _Stage] = {}
        self._approvals: dict[str, str] = {}  # by request
        self._many = False
        self.unreadable = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def beyond(self) -> int:
        """Open incidents that one alert stands for."""
        return max(len(self._open) - self._incidents_max, 0)

    @property
    def oldest_beyond(self) -> OpenIncident | None:
        """The longest open of them."""
        return self._open[self._order[self._incidents_max][1]] if self.beyond else None

    def announced(self) -> Iterator[OpenIncident]:
        """The open incidents that are sent one by one: the longest open. A function of the open ones alone."""
        return (self._open[incident_id] for _, incident_id in self._order[: self._incidents_max])

    def approval_of(self, request_id: str) -> str:
        """`required`, `not_required`, or "" while the request is not read."""
        return self._approvals.get(request_id, "")

    def opened(self) -> list[Notice]:
        """A notice of each announced incident, as of its opening."""
        return [_notice(one, self._values[one.incident_id], "opened") for one in self.announced()]

    def add(self, records: Records) -> list[Notice]:
        """Take a stretch of one of the two topics in; the changes in it. Records that can't be read are counted."""
        spot = records.topic, records.partition
        take = self._request if records.topic == self._topics.requests else self._incident
        notices: list[Notice] = []
        for i in range(len(records)):
            if (value := records.value_of(i)) is None:  # a tombstone
                continue
            try:
                notices += [replace(one, spot=spot, offset=int(records.offset[i])) for one in take(value)]
            except msgspec.MsgspecError:
                self.unreadable += 1
        return notices

    def _request(self, value: bytes) -> list[Notice]:
        request = msgspec.json.decode(value, type=_RequestSeen)
        stage = self._stages.get(request.incident_id or "")
        if request.request_id in self._approvals:
            return []
        _remember(self._approvals, request.request_id, request.approval)
        if stage is not None and not stage.is_announced:
            return []
        notice_id = derived_id("notice", "requested", request.request_id)
        incident_id, at = request.incident_id or "", request.requested_at
        return [Notice(notice_id, "retrain.requested", incident_id, request.model_id, at, value)]

    def _incident(self, value: bytes) -> list[Notice]:
        incident = msgspec.json.decode(value, type=OpenIncident)
        key, is_open = incident.incident_id, incident.state is IncidentState.OPEN
        before = self._remove(key)
        if is_open:
            self._open[key], self._values[key] = incident, value
            insort(self._order, incident.order)
        stage = before or _Stage(IncidentState.CLOSED, -1 if is_open else incident.returns)
        what = _change(stage, incident, is_new=before is None)
        stage.state, stage.returns = incident.state, incident.returns
        stage.models = incident.model_count if what in {"opened", "grown"} else stage.models
        if is_open:
            stage.is_announced |= bisect_left(self._order, incident.order) < self._incidents_max
            self._stages[key] = stage
        else:
            _remember(self._closed, key, stage)
        found = [_notice(incident, value, what)] if what and stage.is_announced else []
        return found + self._crossing(incident)

    def _remove(self, key: str) -> _Stage | None:
        """What was known of an incident, which is open no more."""
        if (incident := self._open.pop(key, None)) is None:
            return self._closed.pop(key, None)
        del self._values[key]
        del self._order[bisect_left(self._order, incident.order)]
        return self._stages.pop(key)

    def _crossing(self, incident: OpenIncident) -> list[Notice]:
        """A notice that more incidents are open than are sent one by one; again once they have been few."""
        if self._many and len(self._open) <= FEW * self._incidents_max:
            self._many = False
        if self._many or not self.beyond:
            return []
        self._many = True
        record = msgspec.json.encode({"open": len(self._open), "incidents_max": self._incidents_max})
        notice_id = derived_id("notice", "many", incident.incident_id)
        return [Notice(notice_id, "incident.many", "", f"{FLEET_PREFIX}*", incident.last_alert_at, record)]


def _change(before: _Stage, now: OpenIncident, *, is_new: bool) -> str:
    """What changed for people; "" if nothing did. A storm grows when it has twice as many models."""
    was_open, is_open = before.state is IncidentState.OPEN, now.state is IncidentState.OPEN
    if not is_open:
        return "closed" if was_open else ""
    if is_new:
        return "opened"
    if not was_open or now.returns > before.returns:
        return "recurred"
    return "grown" if now.kind == "fleet" and now.model_count >= 2 * before.models else ""


def _notice(incident: OpenIncident, value: bytes, what: str) -> Notice:
    parts = what, incident.incident_id, str(incident.returns), str(incident.model_count) if what == "grown" else ""
    notice_id = derived_id("notice", *parts)
    return Notice(notice_id, f"incident.{what}", incident.incident_id, incident.model_id, incident.last_alert_at, value)


def _remember(known: dict[str, V], key: str, value: V) -> None:
    """Add it as the newest, and forget the oldest beyond the bound."""
    known[key] = value
    if len(known) > REMEMBERED_MAX:
        del known[next(iter(known))]
