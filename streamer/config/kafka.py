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


class SecuritySection(BaseModel):
    """Encryption and authentication of the connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"  # protocol of the listener
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None  # with SASL: authentication mechanism
    username: str | None = None  # with SASL: user name
    password_file: Path | None = None  # with SASL: file with the password; or use password_env
    password_env: str | None = None  # with SASL: environment variable with the password
    ca_file: Path | None = None  # with TLS: trusted certificates (PEM); the default is those of the system
    cert_file: Path | None = None  # with TLS: client certificate (PEM), if the broker requires one
    key_file: Path | None = None  # with TLS: private key (PEM) of cert_file

    @model_validator(mode="after")
    def _fits_together(self) -> SecuritySection:
        sasl, tls = self.protocol.startswith("SASL"), self.protocol.endswith("SSL")
        if sasl:
            for name in ("mechanism", "username"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} is missing; protocol {self.protocol} needs it")
            if (self.password_file is None) == (self.password_env is None):
                raise ValueError(f"protocol {self.protocol} needs one of password_file and password_env")
        for name in () if sasl else ("mechanism", "username", "password_file", "password_env"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no use with protocol {self.protocol}; set SASL_SSL or SASL_PLAINTEXT")
        for name in () if tls else ("ca_file", "cert_file", "key_file"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no use with protocol {self.protocol}; set SSL or SASL_SSL")
        if (self.cert_file is None) != (self.key_file is None):
            given, other = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise ValueError(f"{given} needs {other} as well")
        return self

    def password(self, environ: Mapping[str, str]) -> str | None:
        """The password, read at the call. Raises `UsageError` when it is not where the configuration names it."""
        if self.password_env is not None:
            if self.password_env not in environ:
                raise UsageError(
                    f"kafka.security.password_env: the variable {self.password_env} is not set; set it to the password"
                )
            return environ[self.password_env]
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"kafka.security.password_file can't be read: {error}") from None


class KafkaSection(BaseModel):
    """The brokers, the consumer group and the connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bootstrap: Annotated[tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | list[str])] = (
        "localhost:9092",
    )  # host:port of one or more brokers: a list, or text with commas
    group: Annotated[str, MinLen(1)] = (
        "driftline"  # consumer group; services with different settings need different groups
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
            password=security.password(environ),
            **{name: None if file is None else str(file) for name, file in files.items()},
        )
