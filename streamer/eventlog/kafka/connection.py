"""Access to a Kafka cluster: addresses, transport and credentials, one value for all clients."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import UsageError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
TOKEN_MECHANISMS = ("OAUTHBEARER", "AWS_MSK_IAM")
MECHANISMS = (*PASSWORD_MECHANISMS, *TOKEN_MECHANISMS)
ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]/@]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class KafkaConnection:
    """Addresses (`host:port`) of some brokers of a cluster, and the client's protocol and credentials.

    `mechanism` goes with the SASL protocols: with `username` and `password`, or with `tokens`, the provider of
    kafka-python for OAUTHBEARER and AWS_MSK_IAM. The three files (PEM) go with the SSL protocols, where without
    `ca_file` the system's certificates are trusted. Secrets are in no `repr`.

    Raises UsageError when the parts do not fit together.
    """

    bootstrap: tuple[str, ...]
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tokens: Any = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"The protocol {self.protocol!r} is not one of {', '.join(PROTOCOLS)}")
        if not self.addresses:
            raise UsageError("No bootstrap server is given: name at least one as host:port")
        self._check_credentials()
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise UsageError(
                f"The protocol {self.protocol} uses no certificates: use SSL or SASL_SSL, or leave the files out"
            )
        if self.key_file and not self.cert_file:
            raise UsageError("A key_file is of no use without its cert_file")

    def _check_credentials(self) -> None:
        given = (self.username, self.password, self.tokens)
        if not self.sasl and (self.mechanism, *given) != (None, None, None, None):
            raise UsageError(
                f"The protocol {self.protocol} sends no credentials: use SASL_SSL, or leave out {_CREDENTIALS}"
            )
        if not self.sasl:
            return
        if self.mechanism in TOKEN_MECHANISMS:
            if self.tokens is None or given[:2] != (None, None):
                raise UsageError(f"The mechanism {self.mechanism} needs tokens, and no username and password")
        elif None in (self.mechanism, self.username, self.password):
            raise UsageError(f"The protocol {self.protocol} needs a mechanism, a username and a password")
        elif self.mechanism not in MECHANISMS:
            raise UsageError(f"The mechanism {self.mechanism!r} is not one of {', '.join(MECHANISMS)}")

    @property
    def sasl_mechanism(self) -> str | None:
        """The mechanism as brokers name it: MSK takes the tokens of IAM by OAUTHBEARER."""
        return "OAUTHBEARER" if self.mechanism in TOKEN_MECHANISMS else self.mechanism

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        """Whether the client logs in."""
        return self.protocol.startswith("SASL")

    @property
    def principal(self) -> str:
        """The client's name in ACLs, where it follows from the credentials; else ""."""
        return f"User:{self.username}" if self.username else ""

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """`bootstrap` as pairs of host and port. Raises UsageError when one is neither host:port nor [ipv6]:port."""
        return tuple(_parsed(address) for address in self.bootstrap)

    def client_arguments(self) -> dict[str, Any]:
        """The arguments that a client of kafka-python needs for this connection."""
        arguments = {
            "security_protocol": self.protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "sasl_oauth_token_provider": self.tokens,
            "ssl_cafile": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        return {"bootstrap_servers": list(self.bootstrap), **given}


_CREDENTIALS = "mechanism, username and password"


def _parsed(address: str) -> tuple[str, int]:
    match = ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise UsageError(f"The bootstrap server {address!r} is not of the form host:port")
    return match["ipv6"] or match["name"], int(match["port"])
