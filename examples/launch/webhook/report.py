"""A trainer that reports its result to `driftline launch` by a signed callback, with the standard library alone.

CALLBACK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw python report.py retrain-bus-017-8648e6d60eda4886 8 61.0 48.5
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.request
from datetime import UTC, datetime

URL = os.environ.get("CALLBACK_URL", "http://localhost:9467/callbacks")
KEY = base64.b64decode(os.environ.get("CALLBACK_SECRET", "").removeprefix("whsec_"))


def report(request_id, version, champion, challenger):
    """Report a challenger; after an error, send the same again: a repeat counts once."""
    record = {
        "kind": "trained", "request_id": request_id, "actor": "trainer", "model_version": version,
        "at": datetime.now(UTC).isoformat(), "champion": {"mae": champion}, "challenger": {"mae": challenger},
    }  # fmt: skip
    body, message_id, at = json.dumps(record).encode(), f"{request_id}-trained", str(int(time.time()))
    signature = hmac.new(KEY, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }  # fmt: skip
    message = urllib.request.Request(URL, body, headers)  # noqa: S310 - an address of ours
    return json.loads(urllib.request.urlopen(message, timeout=30).read())["outcome"]  # noqa: S310


if __name__ == "__main__":
    print(report(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
