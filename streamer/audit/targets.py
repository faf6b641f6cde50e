"""The ids that commands are about: requests, held storms and sources, and silences, read from published records."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import msgspec

from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from streamer.audit.source import RawRecord
from streamer.errors import UsageError
from streamer.logs import one_line

NAMES_MAX: Final = 50_000  # the newest ids, among which near ones are searched
NEAR: Final = 3  # ids that are suggested
KINDS: Final = ("incident", "request", "decision")  # of the records that are read
HELD: Final = (FLEET_PREFIX, SOURCE_PREFIX)


class _Silence(msgspec.Struct):
    """The silence in a decision; nothing of it is needed here."""


class _Named(msgspec.Struct):
    """The fields of a record that name what it is about."""

    model_id: str = ""
    request_id: str | None = None
    incident_id: str | None = None
    silence: _Silence | None = None


def check_request(records: Iterable[RawRecord], name: str) -> None:
    """Raises `UsageError`, with what was probably meant, if no request, held storm or held source has this id."""
    near = dict[str, None]()
    for kind, value in records:
        record = _read(value)
        known = record.request_id if kind == "request" else record.incident_id
        if kind == "decision" or not known:
            continue
        is_meant = kind == "request" or record.model_id.startswith(HELD)
        if known == name and is_meant:
            return
        if known == name and record.request_id:
            raise UsageError(one_line(f"{name} is an incident; its request is {record.request_id}"))
        if is_meant:
            _keep(near, known)
    raise UsageError(_unknown("request, held storm or held source", name, near, "requests"))


def check_silence(records: Iterable[RawRecord], name: str) -> None:
    """Raises `UsageError`, with what was probably meant, if no silence has this id."""
    near = dict[str, None]()
    for kind, value in records:
        if kind != "decision" or (record := _read(value)).silence is None or not record.request_id:
            continue
        if record.request_id == name:
            return
        _keep(near, record.request_id)
    raise UsageError(_unknown("silence", name, near, "silences"))


def _read(value: bytes) -> _Named:
    try:
        return msgspec.json.decode(value, type=_Named)
    except msgspec.MsgspecError as problem:
        raise UsageError(f"a record can't be read ({one_line(str(problem))}): another version wrote it") from problem


def _keep(names: dict[str, None], name: str) -> None:
    names.pop(name, None)
    names[name] = None
    if len(names) > NAMES_MAX:
        del names[next(iter(names))]


def _unknown(what: str, name: str, near: dict[str, None], command: str) -> str:
    found = get_close_matches(name, list(near), n=NEAR, cutoff=0.6)
    hint = f"; did you mean {' or '.join(found)}?" if found else f"; `driftline {command} --all` lists them"
    return one_line(f"there is no {what} {name}{hint}")
