"""Why a Kafka address can't be used, found out by talking to it.

kafka-python only says "unable to bootstrap" after half a minute, whatever the cause. This goes the same way on one
blocking socket, step by step, and names the step that failed. Requests are those of the Kafka protocol
(https://kafka.apache.org/protocol) in old versions that every broker since 1.0 answers.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from streamer.logs.kafka_connection import KafkaConnection

STEP_TIMEOUT_S = 4.0
ANSWER_BYTES_MAX = 10_000_000

METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED = 33, 34, 58

Address = tuple[str, int]
# Makes one of kafka-python's SASL mechanisms, which knows what to say to the broker and what to make of its answers.
NewSasl = Callable[[KafkaConnection], Any]


class Obstacle(Exception):  # noqa: N818 - not an error of ours: it is the answer
    """Why an address can't be used, as the predicate of a sentence that begins with the address."""


class _Misunderstanding(Exception):  # noqa: N818
    """The other side closed the connection or talks of something else: it may expect another protocol."""

    def __init__(self, words: str = "closed the connection without an answer") -> None:
        super().__init__(words)


def obstacle(address: Address, connection: KafkaConnection, new_sasl: NewSasl) -> str | None:
    """Why `address` does not serve a client that connects as `connection` says; None when it does.

    Takes at most a few times `STEP_TIMEOUT_S`.
    """
    try:
        with _open(address, connection) as wire:
            try:
                if connection.sasl:
                    _log_in(wire, connection, new_sasl)
                advertised = _advertised(wire)
            except _Misunderstanding as words:
                _explain(words, address, connection)
        _require_reachable(advertised)
    except Obstacle as found:
        return str(found)
    return None


class _Wire:
    """Requests and answers over one connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def call(self, api: int, version: int, body: bytes) -> _Reader:
        """One request and its answer without the header. Raises Obstacle or _Misunderstanding."""
        client_id = b"driftline-preflight"
        message = struct.pack(">hhih", api, version, 0, len(client_id)) + client_id + body
        try:
            self._socket.sendall(struct.pack(">i", len(message)) + message)
            (size,) = struct.unpack(">i", self._receive(4))
            if not 4 <= size <= ANSWER_BYTES_MAX:
                raise _Misunderstanding("answers, but not in the Kafka protocol")
            return _Reader(self._receive(size)[4:])
        except TimeoutError:
            raise Obstacle(f"accepted the connection but did not answer within {STEP_TIMEOUT_S:.0f} s") from None
        except ssl.SSLError as error:
            if "CERTIFICATE_REQUIRED" in str(error):
                raise Obstacle("asks for a client certificate: name cert_file and key_file") from error
            raise _Misunderstanding from error
        except OSError as error:
            raise _Misunderstanding from error

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = self._socket.recv(min(size - len(received), 65_536))
            if not chunk:
                raise ConnectionResetError
            received += chunk
        return bytes(received)

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class _Reader:
    """The fields of an answer, in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def integer(self, form: str) -> int:
        """A number in the notation of `struct`: h, i or q."""
        try:
            (value,) = struct.unpack_from(f">{form}", self._data, self._at)
        except struct.error:
            raise _Misunderstanding("answers, but not in the Kafka protocol") from None
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


def _open(address: Address, connection: KafkaConnection) -> _Wire:
    raw = _connected(address)
    if not connection.tls:
        return _Wire(raw)
    try:
        return _Wire(_context(connection).wrap_socket(raw, server_hostname=address[0]))
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
        raise Obstacle(f"can't be found: the host name {host} does not resolve") from error
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


def _log_in(wire: _Wire, connection: KafkaConnection, new_sasl: NewSasl) -> None:
    mechanism = connection.mechanism or ""
    code, offered = _handshake(wire, mechanism)
    if code == UNSUPPORTED_SASL_MECHANISM:
        raise Obstacle(f"does not offer the SASL mechanism {mechanism}; it offers {', '.join(offered) or 'none'}")
    if code == ILLEGAL_SASL_STATE:
        wanted = "SSL" if connection.tls else "PLAINTEXT"
        raise Obstacle(f"asks for no login, but the protocol is {connection.protocol}: use {wanted}")
    if code:
        raise Obstacle(f"refused the SASL handshake with error {code} of the Kafka protocol")
    sasl = new_sasl(connection)
    while not sasl.is_done():
        token = sasl.auth_bytes()
        answer = wire.call(SASL_AUTHENTICATE, 1, struct.pack(">i", len(token)) + token)
        code, words, challenge = answer.integer("h"), answer.text(), answer.bytes("i")
        if code:
            cause = "wrong user name or password" if code == SASL_AUTHENTICATION_FAILED else f"error {code}"
            raise Obstacle(f"refuses the user {connection.username!r}: {cause} ({words})")
        try:
            sasl.receive(challenge)
        except ValueError as error:
            raise Obstacle(f"failed to prove that it knows the password of {connection.username!r}: {error}") from error


def _handshake(wire: _Wire, mechanism: str) -> tuple[int, list[str]]:
    answer = wire.call(SASL_HANDSHAKE, 1, struct.pack(">h", len(mechanism)) + mechanism.encode())
    return answer.integer("h"), [answer.text() for _ in range(answer.integer("i"))]


def _advertised(wire: _Wire) -> list[Address]:
    """The addresses under which the brokers of the cluster want to be known."""
    answer = wire.call(METADATA, 1, struct.pack(">i", 0))
    brokers = []
    for _ in range(answer.integer("i")):
        answer.integer("i")
        brokers.append((answer.text(), answer.integer("i")))
        answer.text()
    return brokers


def _require_reachable(advertised: list[Address]) -> None:
    """Clients leave the bootstrap address at once for the advertised ones; behind Docker those often lead nowhere."""
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


def _explain(words: _Misunderstanding, address: Address, connection: KafkaConnection) -> NoReturn:
    """A broker hangs up on whoever speaks the wrong protocol; talk to it in the others to learn which it wants."""
    if not connection.tls and _speaks_tls(address):
        raise Obstacle(f"speaks TLS, but the protocol is {connection.protocol}: use SSL or SASL_SSL")
    if not connection.sasl and (offered := _mechanisms_offered(address, connection.tls)):
        names = ", ".join(offered)
        raise Obstacle(f"asks for a login (SASL, it offers {names}), but the protocol is {connection.protocol}")
    raise Obstacle(f"{words}: is this the port of a Kafka broker, and {connection.protocol} its protocol?")


def _unverified() -> ssl.SSLContext:
    """For questions only, never for credentials: the answer to "is this TLS" must not depend on the certificate."""
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
    """What the port offers for a login, none if it asks for no login; None when it does not speak Kafka this way."""
    try:
        raw = _connected(address)
        with _Wire(_unverified().wrap_socket(raw) if tls else raw) as wire:
            # A mechanism that no broker has: the refusal lists what there is.
            return _handshake(wire, "NONE")[1]
    except (OSError, Obstacle, _Misunderstanding):
        return None
