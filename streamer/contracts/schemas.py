"""JSON Schemas of the records Driftline writes, made from the dataclasses that are written.

Shapes come from the types; what types can't say (descriptions, patterns, ranges) stands in the tables below. The
results are committed under `docs/schemas/`, and `make docs` rewrites them. A field may be added within a version;
readers ignore fields they do not know.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.ids import ID_CHARS_MAX
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from streamer.contracts.control_reader import COMMENT_CHARS_MAX, METRICS_MAX, TEXT_CHARS_MAX

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Contract:
    """One kind of record: its file under `docs/schemas/` is `<name>.json`."""

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

_MODEL = "The model; `source:<name>` for a feature source that models share, `fleet:<column>` for a storm."
_BEFORE = (
    "Location of the old regime, in the column's units; the share of `category`, or the rate of faults. Of `silent` "
    "the mean gap between events in s, of `event_rate` events an hour, of `label_rate` shares."
)
_AFTER = (
    "Location of the new regime, in the column's units; the share of `category`, or the rate of faults. Of `silent` "
    "the gap so far in s, of `event_rate` events an hour, of `label_rate` shares."
)
_EFFECT = "How much moved, in `effect_unit`; the distances lie in 0 to 1."
_EFFECT_UNIT = (
    "`ks_distance` (Kolmogorov-Smirnov distance), `tv_distance` (total variation distance, of categories), `rate` "
    "(difference of rates), `correlation` (difference of correlations, 0 to 2), `sd` (standard deviations of the old "
    "regime) or `rank_biserial` (how much more often a value of the segment is larger than one of another segment than "
    "smaller); `s` of `silent` alerts, `per_hour` of `event_rate` alerts, `names` of `limit` alerts."
)
_CATEGORY = (
    'The category whose share moved most, `(unseen)` for those of no place in the reference; "" for numbers. Of '
    "`limit` the name that had no room, where there is one."
)
_COLUMNS = (
    "Of `joint`: the two columns whose dependence moved most, `before` and `after` being the correlation of their "
    "ranks; `|name|` stands for how far the values of a column lie from its middle."
)
_SEGMENT = 'The segment of the model in which it moved, such as `depot=north`; "" for the model as a whole.'
_CHALLENGER = 'Version of what was trained; "" when versions have no names.'
_ONSET = "The first event of the new regime, as estimated."

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "Alert": {
        "alert_id": "Derived from the series and the place of detection; all states of an alert share it.",
        "state": "`firing` once drift is certain, `ready` once there is enough to retrain on, `resolved` once over.",
        "model_id": _MODEL,
        "model_version": 'The version that made the predictions; "" when events name none.',
        "column": (
            "The feature that moved; `prediction` and `error` are the model's output and its error, `joint` is how "
            "columns depend on each other, `(events)` and `(labels)` what comes of the model as a whole; "
            "`(models_max)`, `(columns_max)`, `(categories_max)` and `(series_max)` are limits that were reached."
        ),
        "detector": "The detector that raised the alarm.",
        "statistic": "The test's statistic when the alarm was raised.",
        "threshold": "The value the statistic had to reach.",
        "effect": _EFFECT,
        "effect_unit": _EFFECT_UNIT,
        "before": _BEFORE,
        "after": _AFTER,
        "onset": _ONSET,
        "at": "The event at which the detector was sure.",
        "n_reference": "Values that stand for the old regime.",
        "n_current": "Values that stand for the new regime.",
        "reference_digest": 'Of the training reference; "" when the first events served as one.',
        "ready_at": "The event with which there was enough to retrain on; null while `firing`.",
        "kind": (
            "`drift`, the only kind that becomes `ready`; or what is wrong with the data: more values are `missing`, "
            "of the wrong type (`type_fault`), `out_of_range` of the training data, or of categories `unseen` there; "
            "or events that no longer carry the column (`absent`), labels that take another time (`label_lag`) or come "
            "for fewer predictions (`label_rate`), events or labels that have stopped (`silent`) or come at another "
            "rate (`event_rate`), or a segment that differs from the model's other segments by more than it did "
            "(`segment_gap`); or a table of `limits` that is full and had no room for something of the model's "
            "(`limit`)."
        ),
        "category": _CATEGORY,
        "segment": _SEGMENT,
        "models": (
            "Of a source: the models that use it, as settings name them or this partition has seen them, at most a "
            "hundred; empty otherwise."
        ),
        "model_count": "Of a source: how many such models there are; 0 otherwise.",
        "columns": _COLUMNS,
        "resolved_at": "The event with which it was over; null before.",
        "resolution": (
            "Why it is over: values are what they were (`back_to_normal`), they have drifted on (`superseded`), or the "
            "new regime has lasted so long that it is the usual (`settled`). Null before."
        ),
        "distance": "Of the last values from those before the drift when it was over, 0 to 1; null where not measured.",
        "distance_max": "The same of the drift at its height.",
    },
    "Place": {
        "topic": "Topic of the record.",
        "partition": "Partition of the record.",
        "offset": "Offset of the record.",
        "event_time": "When the event happened, by its own account; RFC 3339, UTC.",
    },
    "Incident": {
        "incident_id": "Derived from the first alert; the key of the record.",
        "state": "`open` while alerts still join it, else `closed`.",
        "model_id": _MODEL,
        "model_version": 'The version that drifted; "" when events name none.',
        "opened_at": "Event time of the first alert; UTC.",
        "last_alert_at": "Event time of the latest alert; UTC, never before `opened_at`.",
        "columns": "What moved, strongest first; one entry for a column and detector.",
        "alerts": "How many alerts it absorbed, the first one included.",
        "request_id": "The latest retrain request that came of it; null when none has.",
        "reason": "Why this record was published: the last change of the incident.",
        "decision": "What the latest alert meant for a retrain request, and why none was made if so.",
        "model_count": "How many models it covers: more than one in a storm, or of a source that several use.",
        "models": "Of a storm the models that joined first, of a source those that use it; at most a hundred.",
    },
    "Shift": {
        "alert_id": "The alert that said so.",
        "column": "The column that moved.",
        "detector": "The detector that noticed.",
        "effect": _EFFECT,
        "effect_unit": _EFFECT_UNIT,
        "before": _BEFORE,
        "after": _AFTER,
        "onset": _ONSET,
        "category": _CATEGORY,
        "columns": _COLUMNS,
        "segment": _SEGMENT,
    },
    "RetrainRequest": {
        "request_id": "Derived from the alert that triggered it; fit for a job name, a run id or an idempotency key.",
        "model_id": "The model to retrain; the key of the record.",
        "model_version": 'The version that drifted; "" when events name none.',
        "reason": "Why a retrain is asked for.",
        "incident_id": "The incident it belongs to.",
        "evidence": "What moved, strongest first; the triggering alert last if it is not among the strongest.",
        "training_window": "What to train on: stretches of the topics that the events came from.",
        "requested_at": "Event time of the alert that triggered it; UTC.",
        "expires_at": "From this event time on, the request counts as unanswered and another may follow; UTC.",
        "approval": "Whether a person has to agree before the training pipeline starts.",
        "schema_version": "Version of this schema.",
    },
    "TrainingWindow": {
        "topic": "Topic of the events.",
        "partition": "Partition of the events.",
        "start_offset": "Offset of the first event of the new regime, inclusive.",
        "end_offset": "One beyond the offset of the last event, so exclusive.",
        "start_time": "Event time of the first event, inclusive; UTC.",
        "end_time": "Event time of the last event, inclusive; UTC, never before `start_time`.",
    },
    "Control": {
        "kind": (
            "What is said: `approve`, `reject`, `promote`, `silence` and `unsilence` by people; the others by the "
            "trainer."
        ),
        "request_id": "The request it is about; of `silence` an id that nobody has given yet, which `unsilence` names.",
        "at": "When it was said, on the clock of the events; UTC, at most an hour after the record's own time.",
        "actor": "Who says it.",
        "comment": "Why.",
        "model_version": _CHALLENGER,
        "champion": "Of `trained`: metrics by name, of the version that serves, on a hold-out.",
        "challenger": "Of `trained`: the same metrics on the same hold-out, of what was trained.",
        "matcher": "Of `silence`, which must have one: which alerts are silenced.",
        "until": "Of `silence`, which must have one: it ends by itself at this event time; UTC, 366 days on at most.",
    },
    "Matcher": {
        "model": "Pattern of model names, as in `bus-*`; `source:*` for feature sources.",
        "column": "Pattern of column names.",
        "kind": "The kind of alerts; null for all.",
    },
    "Silence": {
        "silence_id": "The id that its control record gave.",
        "matcher": "Which alerts it silences.",
        "since": "When it was said; UTC.",
        "until": "It ends by itself at this event time; UTC.",
        "actor": "Who said it.",
        "comment": "Why.",
        "alerts": "How many alerts it has silenced so far.",
        "is_over": "Whether it has ended.",
    },
    "Decision": {
        "request_id": (
            "The request or silence; the key of the record. The newest record of a request says how it stands."
        ),
        "model_id": 'Its model; "" when the request is not known. Of a silence, whose alert it has just silenced.',
        "state": "How the request stands after the decision; null when it is not known, and for silences.",
        "reason": "What was decided, also of a control record that changed nothing.",
        "at": "Event time of what led to it; UTC.",
        "answer_by": "From this event time on the state ends by itself; null when it does not.",
        "actor": 'Who said so; "" when it came of time or of an alert.',
        "comment": "What they said about it.",
        "model_version": _CHALLENGER,
        "champion": "Metrics that the control record told.",
        "challenger": "Metrics that the control record told.",
        "silence": "The silence as it stands after the decision; null when it is about a request.",
    },
}

# Validators may ignore `format`; none ignores the pattern, and it says that times are UTC.
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
    "Place": {"offset": _OFFSET, "partition": _PARTITION, "event_time": _TIME},
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
    },
}


def schema_of(contract: Contract) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of record."""
    (top,), parts = msgspec.json.schema_components([contract.type])
    for name, part in parts.items():
        part["description"] = _first_paragraph(part["description"])
        for field, schema in part.get("properties", {}).items():
            schema |= {"description": DESCRIPTIONS[name][field]} | dict(LIMITS.get(name, {}).get(field, {}))
    head = {"$schema": DIALECT, "$id": f"urn:driftline:schema:{contract.name}", "title": contract.title}
    return head | top | {"$defs": parts}


def text_of(contract: Contract) -> str:
    """The schema as it is committed."""
    return msgspec.json.format(msgspec.json.encode(schema_of(contract)), indent=2).decode() + "\n"


def _first_paragraph(doc: str) -> str:
    # Before Python 3.13 a docstring keeps the indentation of its lines.
    return " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())
