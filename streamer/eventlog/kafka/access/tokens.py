"""Tokens for SASL OAUTHBEARER: of an OAuth 2.0 server by client credentials, or signed for AWS MSK IAM.

Secrets and tokens are in no log line, error or `repr`.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from kafka.net.sasl.oauth import AbstractTokenProvider

from streamer.clock import Clock, SystemClock
from streamer.errors import BrokerError, UsageError

TIMEOUT_S: Final = 5.0  # the client's thread waits for it
ANSWER_BYTES_MAX: Final = 64 << 10
LIFETIME_S: Final = 300.0  # of a token whose server states none
RENEWED_AFTER: Final = 0.8  # of its lifetime
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Fetch = Callable[[], tuple[str, float]]  # a new token and its lifetime in s; raises TokenError


class TokenError(BrokerError):
    """There is no token for the login."""


class CachedTokens(AbstractTokenProvider):  # type: ignore[misc]
    """The provider that kafka-python asks at each login: one token until most of its lifetime is over. Thread-safe."""

    def __init__(self, fetch: Fetch, clock: Clock | None = None) -> None:
        self._fetch = fetch
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._token, self._renewal_s = "", 0.0

    def token(self) -> str:
        """A valid token. Raises TokenError."""
        with self._lock:
            if not self._token or self._clock.monotonic_s() >= self._renewal_s:
                self._token, lifetime_s = self._fetch()
                self._renewal_s = self._clock.monotonic_s() + RENEWED_AFTER * lifetime_s
            return self._token


@dataclass(frozen=True)
class ClientCredentials:
    """The grant `client_credentials` of OAuth 2.0 (RFC 6749, section 4.4), with HTTP Basic authentication.

    `endpoint` is an https URL; http is for loopback alone. Raises UsageError for another one.
    """

    endpoint: str
    client_id: str
    secret: str = field(repr=False)
    scope: str | None = None

    def __post_init__(self) -> None:
        url = urlsplit(self.endpoint)
        if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)):
            raise UsageError(
                f"kafka.security.token_endpoint: {self.endpoint!r} is no https URL, and the secret must not travel in "
                "the clear"
            )

    def __call__(self) -> tuple[str, float]:
        """A new token and its lifetime in s. Raises TokenError."""
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        login = base64.b64encode(f"{quote(self.client_id, '')}:{quote(self.secret, '')}".encode()).decode()
        request = Request(self.endpoint, urlencode(form).encode(), {"Authorization": f"Basic {login}"})  # noqa: S310 - checked above
        request.add_header("Accept", "application/json")
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
                return self._token_in(answer.read(ANSWER_BYTES_MAX))
        except HTTPError as error:
            with error:
                raise self._error(f"answers {error.code}{_reason(error.read(ANSWER_BYTES_MAX))}") from None
        except OSError as error:
            raise self._error(f"can't be reached ({getattr(error, 'reason', None) or error})") from None

    def _token_in(self, body: bytes) -> tuple[str, float]:
        try:
            answer = json.loads(body)
            token, lifetime_s = answer["access_token"], float(answer.get("expires_in") or LIFETIME_S)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._error("answers without an access_token in JSON") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._error("answers with an access_token that is no printable text")
        return token, lifetime_s

    def _error(self, what: str) -> TokenError:
        what = what.replace(self.secret, "…") if self.secret else what
        return TokenError(
            f"The token endpoint {self.endpoint} {what} for client {self.client_id}: check kafka.security in the "
            "config, and the client at that server"
        )


def msk_tokens(region: str) -> Fetch:
    """Tokens that the AWS credentials of this process sign for the MSK clusters of a region.

    Raises UsageError when the signer is not installed.
    """
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    except ImportError:
        raise UsageError(
            "kafka.security.mechanism: AWS_MSK_IAM needs the signer of AWS: run `pip install 'driftline[msk]'`"
        ) from None

    def fetch() -> tuple[str, float]:
        try:
            token, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
        except Exception as error:  # of botocore, whose classes need not be installed
            raise TokenError(
                f"AWS gives no credentials to sign for MSK in {region} ({type(error).__name__}: {error}): give this "
                "process a role, a profile or keys"
            ) from error
        return str(token), max(expires_ms / 1000 - SystemClock().now_s(), 1.0)

    return fetch


class _NoRedirects(HTTPRedirectHandler):
    """The secret goes to the configured server alone."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


_OPENER: Final = build_opener(_NoRedirects)


def _reason(body: bytes) -> str:
    """The error of RFC 6749, section 5.2, in an answer."""
    try:
        answer = json.loads(body)
        parts = [answer[name] for name in ("error", "error_description") if isinstance(answer.get(name), str)]
    except (ValueError, AttributeError):
        return ""
    text = ": ".join(parts)[:200]
    return f" ({text})" if text and text.isprintable() else ""
