"""A receiver of `launch: webhook`: verifies the signature, and starts each request once.

RETRAIN_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw python receiver.py
"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

KEY = base64.b64decode(os.environ.get("RETRAIN_SECRET", "").removeprefix("whsec_"))
SEEN = Path(os.environ.get("RETRAIN_SEEN", "seen"))  # a file for each request, so that a restart keeps them


def is_signed(headers, body):
    """Whether the message is from Driftline and at most five minutes old."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    expected = hmac.new(KEY, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    given = headers.get("webhook-signature", "").split()
    return f"v1,{base64.b64encode(expected).decode()}" in given


class Receiver(BaseHTTPRequestHandler):
    """Answers 202 for a request, new or known, and 401 without a signature."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers, body):
            self.send_error(401)
            return
        request = json.loads(body)
        SEEN.mkdir(exist_ok=True)
        try:
            (SEEN / request["request_id"]).open("x").close()
            print(f"training {request['model_id']} for {request['request_id']}", flush=True)
        except FileExistsError:
            print(f"{request['request_id']} is known", flush=True)
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8099"))), Receiver).serve_forever()
