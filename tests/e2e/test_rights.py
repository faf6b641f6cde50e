"""The least rights of each role, on a broker with an authorizer: they suffice, and each of them is needed and named."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from driftline_process import PATIENCE_S, create_topic, driftline, ends, events, messages, running
from page_kit import page_of
from rights_kit import add_user, grant_only

from retrain.engine.engine import Engine
from retrain.messages.action import PublishRequest
from retrain.messages.request import RetrainRequest
from retrain.policy.settings import RetrainSettings
from streamer.app.rights import ROLES, TRAINER_GROUP, check_rights
from streamer.cli import main
from streamer.config import Config, load_config
from streamer.contracts.encoding import json_of
from streamer.errors import BrokerError
from streamer.eventlog.kafka.access.rights import MissingRightError, Right
from streamer.eventlog.kafka.admin import delete_topics
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing.alerts import ready
from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = "bus.predictions"


def request() -> RetrainRequest:
    """A request that the commands of people and trainers can be about."""
    actions = Engine(RetrainSettings()).handle(ready("1d 1h", "1d", "bus-017"))
    return next(action.request for action in actions if isinstance(action, PublishRequest))


CONFIG = Config.model_validate_json(json.dumps({"topics": {EVENTS: {"format": "json"}}}))
SCORES = "scores"
COPIES = {"topics": {"copies": {"format": "json"}}, "rekey": {"copies": [SCORES]}}
NOTIFY = {"notify": {"alertmanager": {"urls": ["http://127.0.0.1:9"]}}}  # nothing is open, so it gets nothing
CONFIGS = dict.fromkeys(ROLES, CONFIG) | {"copier": Config.model_validate_json(json.dumps(COPIES))}
RIGHTS = {role: [one.right for one in table(CONFIGS[role]) if not one.is_optional] for role, table in ROLES.items()}
REQUESTED = request()
REQUEST = REQUESTED.request_id
NO_SERVICE = ["--actor", "ann", "--no-wait"]  # nobody would answer
COMMANDS = {  # what each role runs; together they need all of its rights on topics
    "person": [["approve", REQUEST, *NO_SERVICE], ["requests"], ["history", "bus-017"]],
    "trainer": [["result", REQUEST, "started", *NO_SERVICE]],
    "notifier": [["notify", "--until-end"]],
    "reader": [
        ["models"],
        ["alerts"],
        ["incidents"],
        ["explain", REQUEST],
        ["history", "bus-017"],
        ["requests"],
        ["silences"],
    ],
    "operator": [["status"], ["models"]],
    "verifier": [["verify"]],
    "mender": [["dead-letters", EVENTS, "--replay", "--skip-unreadable"], ["dead-letters", EVENTS]],
    "copier": [["rekey", "--until-end"]],
    "creator": [["topics", "--create"]],
}
EXERCISED_ELSEWHERE = {("creator", "Create"), ("creator", "Alter")}
OF_A_COMMAND = [
    (role, right)
    for role, commands in COMMANDS.items()
    for right in RIGHTS[role]
    # Topics are only created where they are missing; trainers consume with a client of their own.
    if (role, right.operation) not in EXERCISED_ELSEWHERE and right.name != TRAINER_GROUP
]


@dataclass
class Secured:
    """A broker with ACLs, the topics of CONFIG, and configurations that log in."""

    broker: Broker
    folder: Path

    def config_of(self, user: str) -> str:
        path = self.folder / f"{user}.yaml"
        security = {"protocol": "SASL_PLAINTEXT", "mechanism": self.broker.mechanism, "username": user}
        kafka = {"bootstrap": self.broker.secured_bootstrap, "security": security | {"password_env": "KAFKA_SECRET"}}
        rest = {"topics": {EVENTS: {"format": "json"}}, "commit": {"interval_s": 0.2}, "metrics": {"port": 0}}
        rest |= COPIES if user == "copier" else {}
        rest |= NOTIFY if user == "notifier" else {}
        path.write_text(json.dumps({"kafka": kafka, **rest}, indent=1))
        return str(path)

    def run(self, role: str) -> list[tuple[int, str]]:
        """Exit code and output of each command of a role."""
        config = self.config_of(role)
        done = [CliRunner().invoke(main, [*command, "--config", config]) for command in COMMANDS[role]]
        return [(one.exit_code, one.output) for one in done]


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[Secured]:
    with Broker(sasl=True, acls=True) as broker, patch.dict(os.environ, {"KAFKA_SECRET": broker.password}):
        made = Secured(broker, tmp_path_factory.mktemp("secured"))
        plain = made.folder / "plain.yaml"
        plain.write_text(json.dumps({"kafka": {"bootstrap": broker.bootstrap}, "topics": {EVENTS: {"format": "json"}}}))
        for topic in (EVENTS, SCORES, f"{SCORES}-dlt", "copies"):
            create_topic(broker.bootstrap, topic, 2)
        driftline("topics", "--config", str(plain), "--create")
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for value in (*events(1), b"no event"):
            producer.produce(SCORES, value)
        producer.produce(CONFIG.outputs.requests, json_of(REQUESTED), REQUESTED.model_id.encode())
        assert producer.flush(PATIENCE_S) == 0
        for role in ROLES:
            add_user(broker, role)
        yield made


def test_the_rights_of_the_service_suffice(secured):
    """With exactly the required rights, the service folds events, commits, and keeps unreadable records."""
    grant_only(secured.broker, "service", RIGHTS["service"])
    bootstrap = secured.broker.bootstrap
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in [*events(100), b"no event"]:
        producer.produce(EVENTS, value)
    assert producer.flush(PATIENCE_S) == 0
    with running(Path(secured.config_of("service"))) as service:
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    assert [message.value() for message in messages(bootstrap, f"{EVENTS}-dlt")] == [b"no event"]
    assert messages(bootstrap, CONFIG.outputs.watermarks)


@pytest.mark.parametrize(("role", "options"), [("reader", ["--read-only"]), ("person", [])])
def test_the_page_needs_no_more_than_its_role(secured, role, options):
    """With the rights of a reader the page shows the requests, and with those of a person it sends decisions."""
    grant_only(secured.broker, role, RIGHTS[role])
    with page_of("--config", secured.config_of(role), *options) as url:
        page = urllib.request.urlopen(f"{url}/request?id={REQUEST}").read().decode()  # noqa: S310 - loopback
        assert "Nothing new is read" not in page
        assert ("/act?kind=reject" in page) == (role == "person")


@pytest.mark.parametrize("taken", [right for right in RIGHTS["service"] if not right.is_prefix], ids=str)
def test_each_right_on_topics_and_the_group_is_checked_at_the_start(secured, taken):
    """Without one right on a topic or on the group, the check at the start names that right alone."""
    grant_only(secured.broker, "service", [right for right in RIGHTS["service"] if right != taken])
    config = load_config(secured.config_of("service"))
    with pytest.raises(MissingRightError, match=f"refuses User:service: {taken} is not granted") as refused:
        check_rights(config.kafka.connection(), config)
    assert refused.value.missing == (taken,)
    assert f"--add --allow-principal User:service {taken.arguments}`" in str(refused.value)


@pytest.mark.parametrize("supervised", [True, False])
def test_a_missing_transactional_id_ends_the_service(secured, supervised):
    """Without Write on its transactional ids, the service ends with exit code 3, also under its parent."""
    grant_only(secured.broker, "service", [right for right in RIGHTS["service"] if not right.is_prefix])
    how = [] if supervised else ["--no-supervise"]
    said = ends("run", *how, "--config", secured.config_of("service"), exit_code=BrokerError.exit_code)
    assert "refuses User:service: Write on transactional id driftline-0 is not granted" in said


def test_the_service_ends_when_rights_on_topics_are_missing(secured):
    """All missing rights are in one message, with exit code 3."""
    missing = [Right("topic", EVENTS, "Read"), Right("topic", "driftline.alerts", "Write")]
    grant_only(secured.broker, "service", [right for right in RIGHTS["service"] if right not in missing])
    said = ends("run", "--no-supervise", "--config", secured.config_of("service"), exit_code=BrokerError.exit_code)
    assert f"Read on topic {EVENTS} and Write on topic driftline.alerts are not granted" in said


@pytest.mark.parametrize("role", COMMANDS)
def test_the_rights_of_a_role_suffice_for_its_commands(secured, role):
    """With exactly its rights, Kafka refuses no command of a role."""
    grant_only(secured.broker, role, RIGHTS[role])
    assert [output for code, output in secured.run(role) if code == BrokerError.exit_code] == []


@pytest.mark.parametrize(("role", "taken"), OF_A_COMMAND, ids=str)
def test_each_right_of_a_role_is_named_when_it_is_missing(secured, role, taken):
    """Without one right, a command of the role ends with exit code 3 and names that resource."""
    grant_only(secured.broker, role, [right for right in RIGHTS[role] if right != taken])
    refused = [output for code, output in secured.run(role) if code == BrokerError.exit_code]
    assert refused
    # A client without Read or Write does not see the topic at all, which Kafka calls Describe.
    named = str(taken).removeprefix(taken.operation)
    assert all(f"{named} is not granted" in output for output in refused)
    assert all(f"refuses User:{role}: " in output for output in refused)


@pytest.mark.parametrize("may_read", [False, True])
def test_a_status_without_read_on_events_states_a_bound(secured, may_read):
    """An operator need not read events: then the page says how many wait at most."""
    producer = Producer({"bootstrap.servers": secured.broker.bootstrap})
    producer.produce(EVENTS, events(1)[0])
    assert producer.flush(PATIENCE_S) == 0
    everything = [grant.right for grant in ROLES["operator"](CONFIG)]
    grant_only(secured.broker, "operator", everything if may_read else RIGHTS["operator"])
    code, output = secured.run("operator")[0]
    assert code == 0, output
    assert ("at most" in output) is not may_read


def test_a_creator_without_create_is_told_so(secured):
    """Create is needed where a topic is missing, and is named."""
    gone = f"{CONFIG.outputs.control}-dlt"
    delete_topics(KafkaConnection(bootstrap=(secured.broker.bootstrap,)), [gone])
    grant_only(secured.broker, "creator", [right for right in RIGHTS["creator"] if right.operation != "Create"])
    ((code, output),) = secured.run("creator")
    assert code == BrokerError.exit_code
    assert f"refuses User:creator: Create on topic {gone} is not granted" in output
    grant_only(secured.broker, "creator", RIGHTS["creator"])
    assert [code for code, _ in secured.run("creator")] == [0]
