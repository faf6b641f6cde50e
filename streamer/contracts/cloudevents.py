"""CloudEvents 1.0 headers in the Kafka binding's binary mode: the value is the payload, the attributes are headers.

Source: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, section 3.2. Other
consumers read the value as plain JSON.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest
from streamer.eventlog.headers import Headers

DETECT_SOURCE: Final = "/driftline/detect"
DECIDE_SOURCE: Final = "/driftline/decide"
ALERT_SCHEMA: Final = "urn:driftline:schema:alert.v1"
INCIDENT_SCHEMA: Final = "urn:driftline:schema:incident.v1"
DECISION_SCHEMA: Final = "urn:driftline:schema:decision.v1"
RETRAIN_REQUEST_SCHEMA: Final = "urn:driftline:schema:retrain-request.v1"


def headers_of_alert(alert: Alert) -> Headers:
    """The headers of an alert. Each state of an alert is an event of its own: its `ce_id` is `<alert_id>-<state>`."""
    state = alert.state.value
    event_type = f"io.driftline.alert.{state}.v1"
    return _headers(
        f"{alert.alert_id}-{state}", DETECT_SOURCE, event_type, alert.model_id, alert.event_time, ALERT_SCHEMA
    )


def headers_of_request(request: RetrainRequest) -> Headers:
    """The headers of a retrain request. A repeated request has the same `ce_id`, so consumers may deduplicate by it."""
    event_type, at = "io.driftline.retrain.requested.v1", request.requested_at
    return _headers(request.request_id, DECIDE_SOURCE, event_type, request.model_id, at, RETRAIN_REQUEST_SCHEMA)


def headers_of_incident(incident: Incident, value: bytes) -> Headers:
    """The headers of an incident whose record is `value`. Each change is an event; its `ce_id` has a digest of it."""
    event_id, event_type = _id_of_change(incident.incident_id, value), f"io.driftline.incident.{incident.state}.v1"
    at, key = incident.last_alert_at, incident.incident_id
    return _headers(event_id, DECIDE_SOURCE, event_type, incident.model_id, at, INCIDENT_SCHEMA, key)


def headers_of_decision(decision: Decision, value: bytes) -> Headers:
    """The headers of a decision whose record is `value`; without `ce_subject` where its model is unknown."""
    event_id, event_type = _id_of_change(decision.request_id, value), "io.driftline.decision.v1"
    at, key = decision.at, decision.request_id
    return _headers(event_id, DECIDE_SOURCE, event_type, decision.model_id, at, DECISION_SCHEMA, key)


def _id_of_change(name: str, value: bytes) -> str:
    return f"{name}-{blake2b(value, digest_size=8).hexdigest()}"


def _headers(
    event_id: str, source: str, event_type: str, model_id: str, at: datetime, schema: str, key: str = ""
) -> Headers:
    """`key` is that of the record; "": the model."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        *((("ce_subject", model_id.encode()),) if model_id else ()),
        ("ce_time", str(msgspec.to_builtins(at)).encode()),
        ("ce_partitionkey", (key or model_id).encode()),
        ("ce_dataschema", schema.encode()),
        ("content-type", b"application/json"),
    )
