"""The HTTP client of all targets: one pool, no retries of its own, and each failure under one of two names.

Calls about one retrain request have the header `traceparent` of one trace, so that spans of a run are found by the
request. Source: W3C Trace Context, level 1, section 3.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar
from urllib.parse import quote

import urllib3

TIMEOUT_S: Final = 10.0
BODY_BYTES_MAX: Final = 4 << 20  # of an answer
SHOWN_MAX: Final = 200  # characters of an answer in a message
FOR_NOW: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})  # and all from 500 on: it may be mended
WAIT_MAX_S: Final = 3600.0
_TRACE: Final = ContextVar("traceparent", default="")  # of the calls that a thread makes now

T = TypeVar("T")


def traceparent_of(request_id: str) -> str:
    """The `traceparent` of a retrain request: trace and span of its SHA-256, and sampled, so that runs keep spans."""
    digest = sha256(request_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def traced(request_id: str, call: Callable[[], T]) -> T:
    """Do `call`; what it sends by HTTP has the `traceparent` of this request."""
    token = _TRACE.set(traceparent_of(request_id))
    try:
        return call()
    finally:
        _TRACE.reset(token)


class HttpProblem(Exception):  # noqa: N818 - the targets name it
    """No usable answer. `status` is 0 where there was none; then the request may have been carried out."""

    def __init__(self, reason: str, status: int = 0, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.after_s = status, after_s

    @property
    def is_final(self) -> bool:
        """Whether the same request would be refused again."""
        return 400 <= self.status < 500 and self.status not in FOR_NOW


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a request."""

    status: int
    body: bytes
    headers: Mapping[str, str]  # names in lower case

    def json(self) -> Any:
        """The body as JSON, an object; {} for one that is empty. Raises `HttpProblem` for another, as of a proxy."""
        try:
            found = json.loads(self.body) if self.body else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HttpProblem(f"the answer {self.status} is no JSON object: {_shown(self.body)}")
        return found


class Http:
    """Sends requests; safe for threads."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._pool = urllib3.PoolManager(
            num_pools=32, maxsize=16, retries=False, timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s)
        )

    def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        also: Collection[int] = (),
    ) -> HttpAnswer:
        """Send a request; `body` is bytes, or data for JSON. Redirects are not followed: they would lose the body.

        Returns answers of 200 to 299 and of the statuses `also`. Raises `HttpProblem` for all others.
        """
        given = {"user-agent": "driftline", **({"traceparent": trace} if (trace := _TRACE.get()) else {})}
        given |= headers or {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, separators=(",", ":")).encode()
            given.setdefault("content-type", "application/json")
        where = f"{method} {url.partition('?')[0]}"
        try:
            got = self._pool.request(method, url, body=body, headers=given, redirect=False, preload_content=False)
            data = got.read(BODY_BYTES_MAX)
            got.drain_conn() if len(data) < BODY_BYTES_MAX else got.close()
            got.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise HttpProblem(f"{where}: {type(problem).__name__}: {problem}"[: 2 * SHOWN_MAX]) from problem
        answer = HttpAnswer(got.status, data, {name.lower(): value for name, value in got.headers.items()})
        if 200 <= answer.status < 300 or answer.status in also:
            return answer
        raise HttpProblem(f"{where}: {answer.status}: {_shown(data)}", answer.status, _after_s(answer))


def _shown(data: bytes) -> str:
    return " ".join(data[: 4 * SHOWN_MAX].decode(errors="replace").split())[:SHOWN_MAX] or "no text"


def _after_s(answer: HttpAnswer) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), WAIT_MAX_S) if text.isdigit() else 0.0


def joined(url: str, *parts: str) -> str:
    """A URL with path segments behind it, each quoted as one."""
    return "/".join([url.rstrip("/"), *(quote(part, safe="") for part in parts)])
