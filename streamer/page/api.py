"""The shapes of the JSON under `/api/v1`, one a view, and their OpenAPI document.

`make docs` writes it to `docs/schemas/`, and a test holds each view against it. A field may be added within a version;
readers ignore unknown ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from inspect import cleandoc
from typing import Any, Final, TypedDict

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from retrain.messages.shift import Shift
from retrain.messages.silence import Silence
from streamer.audit.requests import RequestStatus
from streamer.page.answers import LetterRow, ServiceAnswer
from streamer.page.model_views import ColumnRow, SegmentRow
from streamer.page.reader import Filter
from streamer.page.rows import ModelRow

FILE: Final = "page-api.v1.json"


class FleetJson(TypedDict):
    """Models by state and group, held storms, and one page of the table."""

    models: int
    states: dict[str, int]
    groups: dict[str, dict[str, int]]
    filter: Filter
    total: int
    rows: list[ModelRow]
    psi: list[list[float]]  # of the column that moved in each row, by interval
    storms: list[Incident]
    waiting: int
    open: int
    days: dict[str, list[tuple[int, int]]]  # kind -> day since 1970, records
    newest: dict[str, datetime]


class EntryJson(TypedDict):
    """One record of a story."""

    at: datetime
    kind: str
    ids: list[str]
    head: str
    lines: list[str]


class ModelJson(TypedDict):
    """One model, its columns by effect, and one page of its story."""

    row: ModelRow
    incident: Incident | None
    requests: list[RequestStatus]
    columns: list[ColumnRow]
    versions: list[str]
    alerts: int
    entries: list[EntryJson]
    total: int
    page: int
    is_cut: bool


class IntervalJson(TypedDict):
    """A column in one interval; of categories and before a reference, some numbers are null."""

    model: str
    version: str
    segment: str
    topic: str
    column: str
    start: datetime
    end: datetime
    is_number: bool
    intervals: int
    count: int
    missing: int
    faults: int
    mean: float | None
    sd: float | None
    p05: float | None
    p25: float | None
    p50: float | None
    p75: float | None
    p95: float | None
    compared: int
    trained: bool
    psi: float | None
    ks: float | None
    n_reference: float | None
    psi_chance: float | None
    ks_chance: float | None
    cells: list[float]
    categories: list[str]


class ColumnJson(TypedDict):
    """One column: what moved, the alerts on it, and its intervals."""

    model: str
    column: str
    segment: str
    segments: list[str]
    beside: list[SegmentRow]  # the newest interval of each, the whole first; empty without segments
    shift: Shift | None
    alerts: list[Alert]
    profiles: list[IntervalJson]
    row: ModelRow | None


class IncidentsJson(TypedDict):
    """One page of incidents."""

    state: str
    rows: list[Incident]
    total: int
    page: int


class RequestsJson(TypedDict):
    """One page of requests."""

    state: str
    rows: list[RequestStatus]
    total: int
    page: int


class StepJson(TypedDict):
    """How far a request is."""

    name: str
    at: datetime | None
    actor: str
    is_here: bool
    is_done: bool


class HoldoutJson(TypedDict):
    """A metric of both versions."""

    name: str
    champion: float | None
    challenger: float | None


class RequestJson(TypedDict):
    """One request or held storm: why, how far, and what may be decided."""

    status: RequestStatus
    request: RetrainRequest | None
    incident: Incident | None
    shift: Shift | None
    decisions: list[Decision]
    steps: list[StepJson]
    metrics: list[HoldoutJson]
    version: str
    run: dict[str, Any] | None
    waits_for: str
    actions: list[str]
    effects: dict[str, list[str]]
    pending: dict[str, Any] | None


class SilencesJson(TypedDict):
    """Silences that are active, and those that ended last."""

    active: list[Silence]
    ended: list[Silence]


class ExplainJson(TypedDict):
    """The records behind an id."""

    id: str
    entries: list[EntryJson]
    total: int


class SearchJson(TypedDict):
    """What holds the text, or near names. A column comes with the number of its models and the first of them."""

    q: str
    models: list[str]
    columns: list[tuple[str, int, str]]
    ids: list[str]
    near: list[str]  # models
    near_columns: list[tuple[str, int, str]]


class MonitorJson(TypedDict):
    """Lag and workers, dead letters, the newest record of each kind, the last interval of each unit, open faults."""

    kinds: dict[str, datetime]
    units: dict[str, datetime]
    faults: list[Alert]
    total: int
    source: str  # of the rest: "brokers", "file" or "none"
    service: ServiceAnswer | None  # None: the brokers have not answered, or it is a file
    service_problem: str  # why there is no newer answer
    dead_letters: list[LetterRow]
    dead_letters_at: datetime | None
    dead_letters_problem: str
    failing_since: datetime | None


# View -> its shape and the parameters of its address, those that it needs first.
SHAPES: Final[Mapping[str, tuple[type, str, str]]] = {
    "fleet": (FleetJson, "", "group state name sort page"),
    "model": (ModelJson, "name", "page"),
    "column": (ColumnJson, "model column", "segment"),
    "incidents": (IncidentsJson, "", "state page"),
    "requests": (RequestsJson, "", "state page"),
    "request": (RequestJson, "id", ""),
    "silences": (SilencesJson, "", ""),
    "explain": (ExplainJson, "id", ""),
    "search": (SearchJson, "", "q"),
    "monitor": (MonitorJson, "", ""),
}


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the JSON."""
    shapes, parts = msgspec.json.schema_components(
        [shape for shape, _, _ in SHAPES.values()], ref_template="#/components/schemas/{name}"
    )
    for part in parts.values():
        if "description" in part:  # before Python 3.13 a docstring keeps the indentation of its lines
            part["description"] = " ".join(cleandoc(part["description"]).partition("\n\n")[0].split())
    paths = {
        f"/api/v1/{name}": {"get": _operation(name, shape, needed, more)}
        for (name, (_, needed, more)), shape in zip(SHAPES.items(), shapes, strict=True)
    }
    info = {"title": "Driftline page", "version": "1", "description": "What `driftline ui` gives programs."}
    error = {
        "type": "object", "required": ["error"],
        "properties": {"error": {"type": "string"}, "near": {"type": "array", "items": {"type": "string"}}},
    }  # fmt: skip
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": {**parts, "ErrorJson": error}}}


def _operation(name: str, shape: dict[str, Any], needed: str, more: str) -> dict[str, Any]:
    parameters = [
        {"name": one, "in": "query", "required": one in needed.split(), "schema": {"type": "string"}}
        for one in (*needed.split(), *more.split())
    ]
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorJson"}}}
    return {
        "operationId": name,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "The data of the view; `ETag` changes with the records.",
                "content": {"application/json": {"schema": shape}},
            },
            "304": {"description": "Nothing has changed since the `ETag` in `If-None-Match`."},
            "404": {"description": "There is nothing of this name; near names stand in `near`.", "content": refused},
            "503": {"description": "The records are still being read.", "content": refused},
        },
    }


def openapi_text() -> str:
    """The file of the document."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2).decode() + "\n"
