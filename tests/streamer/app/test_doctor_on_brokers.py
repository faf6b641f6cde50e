"""Wrong set-ups that only a broker with logins, TLS and ACLs shows: `driftline doctor` names cause and next step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from driftline_process import create_topic, driftline
from rights_kit import add_user, grant_only

from streamer.app.rights import service_grants
from streamer.cli import main
from streamer.config import load_config
from streamer.eventlog.kafka.access.rights import Right
from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = "bus.predictions"


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Broker]:
    """With the topics of the configuration, and a user `service`."""
    with (
        Broker(sasl=True, tls=True, acls=True) as made,
        patch.dict(os.environ, {"SECRET": made.password, "OTHER": "x"}),
    ):
        create_topic(made.bootstrap, EVENTS, 2)
        plain = tmp_path_factory.mktemp("doctor") / "plain.yaml"
        plain.write_text(json.dumps({"kafka": {"bootstrap": made.bootstrap}, "topics": {EVENTS: {}}}))
        driftline("topics", "--config", str(plain), "--create")
        add_user(made, "service")
        yield made


def examined(folder, broker: Broker, security=(), topics=(EVENTS,), expect: int = 3, **kafka) -> dict[str, str]:
    """Fault and next step of each subject of the doctor that is no `ok`."""
    given = {"protocol": broker.secured_protocol, "mechanism": broker.mechanism, "username": "service",
             "password_env": "SECRET", "ca_file": str(broker.ca_file)}  # fmt: skip
    given = {name: value for name, value in (given | dict(security)).items() if value is not None}
    file = folder / "driftline.yaml"
    where = {"bootstrap": broker.secured_bootstrap, "security": given} | kafka
    file.write_text(json.dumps({"kafka": where, "topics": {topic: {} for topic in topics}}))
    ran = CliRunner().invoke(main, ["doctor", "--config", str(file), "--json"])
    assert ran.exit_code == expect, ran.output
    found = map(json.loads, ran.stdout.splitlines())
    return {one["subject"]: f"{one['text']} {one['next_step']}" for one in found if one["level"] != "ok"}


def granted(folder, broker: Broker, taken: Right | None = None) -> None:
    """Give the user all rights of the service but one."""
    file = folder / "rights.yaml"
    file.write_text(json.dumps({"kafka": {"bootstrap": broker.bootstrap}, "topics": {EVENTS: {}}}))
    rights = [one.right for one in service_grants(load_config(str(file))) if not one.is_optional]
    assert taken is None or taken in rights
    grant_only(broker, "service", [one for one in rights if one != taken])


PLAIN = dict.fromkeys(("mechanism", "username", "password_env", "ca_file"))
WRONG = {
    "a host that does not resolve": ({}, {"bootstrap": "no-such-host.invalid:9092"}, "does not resolve. Is it spelled"),
    "a port that nobody listens on": ({}, {"bootstrap": "127.0.0.1:9"}, "refuses connections: is Kafka running there"),
    "no TLS on a port with it": ({"protocol": "SASL_PLAINTEXT", "ca_file": None}, {}, "use SSL or SASL_SSL"),
    "TLS on a port without it": ({}, {"bootstrap": "PLAIN"}, "does not speak TLS, but the protocol is SASL_SSL"),
    "a CA that is not known": ({"ca_file": None}, {}, "certificate that is refused"),
    "no login where the broker requires one": ({**PLAIN, "protocol": "SSL", "ca_file": "CA"}, {}, "set kafka.security"),
    "an unknown user": ({"username": "servce"}, {}, "wrong user name or password"),
    "a wrong password": ({"password_env": "OTHER"}, {}, "Correct kafka.security in the config"),
    "a mechanism that is not offered": ({"mechanism": "PLAIN"}, {}, "it offers SCRAM-SHA-512"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_connection_is_named(broker, tmp_path, name):
    """One fault, of the brokers, with what to change."""
    security, kafka, words = WRONG[name]
    security = {k: str(broker.ca_file) if v == "CA" else v for k, v in security.items()}
    kafka = {k: broker.bootstrap if v == "PLAIN" else v for k, v in kafka.items()}
    found = examined(tmp_path, broker, security, **kafka)
    assert list(found) == ["brokers"]
    assert words in found["brokers"]


@pytest.mark.parametrize(
    "taken",
    [
        Right("topic", EVENTS, "Read"),
        Right("topic", "driftline.alerts", "Write"),
        Right("group", "driftline", "Read"),
        Right("transactional-id", "driftline-", "Write", is_prefix=True),
    ],
    ids=str,
)
def test_a_missing_right_is_named_by_its_kind(broker, tmp_path, taken):
    """With the command that grants it."""
    granted(tmp_path, broker, taken)
    found = examined(tmp_path, broker)
    assert f"refuses User:service: {taken} is not granted" in found["rights"]
    assert f"--add --allow-principal User:service {taken.arguments}" in found["rights"]


def test_topics_that_are_not_there_are_named(broker, tmp_path):
    """An event topic by its near name, and outputs by the command that creates them."""
    plain = dict.fromkeys(PLAIN) | {"protocol": "PLAINTEXT"}
    found = examined(tmp_path, broker, plain, topics=("bus.prediction",), bootstrap=broker.bootstrap)
    assert "did you mean bus.predictions" in found["topics"]
    assert "the output topic bus.prediction-dlt (`driftline topics --config FILE --create` creates" in found["topics"]


def test_a_sound_connection_has_no_fault(broker, tmp_path):
    """Only that the topic is empty is said."""
    granted(tmp_path, broker)
    assert list(examined(tmp_path, broker, expect=0)) == [f"topic {EVENTS}"]
