"""CloudEvents 1.0 headers in the Kafka binding's binary mode: the value is the payload, the attributes are headers.

Source: github.com/cloudevents/spec, cloudevents/bindings/kafka-protocol-binding.md, section 3.2. Other
consumers read the value as plain JSON.
"""

from __future__ import annotations

import msgspec

from retrain.messages.request import RetrainRequest
from streamer.eventlog.headers import Headers

SOURCE = "/driftline/decide"
RETRAIN_REQUESTED = "io.driftline.retrain.requested.v1"
RETRAIN_REQUEST_SCHEMA = "urn:driftline:schema:retrain-request.v1"
_SOURCE, _TYPE, _SCHEMA = (text.encode() for text in (SOURCE, RETRAIN_REQUESTED, RETRAIN_REQUEST_SCHEMA))


def headers_of_request(request: RetrainRequest) -> Headers:
    """The headers of a retrain request. A repeated request has the same `ce_id`, so consumers may deduplicate by it."""
    model = request.model_id.encode()
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", request.request_id.encode()),
        ("ce_source", _SOURCE),
        ("ce_type", _TYPE),
        ("ce_subject", model),
        ("ce_time", str(msgspec.to_builtins(request.requested_at)).encode()),
        ("ce_partitionkey", model),
        ("ce_dataschema", _SCHEMA),
        ("content-type", b"application/json"),
    )
