"""A client of a schema registry that speaks the REST interface of Confluent's.

It reads schemas by id or GUID, with what they refer to. Schemas never change, so an answer is good for ever. A registry
that can't be reached is tried again until `retry_s` has passed; then the process ends, and its parent starts it again.
A schema that it lacks may be registered a moment later, so that is asked again too, until `missing_s` has passed.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from streamer.clock import Clock, SystemClock
from streamer.codecs.schemas.framing import SchemaKey
from streamer.errors import BrokerError, UsageError
from streamer.logs import log_of

ANSWER_BYTES_MAX: Final = 16 << 20
REFERENCES_MAX: Final = 1000  # schemas that one schema needs
PAUSE_S: Final = (0.1, 0.3, 1.0, 3.0)  # between attempts; the last one repeats
MISSING_MAX: Final = 10  # times `missing_s` that a process waits for schemas in all, as any bytes may look like an id
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may pass by themselves


log = log_of("codecs")


class RegistryError(BrokerError):
    """The schema registry can't be reached, or refuses the client."""


class NoSuchSchema(LookupError):  # noqa: N818 -- an answer, not a fault of the registry
    """The registry has no such schema."""


@dataclass(frozen=True, slots=True)
class SchemaText:
    """One schema as registered.

    `kind` is AVRO, PROTOBUF or JSON. `text` is the schema; of Protobuf, a FileDescriptorProto in base64. `references`
    are the schemas it needs, by the names it imports them under, each before those that need it.
    """

    kind: str
    text: str
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """A schema registry, as Confluent's or one with its interface. Raises ValueError for a URL that is none.

    Args:
        url: base address: https://registry.example:8081
        username: user name of HTTP Basic authentication.
        password_env: environment variable with the password.
        password_file: file with the password; or use password_env.
        token_env: environment variable with a bearer token, instead of a user name.
        ca_file: file of certificate authorities in PEM; without it, those of the system.
        timeout_s: longest wait for one answer, in s.
        retry_s: longest time in s for which an unreachable registry is tried again before the process ends.
        missing_s: longest time in s for which a schema that the registry lacks is asked again before its records are
            dead letters.
    """

    url: str
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    token_env: str | None = None
    ca_file: Path | None = None
    timeout_s: float = 10
    retry_s: float = 60
    missing_s: float = 30

    def __post_init__(self) -> None:
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username:
            raise ValueError(f"url: {self.url!r} is no http or https URL without a login")
        if not 0 < self.timeout_s <= 600 or not 0 <= self.retry_s <= 86_400:
            raise ValueError("timeout_s must be above 0 and at most 600, and retry_s 0 to 86400")
        if not 0 <= self.missing_s <= 3600:
            raise ValueError(f"missing_s is {self.missing_s}; it must be 0 to 3600")
        if self.username and self.token_env:
            raise ValueError("token_env: a token and a username can't be used together")


class SchemaRegistry:
    """Fetches schemas. Not thread-safe."""

    def __init__(
        self,
        settings: RegistrySettings,
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        """Raises `UsageError` when a secret or certificate is not where the settings name it."""
        self._settings, self._sleep, self._now_s = settings, sleep, (clock or SystemClock()).monotonic_s
        self._base = settings.url.rstrip("/")
        self._missing_left_s = MISSING_MAX * settings.missing_s
        self._login = _login(settings, environ)
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise UsageError(f"registry.ca_file {settings.ca_file} can't be read: {error}") from None
        self._opener = build_opener(_StayAtServer(), HTTPSHandler(context=context))

    def schema(self, key: SchemaKey) -> SchemaText:
        """The schema of an id or GUID. Raises `NoSuchSchema` and `RegistryError`."""
        where = f"/schemas/ids/{key}" if isinstance(key, int) else f"/schemas/guids/{key}"
        answer = self._awaited(where)
        if answer.get("schemaType") == "PROTOBUF":
            answer |= {"schema": self._get(f"{where}?format=serialized").get("schema")}
        references: dict[str, str] = {}
        self._follow(answer, references)
        return SchemaText(str(answer.get("schemaType") or "AVRO"), _text_in(answer, self._base, where), references)

    def _awaited(self, path: str) -> dict[str, Any]:
        """The answer about a schema that may be registered soon. Raises `NoSuchSchema` and `RegistryError`."""
        left_s, attempt = min(self._settings.missing_s, self._missing_left_s), 0
        while True:
            try:
                return self._get(path)
            except NoSuchSchema:
                pause_s = PAUSE_S[min(attempt, len(PAUSE_S) - 1)]
                if pause_s > left_s:
                    raise
            if not attempt:
                log.warning("the schema registry %s has no %s yet: asking again for %.0f s", self._base, path, left_s)
            self._sleep(pause_s)
            left_s, self._missing_left_s, attempt = left_s - pause_s, self._missing_left_s - pause_s, attempt + 1

    def _follow(self, answer: Mapping[str, Any], found: dict[str, str]) -> None:
        """Add what a schema refers to, and what that refers to before it."""
        for one in answer.get("references") or ():
            name, subject, version = one.get("name"), one.get("subject"), one.get("version")
            if not isinstance(name, str) or name in found:
                continue
            if len(found) >= REFERENCES_MAX:
                raise RegistryError(f"{self._base}: a schema refers to more than {REFERENCES_MAX:,} others")
            where = f"/subjects/{quote(str(subject), '')}/versions/{quote(str(version), '')}"
            kind = answer.get("schemaType")
            found[name] = ""  # a circle ends here
            needed = self._get(f"{where}?format=serialized" if kind == "PROTOBUF" else where)
            self._follow({**needed, "schemaType": kind}, found)
            del found[name]
            found[name] = _text_in(needed, self._base, where)

    def _get(self, path: str) -> dict[str, Any]:
        """One answer as JSON. Raises `NoSuchSchema` and `RegistryError`."""
        end_s = self._now_s() + self._settings.retry_s
        attempt = 0
        while True:
            try:
                return self._once(path)
            except (OSError, RegistryError) as problem:
                pause_s = PAUSE_S[min(attempt, len(PAUSE_S) - 1)]
                if isinstance(problem, RegistryError) or self._now_s() + pause_s > end_s:
                    raise self._error(problem) from None
                self._sleep(pause_s)
                attempt += 1

    def _once(self, path: str) -> dict[str, Any]:
        request = Request(self._base + path, headers={"Accept": "application/json"})  # noqa: S310 - checked by the settings
        if self._login:
            request.add_header("Authorization", self._login)
        try:
            with self._opener.open(request, timeout=self._settings.timeout_s) as answer:
                found = json.loads(answer.read(ANSWER_BYTES_MAX))
        except HTTPError as error:
            with error:
                if error.code == 404:
                    raise NoSuchSchema(path) from None
                if error.code in PASSING:
                    raise OSError(f"it answers {error.code}") from None
                raise RegistryError(f"it answers {error.code} to {path}") from None
        except ValueError:
            raise RegistryError(f"it answers {path} with something that is no JSON") from None
        if not isinstance(found, dict):
            raise RegistryError(f"it answers {path} with JSON that is no object")
        return found

    def _error(self, problem: Exception) -> RegistryError:
        why = getattr(problem, "reason", None) or problem
        return RegistryError(
            f"The schema registry {self._base} gives no schema: {why}. Check `registry` of the topic, or give "
            "`schema_folder`"
        )


class _StayAtServer(HTTPRedirectHandler):
    """The login goes to the configured server alone."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


def _text_in(answer: Mapping[str, Any], base: str, where: str) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RegistryError(f"The schema registry {base} answers {where} without a schema")
    return text


def _login(settings: RegistrySettings, environ: Mapping[str, str]) -> str | None:
    """The header `Authorization`, if any. Raises `UsageError`."""
    if settings.token_env:
        return f"Bearer {_variable(settings.token_env, environ)}"
    if not settings.username:
        return None
    password = _variable(settings.password_env, environ) if settings.password_env else ""
    if settings.password_file is not None:
        try:
            password = settings.password_file.read_text().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise UsageError(f"registry.password_file {settings.password_file} can't be read: {error}") from None
    return "Basic " + base64.b64encode(f"{settings.username}:{password}".encode()).decode()


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise UsageError(f"The registry needs the environment variable {name}, which is not set")
    return environ[name]
