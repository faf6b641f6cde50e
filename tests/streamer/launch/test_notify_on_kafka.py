"""`driftline notify` on a real broker: an incident reaches a webhook, and people through a real Alertmanager."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from driftline_process import DRIFTLINE, Place, Running
from http_kit import Sent, Server, serving
from kafka_kit import slowness
from notify_kit import SECRET, incident, request
from prometheus_kit import alertmanager, wait_for

from streamer.errors import BrokerError
from streamer.eventlog.base import Output
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.transfer import send
from streamer.launch.targets.webhook import why_unsigned

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def place(kafka_broker, tmp_path):
    return Place(kafka_broker.bootstrap, tmp_path, partitions=1)


@pytest.fixture
def systemd(tmp_path):
    """The socket that `Type=notify` gives a process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def messages_of(manager: socket.socket) -> list[bytes]:
    """What the process has sent since the last call."""
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096))
    return found


@pytest.fixture
def server():
    with serving(lambda _: (200, None)) as made:
        yield made


@contextmanager
def notifying(place: Place) -> Iterator[Running]:
    command = [*DRIFTLINE, "notify", "--config", str(place.config)]
    environment = os.environ | {
        "HOOK": SECRET,
        "NOTIFY_SOCKET": str(place.folder / "notify"),
        "WATCHDOG_USEC": "3000000",
    }
    running = Running(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.stop()


def publish(place: Place, topic: str, *values: bytes) -> None:
    connection = KafkaConnection(bootstrap=(place.bootstrap,))
    send(connection, [Output(place.outputs[topic], b"key", value) for value in values])


def configure(place: Place, manager: str, hook: str) -> None:
    notify = {"alertmanager": {"urls": [manager]}, "webhook": {"url": hook, "secret_env": "HOOK"}, "resend_s": 1}
    notify |= {"hold_s": 60, "link": "https://ui/{incident_id}"}
    place.config.write_text(f"{place.config.read_text()}notify: {json.dumps(notify)}\n")


def known(manager: str) -> dict[str, dict]:
    """The alerts that Alertmanager holds, by incident."""
    with urllib.request.urlopen(f"{manager}/api/v2/alerts", timeout=10) as answer:  # noqa: S310
        return {one["labels"]["incident_id"]: one for one in json.load(answer)}


def people(server: Server, status: str) -> list[dict]:
    """The alerts of this status that people have got from Alertmanager."""
    found = [one.json["alerts"] for one in server.sent if one.path == "/people"]
    return [alert for alerts in found for alert in alerts if alert["status"] == status]


def test_an_incident_reaches_people(place, server, systemd, tmp_path):
    """It fires and resolves through Alertmanager; a killed process repeats no message, and keeps the alert firing."""

    def calls(status):
        return people(server, status)

    def hooks():
        return hooks_of(server)

    with alertmanager(tmp_path, f"{server.url}/people") as manager:
        configure(place, manager, f"{server.url}/hook")
        with notifying(place) as first:
            wait_for(lambda: first.metrics().get("driftline_ready") == 1, lambda: "".join(first.said))
            assert {b"READY=1\nSTATUS=ready", b"WATCHDOG=1"} <= set(messages_of(systemd))
            publish(place, "incidents", incident(1), incident(2))
            publish(place, "requests", request(1))
            wait_for(lambda: len(calls("firing")) >= 2 and len(hooks()) == 3, lambda: "".join(first.said))
            wait_for(lambda: first.metrics()['driftline_notifications_waiting{receiver="webhook"}'] == 0, str)
            alert = next(one for one in calls("firing") if one["labels"]["model"] == "bus-1")
            assert alert["labels"]["alertname"] == "DriftlineIncident"
            assert alert["annotations"]["summary"] == "bus-1: headway_s up: 699 -> 882"
            assert alert["annotations"]["link"] == alert["generatorURL"] == f"https://ui/incident-{1:016x}"
            group = place.config.read_text().partition("group: ")[2].partition("}")[0] + "-notify"
            wait_for(lambda: offsets(place, group).get(place.outputs["incidents"]) == 2, lambda: str(group))
            first.kill()
        ends_at = known(manager)[f"incident-{1:016x}"]["endsAt"]
        publish(place, "incidents", incident(2, state="closed"))
        with notifying(place) as second:
            wait_for(lambda: len(hooks()) == 4, lambda: "".join(second.said))
            wait_for(lambda: calls("resolved"), lambda: "".join(second.said))
            assert {one["labels"]["model"] for one in calls("resolved")} == {"bus-2"}
            publish(place, "incidents", incident(1, alerts=2))
            publish(place, "incidents", incident(3))
            wait_for(lambda: f"incident-{3:016x}" in known(manager), lambda: "".join(second.said))
            assert known(manager)[f"incident-{1:016x}"]["endsAt"] > ends_at
            publish(place, "incidents", incident(1, state="closed"), incident(3, state="closed"))
            resolved = {f"bus-{n}" for n in (1, 3)}
            wait_for(
                lambda: resolved <= {one["labels"]["model"] for one in calls("resolved")}, lambda: "".join(second.said)
            )
            wait_for(lambda: len(hooks()) == 7, lambda: str([one.json["type"] for one in hooks()]))
            assert second.stop() == 0, "".join(second.said)
    check_messages(hooks(), 7)


def check_messages(hooks: list[Sent], n: int) -> None:
    """So many messages, each another change under another id, with a valid signature."""
    types = {(one.json["type"], one.json["data"]["model_id"]) for one in hooks}
    assert len({one.headers["webhook-id"] for one in hooks}) == len(hooks) == len(types) == n
    now_s = int(hooks[-1].headers["webhook-timestamp"])
    assert [why_unsigned(one.headers, one.body, [SECRET], now_s) for one in hooks] == [None] * n


def test_a_second_process_ends_the_first(place, server, tmp_path):
    """Kafka fences the first at its next commit; the second one goes on, and repeats keep their id."""
    configure(place, server.url, f"{server.url}/hook")
    with notifying(place) as first:
        wait_for(lambda: first.metrics().get("driftline_ready") == 1, lambda: "".join(first.said))
        with notifying(place) as second:
            wait_for(lambda: second.metrics().get("driftline_ready") == 1, lambda: "".join(second.said))
            publish(place, "incidents", incident(1))
            wait_for(lambda: first.process.poll() is not None, lambda: "".join(first.said))
            assert first.process.returncode == BrokerError.exit_code, "".join(first.said)
            publish(place, "incidents", incident(1, state="closed"))
            wait_for(lambda: len({one.json["type"] for one in hooks_of(server)}) == 2, lambda: "".join(second.said))
            assert second.stop() == 0, "".join(second.said)
    ids = {one.json["type"]: one.headers["webhook-id"] for one in hooks_of(server)}
    assert {one.headers["webhook-id"] for one in hooks_of(server)} == set(ids.values())


def test_a_storm_of_incidents_is_soon_sent(place, server, tmp_path):
    """2,000 incidents at once: the first 500 are out within half a minute, and one message stands for the rest."""
    text = f"notify: {{incidents_max: 500, webhook: {{url: '{server.url}/hook', secret_env: HOOK}}}}\n"
    place.config.write_text(place.config.read_text() + text)
    with notifying(place) as notifier:
        wait_for(lambda: notifier.metrics().get("driftline_ready") == 1, lambda: "".join(notifier.said))
        publish(place, "incidents", *(incident(n) for n in range(2_000)))
        began_s = time.monotonic()
        wait_for(lambda: len(hooks_of(server)) == 501, lambda: f"{len(hooks_of(server))} {''.join(notifier.said)}")
        took_s = time.monotonic() - began_s
        resident = notifier.metrics()["process_resident_memory_bytes"]
        print(f"501 messages in {took_s:.1f} s, {resident / 1e6:.0f} MB")
        assert took_s < 30 * slowness()
        assert resident < 512e6, "the limit of deploy/kubernetes"
        assert notifier.stop() == 0, "".join(notifier.said)
    assert [one.json["type"] for one in hooks_of(server)][-1] == "incident.many"


def hooks_of(server: Server) -> list[Sent]:
    """The messages of the webhook, in order."""
    return [one for one in server.sent if one.path == "/hook"]


def offsets(place: Place, group: str) -> dict[str, int]:
    """The committed offsets of a group, by topic."""
    from streamer.eventlog.kafka.admin import group_status

    found = group_status(KafkaConnection(bootstrap=(place.bootstrap,)), group).offsets
    return {topic: offset for (topic, _), offset in found.items()}
