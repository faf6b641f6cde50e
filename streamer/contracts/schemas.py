"""JSON Schemas of the records Driftline writes, generated from their dataclasses.

Shapes come from the types, descriptions from the comments at the fields, patterns and ranges from the table below.
`make docs` writes the schemas to `docs/schemas/`. A field may be added within a version; readers ignore unknown fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.ids import ID_CHARS_MAX
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from streamer.contracts.control_reader import COMMENT_CHARS_MAX, METRICS_MAX, TEXT_CHARS_MAX
from streamer.contracts.field_docs import field_texts, sentence

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Contract:
    """One kind of record. Its file under `docs/schemas/` is `<name>.json`."""

    name: str
    type: type
    title: str

    @property
    def file(self) -> str:
        return f"{self.name}.json"


CONTRACTS = (
    Contract("alert.v1", Alert, "Driftline alert"),
    Contract("incident.v1", Incident, "Driftline incident"),
    Contract("retrain-request.v1", RetrainRequest, "Driftline retrain request"),
    Contract("control.v1", Control, "Driftline control record"),
    Contract("decision.v1", Decision, "Driftline decision"),
)

# Validators may ignore `format`, but not the pattern, which requires UTC.
_TIME = {"format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"}
_OFFSET = {"minimum": 0, "maximum": 2**63 - 1}
_PARTITION = {"minimum": 0, "maximum": 2**31 - 1}

LIMITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Alert": {
        "model_id": {"minLength": 1},
        "effect": {"minimum": 0},
        "n_reference": {"minimum": 0},
        "n_current": {"minimum": 0},
    },
    "Place": {"offset": _OFFSET, "partition": _PARTITION, "event_time": _TIME, "row": {"minimum": 0}},
    "Incident": {
        "incident_id": {"pattern": "^incident-[0-9a-f]{16}$"},
        "model_id": {"minLength": 1},
        "opened_at": _TIME,
        "last_alert_at": _TIME,
        "columns": {"minItems": 1},
        "alerts": {"minimum": 1},
        "model_count": {"minimum": 1},
    },
    "Shift": {"effect": {"minimum": 0}},
    "RetrainRequest": {
        "request_id": {"pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": ID_CHARS_MAX},
        "model_id": {"minLength": 1},
        "evidence": {"minItems": 1},
        "training_window": {"minItems": 1},
        "requested_at": _TIME,
        "expires_at": _TIME,
    },
    "Control": {
        "request_id": {"minLength": 1, "maxLength": TEXT_CHARS_MAX},
        "at": _TIME,
        "actor": {"pattern": r"\S", "maxLength": TEXT_CHARS_MAX},
        "comment": {"maxLength": COMMENT_CHARS_MAX},
        "model_version": {"maxLength": TEXT_CHARS_MAX},
        "champion": {"maxProperties": METRICS_MAX},
        "challenger": {"maxProperties": METRICS_MAX},
        "until": _TIME,
    },
    "Matcher": {name: {"minLength": 1, "maxLength": TEXT_CHARS_MAX} for name in ("model", "column")},
    "Silence": {"since": _TIME, "until": _TIME, "alerts": {"minimum": 0}},
    "Decision": {"at": _TIME, "answer_by": _TIME},
    "TrainingWindow": {
        "partition": _PARTITION,
        "start_offset": _OFFSET,
        "end_offset": {"minimum": 1, "maximum": 2**63},
        "start_time": _TIME,
        "end_time": _TIME,
        "events": {"minimum": 0},
    },
}


def schema_of(contract: Contract) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of record."""
    (top,), parts = msgspec.json.schema_components([contract.type])
    for cls in _classes_in(contract.type):
        part, texts = parts[cls.__name__], field_texts(cls)
        part["description"] = _first_paragraph(part["description"])
        if issubclass(cls, Enum):
            values = [f"`{one.value}`: {texts[one.name]}" for one in cls if one.name in texts]
            part["description"] += "".join(f" {sentence(value)}" for value in values)
        for field, schema in part.get("properties", {}).items():
            schema |= {"description": sentence(texts[field])} | dict(LIMITS.get(cls.__name__, {}).get(field, {}))
    head = {"$schema": DIALECT, "$id": f"urn:driftline:schema:{contract.name}", "title": contract.title}
    return head | top | {"$defs": parts}


def text_of(contract: Contract) -> str:
    """The schema as in its file."""
    return msgspec.json.format(msgspec.json.encode(schema_of(contract)), indent=2).decode() + "\n"


def _classes_in(hint: Any) -> set[type]:
    """The records and enums of a type, itself included."""
    if not isinstance(hint, type) or get_args(hint):
        return {cls for arg in get_args(hint) for cls in _classes_in(arg)}
    if is_dataclass(hint):
        return {hint}.union(*(_classes_in(one) for one in get_type_hints(hint).values()))
    return {hint} if issubclass(hint, Enum) else set()


def _first_paragraph(doc: str) -> str:
    # Before Python 3.13 a docstring keeps the indentation of its lines.
    return " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())
