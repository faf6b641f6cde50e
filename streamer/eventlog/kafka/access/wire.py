"""Single requests to a Kafka broker over a plain socket, for the preflight.

It uses a few requests of the Kafka protocol (https://kafka.apache.org/protocol) in old versions, which every broker
since 1.0 answers.
"""

from __future__ import annotations

import socket
import ssl
import struct

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
