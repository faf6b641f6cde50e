"""An OpenID provider on a free port, which signs with RS256 and checks PKCE, and a visitor with cookies."""

from __future__ import annotations

import base64
import hashlib
import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import http_kit
from joserfc import jwt
from joserfc.jwk import RSAKey
from page_kit import Answer

CLIENT, SECRET = "driftline-page", "s3cret/+ of the client"
HOPS_MAX = 10


@dataclass
class Provider:
    """The provider. A test changes what it says."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1"}))
    published: list[RSAKey] = field(default_factory=list)  # its JWKS; [key] where empty
    claims: dict[str, Any] = field(default_factory=dict)  # over those of the ID token
    header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)  # over the discovery document
    answer: dict[str, str] = field(default_factory=dict)  # over the parameters of the redirect back
    sign: Callable[[dict[str, Any]], str] | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    exchanged: list[dict[str, str]] = field(default_factory=list)  # forms at the token endpoint

    def __call__(self, sent: http_kit.Sent) -> http_kit.Answer:
        parts = urlsplit(sent.path)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            return 200, self._discovery()
        if parts.path == "/jwks":
            return 200, {"keys": [key.as_dict(private=False) for key in self.published or [self.key]]}
        if parts.path == "/authorize":
            return self._authorize(given)
        return self._token(sent) if parts.path == "/token" else (404, None)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks", "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        } | self.metadata  # fmt: skip

    def _authorize(self, given: dict[str, str]) -> http_kit.Answer:
        assert (given["response_type"], given["client_id"], given["code_challenge_method"]) == ("code", CLIENT, "S256")
        assert "openid" in given["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = given
        back = {"code": code, "state": given["state"]} | self.answer
        return 302, None, {"location": f"{given['redirect_uri']}?{urlencode(back)}"}

    def _token(self, sent: http_kit.Sent) -> http_kit.Answer:
        form = {name: values[-1] for name, values in parse_qs(sent.body.decode()).items()}
        self.exchanged.append(form)
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        login = base64.b64decode(sent.headers["authorization"].removeprefix("Basic ")).decode()
        if login != f"{CLIENT}:{SECRET}":
            return 401, {"error": "invalid_client"}
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "u-17", "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            "preferred_username": "ann", "groups": ["ml"],
        } | self.claims  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = self.sign(claims) if self.sign else self.signed(claims)
        return 200, {"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": signed}

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid} | self.header, claims, self.key)


@contextmanager
def provider() -> Iterator[Provider]:
    found = Provider()
    with http_kit.serving(found) as server:
        found.url = server.url
        yield found


@dataclass
class Visitor:
    """A browser without a screen: it keeps cookies and follows redirects."""

    url: str  # of the page
    cookies: dict[str, str] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)  # the Set-Cookie headers
    seen: list[str] = field(default_factory=list)  # addresses, in order

    def get(self, path: str, method: str = "GET", form: dict[str, str] | None = None) -> Answer:
        """One request, at the page or elsewhere."""
        url = path if path.startswith("http") else self.url + path
        parts = urlsplit(url)
        headers = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
        if url.startswith(self.url):
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        client = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            client.request(method, f"{parts.path}?{parts.query}", urlencode(form or {}), headers)
            found = client.getresponse()
            self._keep(found.headers.get_all("set-cookie") or [])
            self.seen.append(url)
            received = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, received, found.read().decode())
        finally:
            client.close()

    def follow(self, path: str) -> Answer:
        """A request and where it leads in the end."""
        for _ in range(HOPS_MAX):
            answer = self.get(path)
            if answer.status not in (302, 303, 307):
                return answer
            path = answer.headers["location"]
        raise AssertionError(f"more than {HOPS_MAX} redirects: {self.seen}")

    def _keep(self, headers: list[str]) -> None:
        self.headers += headers
        for text in headers:
            for name, one in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if "1970" not in one["expires"]:
                    self.cookies[name] = one.value
