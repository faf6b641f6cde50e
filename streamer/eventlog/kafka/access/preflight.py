"""Preflight: the reason why a Kafka address can't be used.

kafka-python reports "unable to bootstrap" after half a minute, whatever the cause. The preflight takes the same steps
on one blocking socket, and reports the step that failed. It uses a few requests of the Kafka protocol
(https://kafka.apache.org/protocol) in old versions, which every broker since 1.0 answers.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from streamer.errors import BrokerError
from streamer.eventlog.kafka.connection import KafkaConnection

# Error codes of the Kafka protocol.
UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED = 33, 34, 58

# Makes one of kafka-python's SASL mechanisms, which builds the messages and checks the broker's answers.
NewSasl = Callable[[KafkaConnection], Any]


def obstacle(address: Address, connection: KafkaConnection, new_sasl: NewSasl) -> str | None:
    """The reason why `address` does not serve a client with this connection; None when it does.

    Takes at most a few times `STEP_TIMEOUT_S`.
    """
    try:
        with _open(address, connection) as wire:
            try:
                if connection.sasl:
                    _log_in(wire, connection, new_sasl)
                brokers = wire.advertised_brokers()
            except Misunderstanding as words:
                _explain(words, address, connection)
        _require_reachable(brokers)
    except Obstacle as found:
        return str(found)
    return None


def _open(address: Address, connection: KafkaConnection) -> Wire:
    raw = _connected(address)
    if not connection.tls:
        return Wire(raw)
    try:
        return Wire(_context(connection).wrap_socket(raw, server_hostname=address[0]))
    except ssl.SSLCertVerificationError as error:
        raise Obstacle(
            f"shows a certificate that is refused ({error.verify_message}): name its CA in ca_file"
        ) from error
    except OSError as error:
        if _mechanisms_offered(address, tls=False) is not None:
            raise Obstacle(f"does not speak TLS, but the protocol is {connection.protocol}") from error
        raise Obstacle(f"fails the TLS handshake ({error}): is this a TLS port?") from error
    finally:
        # Once wrapped, the raw socket is detached and this does nothing.
        raw.close()


def _connected(address: Address) -> socket.socket:
    host = address[0]
    try:
        return socket.create_connection(address, STEP_TIMEOUT_S)
    except (socket.gaierror, UnicodeError) as error:
        raise Obstacle(
            f"can't be found: the host name {host} does not resolve. Is it spelled right, and does DNS know it here?"
        ) from error
    except TimeoutError:
        raise Obstacle(
            f"does not answer within {STEP_TIMEOUT_S:.0f} s: is the host up, and is a firewall between?"
        ) from None
    except ConnectionRefusedError as error:
        raise Obstacle("refuses connections: is Kafka running there, on this port?") from error
    except OSError as error:
        raise Obstacle(f"can't be reached: {error.strerror or error}") from error


def _context(connection: KafkaConnection) -> ssl.SSLContext:
    """Neither stricter nor laxer than the context that kafka-python makes of the same files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(connection.ca_file) if connection.ca_file else context.load_default_certs()
        if connection.cert_file:
            context.load_cert_chain(connection.cert_file, connection.key_file)
    except OSError as error:
        files = [file for file in (connection.ca_file, connection.cert_file, connection.key_file) if file]
        raise Obstacle(f"was not tried: one of {', '.join(files)} can't be used ({error.strerror or error})") from error
    return context


def _log_in(wire: Wire, connection: KafkaConnection, new_sasl: NewSasl) -> None:
    mechanism = connection.sasl_mechanism or ""
    code, offered = wire.sasl_handshake(mechanism)
    if code == UNSUPPORTED_SASL_MECHANISM:
        raise Obstacle(f"does not offer the SASL mechanism {mechanism}; it offers {', '.join(offered) or 'none'}")
    if code == ILLEGAL_SASL_STATE:
        wanted = "SSL" if connection.tls else "PLAINTEXT"
        raise Obstacle(f"asks for no login, but the protocol is {connection.protocol}: use {wanted}")
    if code:
        raise Obstacle(f"refused the SASL handshake with error {code} of the Kafka protocol")
    sasl = new_sasl(connection)
    while not sasl.is_done():
        try:
            token = sasl.auth_bytes()
        except BrokerError as error:
            raise Obstacle(f"was given no login: {error}") from error
        code, words, challenge = wire.sasl_authenticate(token)
        if code:
            raise Obstacle(_refused(connection, code, words))
        try:
            sasl.receive(challenge)
        except ValueError as error:
            raise Obstacle(f"failed to prove that it knows the password of {connection.username!r}: {error}") from error


def _refused(connection: KafkaConnection, code: int, words: str) -> str:
    cause = "wrong user name or password" if code == SASL_AUTHENTICATION_FAILED else f"error {code}"
    if connection.tokens is not None:
        return (
            f"refuses the token ({words}): compare issuer, audience, scope and expiry that the broker wants with what "
            "kafka.security in the config asks for"
        )
    return f"refuses the user {connection.username!r}: {cause} ({words}). Correct kafka.security in the config"


def _require_reachable(advertised: list[Address]) -> None:
    """Clients switch from the bootstrap address to the advertised ones; with Docker those are often unreachable."""
    reasons = []
    for address in advertised:
        try:
            _connected(address).close()
        except Obstacle as found:
            reasons.append(f"{address[0]}:{address[1]} {found}")
        else:
            return
    if reasons:
        raise Obstacle(
            f"sends clients on to brokers that can't be used (its advertised.listeners): {'; '.join(reasons)}"
        )


def _explain(words: Misunderstanding, address: Address, connection: KafkaConnection) -> NoReturn:
    """A broker closes connections of the wrong protocol; try the other protocols to find the right one."""
    if not connection.tls and _speaks_tls(address):
        raise Obstacle(f"speaks TLS, but the protocol is {connection.protocol}: use SSL or SASL_SSL")
    if not connection.sasl and (offered := _mechanisms_offered(address, connection.tls)):
        names = ", ".join(offered)
        raise Obstacle(
            f"asks for a login (SASL, it offers {names}), but the protocol is {connection.protocol}: set "
            "kafka.security in the config"
        )
    raise Obstacle(f"{words}: is this the port of a Kafka broker, and {connection.protocol} its protocol?")


def _unverified() -> ssl.SSLContext:
    """For protocol checks only, never for credentials: the check for TLS must not depend on the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _speaks_tls(address: Address) -> bool:
    try:
        with _connected(address) as raw, _unverified().wrap_socket(raw):
            return True
    except (OSError, Obstacle):
        return False


def _mechanisms_offered(address: Address, tls: bool) -> list[str] | None:
    """The SASL mechanisms of the port, none if it needs no login; None when it does not speak Kafka this way."""
    try:
        raw = _connected(address)
        with Wire(_unverified().wrap_socket(raw) if tls else raw) as wire:
            # No broker has this mechanism: the refusal lists the ones it has.
            return wire.sasl_handshake("NONE")[1]
    except (OSError, Obstacle, Misunderstanding):
        return None


STEP_TIMEOUT_S = 4.0
ANSWER_BYTES_MAX = 10_000_000

# Keys of the protocol's requests, all used in the same version.
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
VERSION = 1
CORRELATION_ID = 0

Address = tuple[str, int]


class Obstacle(Exception):  # noqa: N818 - the result of a check
    """The reason why an address can't be used, as the predicate of a sentence about the address."""


class Misunderstanding(Exception):  # noqa: N818
    """The peer closed the connection or sent no valid answer: it may expect another protocol."""

    def __init__(self, words: str = "closed the connection without an answer") -> None:
        super().__init__(words)


class Wire:
    """Requests over one connected socket, one at a time. Each raises Obstacle or Misunderstanding."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def advertised_brokers(self) -> list[Address]:
        """The advertised addresses of the cluster's brokers."""
        answer = self._call(METADATA, struct.pack(">i", 0))
        brokers = []
        for _ in range(answer.integer("i")):
            answer.integer("i")
            brokers.append((answer.text(), answer.integer("i")))
            answer.text()
        return brokers

    def sasl_handshake(self, mechanism: str) -> tuple[int, list[str]]:
        """Request a login by `mechanism`: the error code, and the mechanisms of the broker."""
        answer = self._call(SASL_HANDSHAKE, struct.pack(">h", len(mechanism)) + mechanism.encode())
        return answer.integer("h"), [answer.text() for _ in range(answer.integer("i"))]

    def sasl_authenticate(self, token: bytes) -> tuple[int, str, bytes]:
        """Send the mechanism's next token: the error code, the broker's message, and its own token."""
        answer = self._call(SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
        return answer.integer("h"), answer.text(), answer.bytes("i")

    def _call(self, api: int, body: bytes) -> Answer:
        """Send one request and return its answer, both without headers."""
        client_id = b"driftline-preflight"
        message = struct.pack(">hhih", api, VERSION, CORRELATION_ID, len(client_id)) + client_id + body
        try:
            self._socket.sendall(struct.pack(">i", len(message)) + message)
            (size,) = struct.unpack(">i", self._receive(4))
            if not 4 <= size <= ANSWER_BYTES_MAX:
                raise Misunderstanding("answers, but not in the Kafka protocol")
            return Answer(self._receive(size)[4:])
        except TimeoutError:
            raise Obstacle(
                f"accepted the connection but did not answer within {STEP_TIMEOUT_S:.0f} s: is this the port of a "
                "Kafka broker, and is the broker well?"
            ) from None
        except ssl.SSLError as error:
            if "CERTIFICATE_REQUIRED" in str(error):
                raise Obstacle("requires a client certificate: set cert_file and key_file") from error
            raise Misunderstanding from error
        except OSError as error:
            raise Misunderstanding from error

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = self._socket.recv(min(size - len(received), 65_536))
            if not chunk:
                raise ConnectionResetError
            received += chunk
        return bytes(received)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Answer:
    """The fields of an answer, in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def integer(self, form: str) -> int:
        """A number in the notation of `struct`: h, i or q."""
        try:
            (value,) = struct.unpack_from(f">{form}", self._data, self._at)
        except struct.error:
            raise Misunderstanding("answers, but not in the Kafka protocol") from None
        self._at += struct.calcsize(f">{form}")
        return int(value)

    def bytes(self, length_form: str) -> bytes:
        """Bytes with their length before them; a null is empty."""
        length = max(self.integer(length_form), 0)
        value = self._data[self._at : self._at + length]
        self._at += length
        return value

    def text(self) -> str:
        return self.bytes("h").decode("utf-8", "replace")
