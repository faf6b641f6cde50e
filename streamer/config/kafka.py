"""The section `kafka`: brokers, consumer group and security. The file itself never holds a password."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from streamer.errors import UsageError
from streamer.eventlog.kafka.connection import ADDRESS, KafkaConnection

PORT_MAX: Final = 65_535


def _as_tuple(value: Any) -> Any:
    """Addresses from a list, or from text as in Kafka's own tools: `host:9092,host:9093`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list) else value


_BY_PASSWORD: Final = (("username",), ("password_file", "password_env"), ())
_LOGINS: Final = {  # of a mechanism: settings that it needs, the places of its secret, and what else it takes
    "OAUTHBEARER": (("token_endpoint", "client_id"), ("client_secret_file", "client_secret_env"), ("scope",)),
    "AWS_MSK_IAM": (("aws_region",), (), ()),
}
_LOGIN: Final = (
    *("username", "password_file", "password_env"),
    *("token_endpoint", "client_id", "client_secret_file", "client_secret_env", "scope", "aws_region"),
)


class SecuritySection(BaseModel):
    """Encryption and authentication of the connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"  # protocol of the listener
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None = (
        None  # with SASL: authentication mechanism
    )
    username: str | None = None  # of PLAIN and SCRAM: user name
    password_file: Path | None = None  # of PLAIN and SCRAM: file with the password; or use password_env
    password_env: str | None = None  # of PLAIN and SCRAM: environment variable with the password
    token_endpoint: str | None = None  # of OAUTHBEARER: https URL that grants tokens for client credentials
    client_id: str | None = None  # of OAUTHBEARER: client at the token endpoint
    client_secret_file: Path | None = None  # of OAUTHBEARER: file with the client's secret; or use client_secret_env
    client_secret_env: str | None = None  # of OAUTHBEARER: environment variable with the client's secret
    scope: str | None = None  # of OAUTHBEARER: scope of the tokens, if the token endpoint requires one
    aws_region: str | None = None  # of AWS_MSK_IAM: region of the cluster
    ca_file: Path | None = None  # with TLS: trusted certificates (PEM); the default is those of the system
    cert_file: Path | None = None  # with TLS: client certificate (PEM), if the broker requires one
    key_file: Path | None = None  # with TLS: private key (PEM) of cert_file

    @field_validator("mechanism", mode="before")
    @classmethod
    def _is_supported(cls, mechanism: Any) -> Any:
        if mechanism == "GSSAPI":
            raise ValueError(
                "GSSAPI is not supported: Driftline has no Kerberos; use SCRAM-SHA-512, OAUTHBEARER or a client "
                "certificate (protocol SSL with cert_file)"
            )
        return mechanism

    @model_validator(mode="after")
    def _fits_together(self) -> SecuritySection:
        sasl, tls = self.protocol.startswith("SASL"), self.protocol.endswith("SSL")
        if sasl:
            self._check_login()
        for name in () if sasl else ("mechanism", *_LOGIN):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no use with protocol {self.protocol}; set SASL_SSL or SASL_PLAINTEXT")
        for name in () if tls else ("ca_file", "cert_file", "key_file"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no use with protocol {self.protocol}; set SSL or SASL_SSL")
        if (self.cert_file is None) != (self.key_file is None):
            given, other = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise ValueError(f"{given} needs {other} as well")
        return self

    def _check_login(self) -> None:
        if self.mechanism is None:
            raise ValueError(f"mechanism is missing; protocol {self.protocol} needs it")
        if self.mechanism == "AWS_MSK_IAM" and self.protocol != "SASL_SSL":
            raise ValueError("mechanism AWS_MSK_IAM needs protocol SASL_SSL")
        needed, secrets, optional = _LOGINS.get(self.mechanism, _BY_PASSWORD)
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name} is missing; mechanism {self.mechanism} needs it")
        for name in _LOGIN:
            if name not in (*needed, *secrets, *optional) and getattr(self, name) is not None:
                raise ValueError(f"{name} has no use with mechanism {self.mechanism}")
        if secrets and sum(getattr(self, name) is not None for name in secrets) != 1:
            raise ValueError(f"protocol {self.protocol} needs one of {' and '.join(secrets)}")

    def secret(self, name: str, environ: Mapping[str, str]) -> str | None:
        """The secret `password` or `client_secret`, read at the call; None if it is not configured.

        Raises `UsageError` when it is not where the configuration names it.
        """
        variable, file = getattr(self, f"{name}_env"), getattr(self, f"{name}_file")
        if variable is not None:
            if variable not in environ:
                raise UsageError(
                    f"kafka.security.{name}_env: the variable {variable} is not set; set it to the "
                    f"{name.replace('_', ' ')}"
                )
            return environ[variable]
        if file is None:
            return None
        try:
            return str(file.read_text("utf-8")).removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"kafka.security.{name}_file can't be read: {error}") from None

    def tokens(self, environ: Mapping[str, str]) -> Any:
        """The provider of tokens for kafka-python, if the mechanism uses any. Raises `UsageError`."""
        from streamer.eventlog.kafka.access.tokens import CachedTokens, ClientCredentials, msk_tokens

        if self.mechanism == "AWS_MSK_IAM":
            return CachedTokens(msk_tokens(self.aws_region or ""))
        if self.mechanism != "OAUTHBEARER":
            return None
        secret = self.secret("client_secret", environ) or ""
        return CachedTokens(ClientCredentials(self.token_endpoint or "", self.client_id or "", secret, self.scope))


class KafkaSection(BaseModel):
    """The brokers, the consumer group and the connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bootstrap: Annotated[tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | list[str])] = (
        "localhost:9092",
    )  # host:port of one or more brokers: a list, or text with commas
    group: Annotated[str, MinLen(1)] = (
        "driftline"  # consumer group, one for each service; with another outputs.prefix, that without its last dot
    )
    start: Literal["earliest", "latest"] = "earliest"  # first offset of a topic that the group has not read yet
    delivery: Literal["exactly_once", "at_least_once"] = (
        "exactly_once"  # at_least_once: for brokers without transactions; a crash may then repeat a record
    )
    session_timeout_s: Annotated[float, Ge(1), Le(1800)] = (
        30.0  # time in s without a heartbeat after which a worker leaves the group; brokers limit it too
    )
    security: SecuritySection = SecuritySection()  # encryption and authentication

    @field_validator("bootstrap")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if not addresses:
            raise ValueError("must name at least one broker, as host:port")
        for address in addresses:
            match = ADDRESS.fullmatch(address)
            if match is None:
                raise ValueError(f"must be host:port, such as localhost:9092, not {address!r}")
            if not 1 <= int(match["port"]) <= PORT_MAX:
                raise ValueError(f"has port {match['port']}, but ports are 1 to {PORT_MAX}")
        return addresses

    def connection(self, environ: Mapping[str, str] = os.environ) -> KafkaConnection:
        """The connection, including the password. Raises `UsageError` when the password is missing."""
        security = self.security
        files = {name: getattr(security, name) for name in ("ca_file", "cert_file", "key_file")}
        return KafkaConnection(
            bootstrap=self.bootstrap,
            protocol=security.protocol,
            mechanism=security.mechanism,
            username=security.username,
            password=security.secret("password", environ),
            tokens=security.tokens(environ) if security.protocol.startswith("SASL") else None,
            **{name: None if file is None else str(file) for name, file in files.items()},
        )
