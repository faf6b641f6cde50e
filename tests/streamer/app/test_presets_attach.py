"""Records of tools: `init` alone writes a configuration, by which a shift is an alert: replayed, and on a broker."""

from __future__ import annotations

import base64
import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from driftline_process import OUTPUTS, create_topic, driftline, messages, running
from google.transit import gtfs_realtime_pb2

from streamer.cli import main
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter

pytestmark = [pytest.mark.slow]

EVENTS, MINUTE_MS = 600, 60_000
FIRST_MS = (int(time.time()) // 60 - EVENTS) * MINUTE_MS


def iso(i: int) -> str:
    return datetime.fromtimestamp((FIRST_MS + i * MINUTE_MS) / 1000, UTC).isoformat().replace("+00:00", "Z")


def headers_of(i: int, kind: str, **more: str) -> list[tuple[str, bytes]]:
    texts = {"specversion": "1.0", "id": f"r{i}", "time": iso(i), "source": "http://localhost:9081/", "type": kind}
    return [(f"ce_{name}", text.encode()) for name, text in {**texts, **more}.items()]


def of_kserve(body, model: str):
    """Request and response of KServe's logger, as Knative's broker writes them to Kafka."""

    def records(i: int, x: float):
        about = {"inferenceservicename": model, "namespace": "ml", "component": "predictor", "endpoint": "default"}
        for kind, content in zip(("request", "response"), body(i, x), strict=True):
            yield content, headers_of(i, f"org.kubeflow.serving.inference.{kind}", **about)

    return records


def v1(_i: int, x: float):
    return {"instances": [{"age": x, "hours": 38}]}, {"predictions": [0.25]}


def v2(i: int, x: float):
    def tensor(name: str, value: float) -> dict:
        return {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}

    return (
        {"id": f"b{i}", "inputs": [tensor("age", x), tensor("hours", 38.0)]},
        {"model_name": "income", "model_version": "3", "id": f"b{i}", "outputs": [tensor("p", 0.25)]},
    )


def of_seldon(i: int, x: float):
    for kind, names, row in (("request", ["age", "hours"], [x, 38]), ("response", ["t:0"], [0.25])):
        content = {"data": {"names": names, "ndarray": [row]}, "meta": {}}
        about = {"inferenceservicename": "seldon", "requestid": f"r{i}"}
        yield content, headers_of(i, f"io.seldon.serving.inference.{kind}", **about)


def of_azureml(i: int, x: float):
    about = {
        "specversion": "1.0", "source": "/subscriptions/0/onlineEndpoints/income/deployments/blue", "time": iso(i),
        "datacontenttype": "application/json", "correlationid": f"c{i}", "xrequestid": f"c{i}", "modelversion": "3",
        "agent": "azureml-ai-monitoring/1.0.0", "contentrange": "bytes 0-118/119",
    }  # fmt: skip
    for kind, row in (("model_inputs", {"age": x, "hours": 38}), ("model_outputs", {"p": 0.25})):
        yield {**about, "id": f"{kind}{i}", "type": f"azureml.inference.{kind}", "data": [row]}, []


def of_sagemaker(i: int, x: float):
    form = {"observedContentType": "text/csv", "encoding": "CSV"}
    ends = {
        "endpointInput": {**form, "mode": "INPUT", "data": f"{x},38"},
        "endpointOutput": {**form, "mode": "OUTPUT", "data": "0.25"},
    }
    yield {"captureData": ends, "eventMetadata": {"eventId": f"e{i}", "inferenceTime": iso(i)}, "eventVersion": "0"}, []


def of_vertex(i: int, x: float):
    payloads = {"request_payload": [json.dumps({"age": x})], "response_payload": ['{"predictions": [0.25]}']}
    logged = iso(i).replace("T", " ").replace("Z", ".000456 UTC")
    yield {"endpoint": "1", "deployed_model_id": "645", "logging_time": logged, "request_id": str(i), **payloads}, []


def of_bentoml(i: int, x: float):
    yield {"timestamp": iso(i), "request_id": f"{i:032}", "age": x, "hours": 38, "prediction": 0.25}, []


def of_cloudevents(i: int, x: float):
    about = {"specversion": "1.0", "id": f"e{i}", "type": "scored", "source": "/scores", "subject": "income"}
    content = base64.b64encode(json.dumps({"age": x, "prediction": 0.25}).encode()).decode()
    yield {**about, "time": iso(i), "data_base64": content}, []


def of_debezium(i: int, x: float):
    row = {"model_id": "income", "event_time": FIRST_MS + i * MINUTE_MS, "age": x, "prediction": 0.25}
    source = {"table": "scores", "ts_ms": FIRST_MS}
    yield {"before": None, "after": row, "op": "c", "source": source, "ts_ms": FIRST_MS}, []


def of_connect(i: int, x: float):
    decimal = {"field": "age", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
               "parameters": {"scale": "2"}}  # fmt: skip
    schema = {"type": "struct", "fields": [decimal, {"field": "model_id", "type": "string"}]}
    age = base64.b64encode(round(100 * x).to_bytes(4)).decode()
    row = {"model_id": "income", "age": age, "event_time": FIRST_MS + i * MINUTE_MS, "prediction": 0.25}
    yield {"schema": schema, "payload": row}, []


def of_gtfs_json(i: int, x: float):
    position = {"latitude": 49.25, "longitude": -123.0, "speed": x}
    at = str(FIRST_MS // 1000 + 60 * i)
    vehicle = {"trip": {"tripId": f"t{i}", "routeId": "99"}, "position": position, "timestamp": at}
    yield {"header": {"gtfsRealtimeVersion": "2.0", "timestamp": at}, "entity": [{"id": "v1", "vehicle": vehicle}]}, []


def of_gtfs(i: int, x: float):
    """A feed as the public bindings write it."""
    feed = gtfs_realtime_pb2.FeedMessage()
    feed.header.gtfs_realtime_version, feed.header.timestamp = "2.0", FIRST_MS // 1000 + 60 * i
    one = feed.entity.add(id="v1").vehicle
    one.trip.trip_id, one.trip.route_id, one.timestamp = f"t{i}", "99", feed.header.timestamp
    one.position.latitude, one.position.longitude, one.position.speed = 49.25, -123.0, x
    yield feed.SerializeToString(), []


def of_snowplow(i: int, x: float):
    score = {"unstruct_event_com_acme_score_1": {"age": x, "hours": 38}}
    yield {"app_id": "shop", "event_id": f"e{i}", "derived_tstamp": iso(i), "event_name": "score", **score}, []


# Halves of one model and id pair up across topics, so the tools have models of their own.
# Preset -> its records, the model and the column whose values shift.
TOOLS = {
    "kserve-v1": (of_kserve(v1, "kserve-1"), "kserve-1", "age"),
    "kserve-v2": (of_kserve(v2, "kserve-2"), "kserve-2", "age"),
    "seldon": (of_seldon, "seldon", "age"),
    "azureml": (of_azureml, "income", "age"),
    "sagemaker": (of_sagemaker, "TOPIC", "c0"),
    "vertex": (of_vertex, "645", "age"),
    "bentoml": (of_bentoml, "TOPIC", "age"),
    "cloudevents": (of_cloudevents, "income", "age"),
    "debezium": (of_debezium, "income", "age"),
    "connect-json": (of_connect, "income", "age"),
    "gtfs-rt": (of_gtfs_json, "99", "speed"),
    "gtfs-rt protobuf": (of_gtfs, "99", "speed"),
    "snowplow": (of_snowplow, "shop", "age"),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A recording of each tool, of a topic of its own."""
    folder, made = tmp_path_factory.mktemp("presets"), []
    xs = np.round(np.random.default_rng(1).normal(np.where(np.arange(EVENTS) < EVENTS // 2, 40, 70), 6), 2).tolist()
    for name, (of_tool, *_) in TOOLS.items():
        found = [(i, one) for i, x in enumerate(xs) for one in of_tool(i, x)]
        rows = [
            (k, FIRST_MS + i * MINUTE_MS, None, v if isinstance(v, bytes) else json.dumps(v).encode(), tuple(headers))
            for k, (i, (v, headers)) in enumerate(found)
        ]
        made.append(str(folder / f"{topic_of(name)}.parquet"))
        with RecordingWriter(made[-1]) as writer:
            writer.write(Records.build(topic_of(name), 0, rows))
    return made


@pytest.fixture(scope="module")
def replayed(recordings, tmp_path_factory):
    """The configuration and the alerts of all tools at once, after `init --yes` and `replay`."""
    config = str(tmp_path_factory.mktemp("replayed") / "driftline.yaml")
    made = CliRunner().invoke(main, ["init", *recordings, "--yes", "--out", config])
    assert made.exit_code == 0, made.output
    ran = CliRunner().invoke(main, ["replay", *recordings, "--config", config])
    assert ran.exit_code == 0, ran.output
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return Path(config).read_text(), [one for one in lines if one["type"] == "alert"]


@pytest.fixture(scope="module")
def attached(recordings, kafka_broker, tmp_path_factory):
    """The same from topics of a broker: `send`, `init --yes`, `check-config` and `run`."""
    config = tmp_path_factory.mktemp("attached") / "driftline.yaml"
    brokers, tag = ("--bootstrap", kafka_broker.bootstrap), uuid.uuid4().hex[:8]
    with pytest.MonkeyPatch.context() as patch:  # the broker is shared, so outputs and group have names of their own
        for what in OUTPUTS:
            patch.setenv(f"DRIFTLINE_OUTPUTS__{what.upper()}", f"driftline.{what}.{tag}")
        patch.setenv("DRIFTLINE_KAFKA__GROUP", f"driftline-{tag}")
        patch.setenv("DRIFTLINE_METRICS__PORT", "0")
        for name in TOOLS:
            create_topic(kafka_broker.bootstrap, topic_of(name), 1)
        driftline("send", *recordings, *brokers)
        topics = [part for name in TOOLS for part in ("--topic", topic_of(name))]
        driftline("init", *brokers, *topics, "--yes", "--out", str(config))
        driftline("topics", "--config", str(config), "--create")
        driftline("check-config", str(config))
        with running(config) as service:
            service.wait_until_done()
            assert service.stop() == 0, "".join(service.said)
    alerts = [json.loads(m.value()) for m in messages(kafka_broker.bootstrap, f"driftline.alerts.{tag}")]
    return config.read_text(), alerts


def topic_of(name: str) -> str:
    return name.replace(" ", "-")


def check(name: str, text: str, alerts: list[dict]) -> None:
    """Of the right model and column, by a configuration that `init` wrote alone; no other column is named."""
    _, model, column = TOOLS[name]
    found = set()
    for one in alerts:
        if one["state"] == "firing":
            (topic,) = {at["topic"] for at in one.values() if isinstance(at, dict) and "topic" in at}
            if topic == topic_of(name):
                found.add((one["model_id"], one["column"]))
    assert found == {(model.replace("TOPIC", topic_of(name)), column)}, text


@pytest.mark.parametrize("name", TOOLS)
def test_a_shift_in_records_of_a_tool_is_an_alert(replayed, name):
    """A replay of the recording by itself names the column that shifts."""
    check(name, *replayed)


@pytest.mark.broker
@pytest.mark.parametrize("name", TOOLS)
def test_a_shift_in_a_topic_of_a_tool_is_an_alert(attached, name):
    """A service on a real broker publishes it on the topic of alerts."""
    check(name, *attached)
