"""What the schemas promise to readers. That the committed ones are current is tested with all generated pages."""

from dataclasses import fields
from pathlib import Path

import jsonschema
import msgspec
import pytest

from streamer.config.docs import SCHEMA_FILE
from streamer.contracts.cloudevents import ALERT_SCHEMA, DECISION_SCHEMA, INCIDENT_SCHEMA, RETRAIN_REQUEST_SCHEMA
from streamer.contracts.schemas import CONTRACTS, LIMITS, schema_of, text_of
from streamer.page import api

FOLDER = Path(__file__).parents[3] / "docs" / "schemas"

OPTIONAL = {
    "alert.v1": {
        "reference_digest",
        "ready_at",
        "kind",
        "category",
        "models",
        "model_count",
        "resolved_at",
        "resolution",
        "distance",
        "distance_max",
        "columns",
        "segment",
        "schema_version",
        "events_after_onset",
        "min_events_after_onset",
        "effect_se",
        "shift_sd",
        "distribution",
        "summary",
        "windows",
        "history",
    },
    "incident.v1": {
        "alert_id",
        "model_count",
        "models",
        "schema_version",
        "summary",
        "returns",
        "recurring",
        "previous_onset",
    },
    "retrain-request.v1": {"summary", "history", "reference"},
    "control.v1": {"run", "link", "comment", "model_version", "champion", "challenger", "matcher", "until", "proof"},
    "decision.v1": {"silence", "schema_version"},
}

contracts = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)


def test_no_schema_is_left_behind():
    """Every file in the folder is of a kind of record that exists, of the configuration, or of the page."""
    known = {contract.file for contract in CONTRACTS} | {Path(SCHEMA_FILE).name, api.FILE}
    assert {path.name for path in FOLDER.iterdir()} == known


@contracts
def test_a_schema_is_valid_and_has_a_name(contract):
    """It is JSON Schema of draft 2020-12, with an id of its own."""
    schema = schema_of(contract)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(contract.name)


@contracts
def test_every_field_is_described(contract):
    """A reader finds a sentence for each field; no sentence or limit is about a field that does not exist."""
    for name, part in schema_of(contract)["$defs"].items():
        assert part["description"]
        assert all(field["description"].endswith(".") for field in part.get("properties", {}).values())
        assert set(LIMITS.get(name, {})) <= set(part.get("properties", {}))


def test_values_are_described():
    """A reader finds what each value of a field means, and a description longer than a line is complete."""
    (contract,) = (one for one in CONTRACTS if one.name == "alert.v1")
    parts = schema_of(contract)["$defs"]
    described = parts["AlertKind"]["description"]
    assert all(f"`{kind}`: " in described for kind in parts["AlertKind"]["enum"])
    unit = parts["Alert"]["properties"]["effect_unit"]["description"]
    assert unit.startswith("`ks_distance`")
    assert unit.endswith("`share` of `better_version` alerts (by which the mean error is smaller).")


@contracts
def test_what_is_written_is_promised(contract):
    """Every field is written, in the order of the schema; optional is what people need not say."""
    part = schema_of(contract)["$defs"][contract.type.__name__]
    assert list(part["properties"]) == [field.name for field in fields(contract.type)]
    optional = set(part["properties"]) - set(part["required"])
    assert optional == OPTIONAL.get(contract.name, set())


def test_the_header_names_the_schema():
    """`ce_dataschema` of an output is the id of its schema."""
    named = {RETRAIN_REQUEST_SCHEMA, ALERT_SCHEMA, INCIDENT_SCHEMA, DECISION_SCHEMA}
    assert named <= {schema_of(contract)["$id"] for contract in CONTRACTS}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"request_id": "Retrain_1"}, "request_id"),
        ({"request_id": "a" * 64}, "request_id"),
        ({"training_window": []}, "training_window"),
        ({"approval": "perhaps"}, "approval"),
        ({"schema_version": 2}, "schema_version"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": "2026-01-08 00:00:00"}, "expires_at"),
        ({"expires_at": "2026-01-08T00:00:00+02:00"}, "expires_at"),
    ],
)
def test_a_wrong_request_is_refused(changes, where):
    """The schema of requests is strict where pipelines rely on it."""
    place = {"topic": "t", "partition": 0}
    times = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}
    move = {"alert_id": "a", "column": "c", "detector": "adwin", "effect": 1.0, "effect_unit": "sd"}
    onset = place | {"offset": 0, "event_time": "2026-01-01T00:00:00Z"}
    request = {
        "request_id": "retrain-1",
        "model_id": "m",
        "model_version": "",
        "reason": "drift",
        "incident_id": "i",
        "evidence": [move | {"before": 0.0, "after": 1.0, "onset": onset}],
        "training_window": [place | times | {"start_offset": 0, "end_offset": 1}],
        "requested_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-08T00:00:00Z",
        "approval": "required",
        "schema_version": 1,
    }
    (contract,) = (one for one in CONTRACTS if one.name == "retrain-request.v1")
    validator = jsonschema.Draft202012Validator(msgspec.json.decode(text_of(contract)))
    validator.validate(request)
    (problem,) = validator.iter_errors(request | changes)
    assert problem.path[0] == where
