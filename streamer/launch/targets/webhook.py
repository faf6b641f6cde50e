"""`webhook`: a POST with the signature of Standard Webhooks 1.0.0, for any receiver.

    webhook-id: <request_id>      webhook-timestamp: <s since 1970>
    webhook-signature: v1,<base64 of HMAC-SHA256(key, "id.timestamp.body")>, several with spaces between

The id is the same at each repeat, so a receiver that keeps ids starts one run. Source: standard-webhooks.com, the
specification 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from streamer.clock import Clock, SystemClock
from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, Tools
from streamer.launch.http import Http, HttpAnswer, HttpProblem
from streamer.launch.targets.rest import named

TOLERANCE_S: Final = 300  # how old or how far ahead a signed message may be
KEY_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A signed POST of the request, by Standard Webhooks.

    url: address of the receiver
    secret_env: variable of the environment with the secret, `whsec_` and base64; several with spaces between, the
        newest first, while receivers change over
    """

    url: str
    secret_env: str

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}, but must begin with http:// or https://.")


class Webhook:
    """A signed POST of the request, by Standard Webhooks."""

    settings = WebhookSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: WebhookSettings, tools: Tools) -> None:
        self._settings, self._tools = settings, tools

    def launch(self, request: LaunchRequest) -> Run:
        url, secret = request.fill(self._settings.url), self._tools.secret(self._settings.secret_env)
        answer = post(self._tools.http, url, request.request_id, request.raw, secret)
        try:
            link = answer.json().get("link")
        except HttpProblem:  # a receiver may answer with anything
            link = None
        return Run(request.request_id, link if isinstance(link, str) else "")

    def look(self, run: Run) -> RunStatus:  # noqa: ARG002
        return RunStatus(RunState.UNKNOWN)

    def cancel(self, run: Run) -> None:
        """A receiver can't be asked to end a run."""


def release(settings: WebhookSettings, request: LaunchRequest, version: str, tools: Tools, clock: Clock) -> HttpAnswer:
    """Send `model.released`, with an id of its own. Raises `TargetDown` and `TargetRefused`."""
    about = {"request_id": request.request_id, "model_id": request.model_id, "model_version": version}
    body = json.dumps({"type": "model.released", "data": about}, separators=(",", ":")).encode()
    message_id, secret = f"{request.request_id}-release", tools.secret(settings.secret_env)
    return post(tools.http, request.fill(settings.url), message_id, body, secret, clock)


def post(http: Http, url: str, message_id: str, body: bytes, secret: str, clock: Clock | None = None) -> HttpAnswer:
    """Send a signed message. Raises `TargetDown` and `TargetRefused`."""
    at_s = int((clock or SystemClock()).now_s())
    headers = {"content-type": "application/json", **signed(message_id, at_s, body, secret.split())}
    try:
        return http.call("POST", url, body, headers)
    except HttpProblem as problem:
        raise named(problem) from problem


def signed(message_id: str, at_s: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a message, with a signature for each secret. Raises `TargetDown` for a secret that is none."""
    signatures = [f"v1,{_signature(key_of(secret), message_id, str(at_s), body)}" for secret in secrets]
    return {
        "webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": " ".join(signatures)
    }  # fmt: skip


def why_unsigned(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now_s: float) -> str | None:
    """Why a message is not believed; None if it is. Names of headers are in lower case."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = [one.partition(",") for one in headers.get("webhook-signature", "").split()]
    if not message_id or not at.isascii() or not at.isdigit() or not given:
        return "the headers webhook-id, webhook-timestamp and webhook-signature are not all there"
    if abs(now_s - int(at[:18])) > TOLERANCE_S:
        return f"webhook-timestamp is {at}, more than {TOLERANCE_S} s away from now"
    expected = [_signature(key_of(secret), message_id, at, body) for secret in secrets]
    matches = [hmac.compare_digest(one, text) for one in expected for kind, _, text in given if kind == "v1"]
    return None if any(matches) else "webhook-signature has no valid v1 signature"


def key_of(secret: str) -> bytes:
    """The key of a secret. Raises `TargetDown`."""
    try:
        return base64.b64decode(secret.removeprefix(KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise TargetDown("the secret of the webhook is not whsec_ and base64") from None


def _signature(key: bytes, message_id: str, at: str, body: bytes) -> str:
    signed_text = f"{message_id}.{at}.".encode() + body
    return base64.b64encode(hmac.new(key, signed_text, hashlib.sha256).digest()).decode()
