"""CloudEvents 1.0 headers in the Kafka binding's binary mode: the value is the payload, the attributes are headers.

Source: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, section 3.2. Other
consumers read the value as plain JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.request import RetrainRequest
from streamer.eventlog.headers import Headers

DETECT_SOURCE: Final = "/driftline/detect"
DECIDE_SOURCE: Final = "/driftline/decide"
ALERT_SCHEMA: Final = "urn:driftline:schema:alert.v1"
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


def _headers(event_id: str, source: str, event_type: str, model_id: str, at: datetime, schema: str) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_subject", model_id.encode()),
        ("ce_time", str(msgspec.to_builtins(at)).encode()),
        ("ce_partitionkey", model_id.encode()),
        ("ce_dataschema", schema.encode()),
        ("content-type", b"application/json"),
    )
