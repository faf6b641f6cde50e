"""Tokens: of a local token endpoint, for a broker that takes unsigned ones; and signed for MSK, without a network."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.parse import parse_qs

import pytest
from kafka_kit import Place, begin
from rights_kit import grant_only

from streamer.clock import ManualClock
from streamer.errors import BrokerError, UsageError
from streamer.eventlog.kafka.access.rights import Right
from streamer.eventlog.kafka.access.tokens import CachedTokens, ClientCredentials, TokenError, msk_tokens
from streamer.eventlog.kafka.admin import preflight
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing.kafka import Broker

SECRET = "s3cret/with:signs"  # noqa: S105 - of a server that this file runs
OAUTH = {
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
    "listener.name.secured.oauthbearer.sasl.jaas.config": (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";'
    ),
}


class Endpoint:
    """A token endpoint on loopback. `answer` decides what it says; `asked` are the forms it was sent."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.logins: list[str] = []
        self.lifetime_s = 60
        self.status, self.body = 200, None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                endpoint.asked.append(parse_qs(form))
                endpoint.logins.append(base64.b64decode(self.headers["Authorization"].split()[1]).decode())
                body = json.dumps(endpoint.grant() if endpoint.body is None else endpoint.body).encode()
                self.send_response(endpoint.status)
                if endpoint.status == 302:
                    self.send_header("Location", f"{endpoint.url}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def grant(self) -> dict[str, object]:
        now_s = time.time()
        parts = {"alg": "none"}, {"sub": "driftline", "iat": now_s, "exp": now_s + self.lifetime_s}
        token = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        return {"access_token": f"{token}.", "expires_in": self.lifetime_s, "token_type": "Bearer"}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker(sasl=True, acls=True, settings=OAUTH) as started:
        yield started


def connection(broker: Broker, endpoint: Endpoint, secret: str = SECRET) -> KafkaConnection:
    return KafkaConnection(
        bootstrap=(broker.secured_bootstrap,),
        protocol=broker.secured_protocol,
        mechanism="OAUTHBEARER",
        tokens=CachedTokens(ClientCredentials(endpoint.url, "driftline", secret, "kafka")),
    )


@pytest.mark.broker
@pytest.mark.slow
def test_a_log_works_with_tokens(broker, endpoint, caplog):
    """All clients of a log share one token; its principal gets the rights; neither secret nor token is logged."""
    caplog.set_level(logging.DEBUG)
    place = Place(broker)
    place.connection = connection(broker, endpoint)
    group = place.settings.group_id
    topics = (place.events, place.alerts, place.epochs, place.out)
    rights = [Right("topic", topic, operation) for topic in topics for operation in ("Read", "Write")]
    rights += [Right("group", group, "Read"), Right("transactional-id", group, "Write", is_prefix=True)]
    grant_only(broker, "driftline", rights)
    preflight(place.connection)
    with place.log() as log:
        begin(log)
        log.commit([place.output("first")], [place.epoch(1, 0)])
    assert place.outputs() == ["first"]
    assert endpoint.asked == [{"grant_type": ["client_credentials"], "scope": ["kafka"]}]
    assert endpoint.logins == ["driftline:s3cret%2Fwith%3Asigns"]
    said = caplog.text + repr(place.connection)
    assert SECRET not in said
    assert place.connection.tokens.token() not in said


@pytest.mark.broker
@pytest.mark.slow
def test_the_preflight_names_what_is_wrong_with_a_token(broker, endpoint):
    """A refused client and a refused token are one sentence each, without the secret."""
    endpoint.lifetime_s = -60
    with pytest.raises(BrokerError, match="refuses the token"):
        preflight(connection(broker, endpoint))
    endpoint.status, endpoint.body = 401, {"error": "invalid_client", "error_description": f"not {SECRET}"}
    with pytest.raises(BrokerError, match=r"answers 401 \(invalid_client: not …\) for client driftline"):
        preflight(connection(broker, endpoint))


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, [], "answers 500 for client"),
        (200, {"token": "x"}, "answers without an access_token"),
        (200, ["x"], "answers without an access_token"),
        (200, {"access_token": "a\x01auth=b"}, "no printable text"),
        (302, {}, "answers 302"),
    ],
)
def test_an_endpoint_that_grants_no_token_is_named(endpoint, status, body, said):
    """The error names the endpoint and its answer. A redirect is not followed, because the secret would go along."""
    endpoint.status, endpoint.body = status, body
    with pytest.raises(TokenError, match=f"token endpoint {endpoint.url} .*{said}"):
        ClientCredentials(endpoint.url, "driftline", SECRET)()
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_is_away_is_named(endpoint):
    """An endpoint without a server behind it is named with the reason."""
    endpoint.close()
    with pytest.raises(TokenError, match="can't be reached"):
        ClientCredentials(endpoint.url, "driftline", SECRET)()


def test_a_token_is_renewed_before_its_end():
    """One token serves until four fifths of its lifetime are over."""
    clock, asked = ManualClock(), []

    def fetch() -> tuple[str, float]:
        asked.append(clock.monotonic_s())
        return f"token {len(asked)}", 100.0

    tokens = CachedTokens(fetch, clock)
    assert [tokens.token() for _ in range(3)] == ["token 1"] * 3
    clock.advance(79)
    assert tokens.token() == "token 1"
    clock.advance(1)
    assert tokens.token() == "token 2"


def test_a_secret_travels_encrypted():
    """An http URL is for loopback alone."""
    with pytest.raises(UsageError, match="no https URL"):
        ClientCredentials("http://login.example/token", "driftline", SECRET)


def test_msk_tokens_are_signed_by_the_credentials_of_the_process(monkeypatch):
    """The signer of AWS makes a token without a network, from the keys of the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-tests")
    token, lifetime_s = msk_tokens("eu-west-1")()
    url = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    assert url.startswith("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect")
    assert 0 < lifetime_s <= 900


def test_a_missing_signer_is_named():
    """Without the package, the error says what to install."""
    with (
        patch.dict(sys.modules, {"aws_msk_iam_sasl_signer": None}),
        pytest.raises(UsageError, match=r"driftline\[msk\]"),
    ):
        msk_tokens("eu-west-1")
