"""The bytes of the records that Driftline publishes."""

from __future__ import annotations

import msgspec

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.request import RetrainRequest


def json_of(record: Alert | Incident | RetrainRequest | Decision) -> bytes:
    """The record as JSON. A place in a record with a single event has no `row`, an alert without windows no such field.

    A request names an empty `history`, as its readers look for it.
    """
    # A text can't hold these, as JSON escapes its quotation marks.
    text = msgspec.json.encode(record).replace(b',"row":0}', b"}")
    return text.replace(b',"windows":[]', b"").replace(b',"history":[]', b"") if isinstance(record, Alert) else text
