"""The ids that commands are about: requests, held storms and sources, and silences, read from published records."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final, TypeVar

import msgspec

from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.logs import one_line

NAMES_MAX: Final = 1_000_000  # ids of each sort that are remembered, the newest
SEARCHED_MAX: Final = 50_000  # the newest ids, among which near ones are searched
NEAR: Final = 3  # ids that are suggested
HELD: Final = (FLEET_PREFIX, SOURCE_PREFIX)
T = TypeVar("T")


class _Silence(msgspec.Struct):
    """The silence in a decision; nothing of it is needed here."""


class _Named(msgspec.Struct):
    """The fields of a record that name what it is about."""

    model_id: str = ""
    request_id: str | None = None
    incident_id: str | None = None
    silence: _Silence | None = None


class Targets:
    """The ids in records of incidents, requests and decisions."""

    def __init__(self) -> None:
        self._requests = dict[str, None]()  # ids of requests, held storms and held sources
        self._silences = dict[str, None]()
        self._incidents = dict[str, str]()  # incident of a model -> its request

    def read(self, kind: str, records: Records) -> None:
        """Add the ids of these records, all of one kind. Raises `UsageError` for one that can't be read."""
        for i in range(len(records)):
            if (value := records.value_of(i)) is None:
                continue
            record = _read(value)
            if kind == "request" and record.request_id:
                _keep(self._requests, record.request_id, None)
            elif kind == "decision" and record.silence and record.request_id:
                _keep(self._silences, record.request_id, None)
            elif kind == "incident" and record.incident_id and record.model_id.startswith(HELD):
                _keep(self._requests, record.incident_id, None)
            elif kind == "incident" and record.incident_id and record.request_id:
                _keep(self._incidents, record.incident_id, record.request_id)

    def check_request(self, name: str) -> None:
        """Raises `UsageError`, with what was probably meant, if no request, held storm or held source has this id."""
        if name in self._requests:
            return
        if name in self._incidents:
            raise UsageError(one_line(f"{name} is an incident; its request is {self._incidents[name]}"))
        raise UsageError(_unknown("request, held storm or held source", name, self._requests, "requests"))

    def check_silence(self, name: str) -> None:
        """Raises `UsageError`, with what was probably meant, if no silence has this id."""
        if name not in self._silences:
            raise UsageError(_unknown("silence", name, self._silences, "silences"))


def _read(value: bytes) -> _Named:
    try:
        return msgspec.json.decode(value, type=_Named)
    except msgspec.MsgspecError as problem:
        raise UsageError(f"a record can't be read ({one_line(str(problem))}): another version wrote it") from problem


def _keep(names: dict[str, T], name: str, value: T) -> None:
    names.pop(name, None)
    names[name] = value
    if len(names) > NAMES_MAX:
        del names[next(iter(names))]


def _unknown(what: str, name: str, near: Collection[str], command: str) -> str:
    found = get_close_matches(name, list(near)[-SEARCHED_MAX:], n=NEAR, cutoff=0.6)
    hint = f"; did you mean {' or '.join(found)}?" if found else f"; `driftline {command} --all` lists them"
    return one_line(f"there is no {what} {name}{hint}")
