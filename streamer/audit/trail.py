"""The audit trail of a model, read from the published records of the detect and decide folds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from streamer.audit.source import RawRecord, Source
from streamer.errors import UsageError
from streamer.logs import one_line

RECORDS_MAX: Final = 100_000  # of each kind; beyond, the oldest are left out
NAMES_MAX: Final = 50_000  # the newest names, among which near ones are searched
NEAR: Final = 3  # names that are suggested

Record = Alert | Incident | RetrainRequest | Decision
TYPES: Final[dict[str, type[Record]]] = {
    "alert": Alert,
    "incident": Incident,
    "request": RetrainRequest,
    "decision": Decision,
}


def _newest() -> deque[Any]:
    return deque(maxlen=RECORDS_MAX)


@dataclass(slots=True)
class Trail:
    """The records of some models, with those of all storms and silences; each kind in the order of its topic."""

    alerts: deque[Alert] = field(default_factory=_newest)
    incidents: deque[Incident] = field(default_factory=_newest)
    requests: deque[RetrainRequest] = field(default_factory=_newest)
    decisions: deque[Decision] = field(default_factory=_newest)

    def add(self, record: Record) -> None:
        """Append a record to those of its kind."""
        if isinstance(record, Alert):
            self.alerts.append(record)
        elif isinstance(record, Incident):
            self.incidents.append(record)
        elif isinstance(record, RetrainRequest):
            self.requests.append(record)
        else:
            self.decisions.append(record)

    @property
    def is_cut(self) -> bool:
        """Whether older records may be left out."""
        return any(len(kept) == RECORDS_MAX for kept in (self.alerts, self.incidents, self.requests, self.decisions))


def kind_of(record: Record) -> str:
    """The name of the kind of a record."""
    return next(kind for kind, of in TYPES.items() if isinstance(record, of))


def ids_of(record: Record) -> list[str]:
    """The ids of a record for `explain`."""
    if isinstance(record, Alert):
        return [record.alert_id]
    if isinstance(record, Incident):
        return [record.incident_id]
    return [record.request_id]


def trail_of_model(source: Source, model_id: str) -> Trail:
    """All records of one model. Raises `UsageError` with near names when there is none."""
    trail = _trail(source, _with_sources(source, {model_id}))
    records: list[Record] = [*trail.alerts, *trail.incidents, *trail.requests]
    if not any(one.model_id == model_id for one in records):
        raise UsageError(_unknown("model", model_id, source, lambda record: [record.model_id]))
    return trail


def trail_of_id(source: Source, name: str) -> Trail:
    """All records of the models behind this id. Raises `UsageError` with near ids when there is none."""
    data, models, found = name.encode(), set[str](), False
    for kind, value in source():
        if data in value and name in ids_of(record := decoded(kind, value)):
            found = True
            models.add(record.model_id)
    if not found:
        raise UsageError(_unknown("alert, incident, request or silence", name, source, ids_of))
    return _trail(source, _with_sources(source, models))


def _with_sources(source: Source, models: set[str]) -> set[str]:
    """The models, the sources behind their requests, and all models with requests for these sources.

    A request for a source names the incident of the source.
    """
    owners, requests = dict[str, str](), list[tuple[str, str]]()
    for kind, value in source():
        if kind == "request" or (kind == "incident" and SOURCE_PREFIX.encode() in value):
            record = decoded(kind, value)
            if isinstance(record, RetrainRequest):
                requests.append((record.model_id, record.incident_id))
            elif isinstance(record, Incident) and record.model_id.startswith(SOURCE_PREFIX):
                owners[record.incident_id] = record.model_id
    sources = {owners[incident] for model, incident in requests if model in models and incident in owners}
    return models | sources | {model for model, incident in requests if owners.get(incident) in models}


def _trail(source: Source, models: set[str]) -> Trail:
    trail, names = Trail(), [model.encode() for model in models if model]
    for kind, value in source():
        if kind == "alert" and b"\\" not in value and not any(name in value for name in names):
            continue  # most are of other models, and need no decoding
        record = decoded(kind, value)
        is_shared = record.model_id.startswith(FLEET_PREFIX) and kind != "alert"
        if record.model_id in models or is_shared or (isinstance(record, Decision) and record.silence):
            trail.add(record)
    return trail


_DECODERS: Final = {kind: msgspec.json.Decoder(of) for kind, of in TYPES.items()}


def decoded(kind: str, value: bytes) -> Record:
    """The record of a kind. Raises `UsageError` for one that this version can't read."""
    try:
        return _DECODERS[kind].decode(value)
    except msgspec.MsgspecError as problem:
        raise UsageError(
            f"a record of kind {kind} can't be read ({one_line(str(problem))}): another version of Driftline wrote it"
        ) from problem


def _unknown(what: str, name: str, source: Source, names_of: Callable[[Record], list[str]]) -> str:
    names = _names(source(), names_of)
    near = get_close_matches(name, names, n=NEAR, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return one_line(f"no record of {what} {name}{hint}")


def _names(records: Iterable[RawRecord], names_of: Callable[[Record], list[str]]) -> list[str]:
    names: dict[str, None] = {}
    for kind, value in records:
        for name in names_of(decoded(kind, value)):
            names.pop(name, None)
            names[name] = None
        if len(names) > NAMES_MAX:
            del names[next(iter(names))]
    return [name for name in names if name]
