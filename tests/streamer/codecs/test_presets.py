"""Presets read the records of their tools by name; the events are the canonical ones."""

from __future__ import annotations

import base64
import json
import random

import pytest
from codec_oracle import NOON_MS, columns_of, decode, tables_of
from google.transit import gtfs_realtime_pb2

from streamer.codecs import CODECS
from streamer.codecs.base import Reason
from streamer.codecs.presets import PRESETS
from streamer.codecs.presets.streams import SNOWPLOW_COLUMNS
from streamer.config import Config
from streamer.eventlog.base import Records
from streamer.events import Names

NOON = "2026-11-23T12:00:00Z"


def codec_of(preset, **settings):
    config = Config.model_validate_json(json.dumps({"topics": {"t": {"preset": preset, **settings}}}))
    topic = config.topics["t"]
    return CODECS[topic.format][1](topic)


def read(preset, records, **settings):
    """Records are (value, headers)."""
    raw = [value if isinstance(value, bytes) else json.dumps(value).encode() for value, _ in records]
    rows = [(100 + i, NOON_MS, None, raw[i], tuple(headers.items())) for i, (_, headers) in enumerate(records)]
    names = Names.fresh()
    batch, dead = codec_of(preset, **settings).decode(Records.build("topic", 3, rows), names)
    return batch, dead, names


def check(preset, records, expected, **settings):
    batch, dead, names = read(preset, records, **settings)
    assert not len(dead), dead.detail
    wanted_names = Names.fresh()
    wanted, _ = decode(*expected, names=wanted_names)
    got, want = columns_of(batch), columns_of(wanted)
    assert {k: v for k, v in got.items() if k != "offset"} == {k: v for k, v in want.items() if k != "offset"}
    assert tables_of(names) == tables_of(wanted_names)


def ce(kind, **more):
    head = {
        "ce_specversion": "1.0",
        "ce_id": "r1",
        "ce_time": NOON,
        "ce_type": f"org.kubeflow.serving.inference.{kind}",
    }
    return {name: text.encode() for name, text in {**head, "ce_inferenceservicename": "income", **more}.items()}


def event(**fields):
    return {"model_id": "income", "prediction_id": "r1", "event_time": NOON_MS, **fields}


AGES = {"name": "age", "shape": [2, 1], "datatype": "INT64", "data": [23, 39]}
PAIR = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1.5, 2.5], [3.5, 4.5]]}
VEHICLE = {
    "id": "v1",
    "vehicle": {
        "trip": {"tripId": "t1", "routeId": "99", "directionId": 1},
        "position": {"latitude": 49.25, "longitude": -123.0, "speed": 8.5},
        "currentStopSequence": 7, "currentStatus": "IN_TRANSIT_TO", "timestamp": str(NOON_MS // 1000),
    },
}  # fmt: skip
VEHICLE_EVENT = {
    "model_id": "99", "event_time": NOON_MS, "prediction_id": f"t1@{NOON_MS // 1000}",
    "features": {
        "direction_id": 1, "latitude": 49.25, "longitude": -123.0, "speed": 8.5, "current_stop_sequence": 7,
        "current_status": "IN_TRANSIT_TO",
    },
}  # fmt: skip
CONNECT = {
    "type": "struct",
    "fields": [
        {"field": "fare", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
         "parameters": {"scale": "2"}},
        {"field": "model_id", "type": "string"},
    ],
}  # fmt: skip
INSTANCES = base64.b64encode(b'{"instances": [{"age": 1}]}').decode()
FARE = base64.b64encode((1234).to_bytes(2)).decode()
ROW = {"model_id": "m", "fare": FARE, "event_time": NOON_MS, "prediction": 2.0}

CASES = {
    "kserve-v1 request": ("kserve-v1", {"instances": [{"age": 1}, {"age": 2}]}, ce("request"),
        [[event(prediction_id="r1/0", features={"age": 1}), event(prediction_id="r1/1", features={"age": 2})]], {}),
    "kserve-v1 lists": ("kserve-v1", {"instances": [[1, 2.5]]}, ce("request"),
        [event(features={"c0": 1, "c1": 2.5})], {}),
    "kserve-v1 named": ("kserve-v1", {"instances": [[1, 2.5]]}, ce("request"),
        [event(features={"age": 1, "x": 2.5})], {"fields": {"names": ["age", "x"]}}),
    "kserve-v1 response": ("kserve-v1", {"predictions": [[0.5]]}, ce("response"), [event(prediction=0.5)], {}),
    "kserve-v2 request": ("kserve-v2", {"id": "b", "inputs": [AGES, PAIR]}, ce("request"),
        [[event(prediction_id="r1/0", features={"age": 23, "x[0]": 1.5, "x[1]": 2.5}),
          event(prediction_id="r1/1", features={"age": 39, "x[0]": 3.5, "x[1]": 4.5})]], {}),
    "kserve-v2 response": ("mlserver",
        {"model_name": "m", "model_version": "3", "id": "b",
         "outputs": [{"name": "p", "shape": [1], "data": [0.25]}]}, {},
        [{"model_id": "m", "model_version": "3", "prediction_id": "b", "event_time": NOON_MS, "prediction": 0.25}], {}),
    "kserve-v2 structured": ("kserve-v2",
        {"id": "r1", "time": NOON, "type": "request", "inferenceservicename": "income",
         "data": {"inputs": [{"name": "age", "shape": [1], "data": [23]}]}}, {}, [event(features={"age": 23})], {}),
    "seldon request": ("seldon", {"data": {"names": ["age", "x"], "ndarray": [[1, 2.5]]}, "meta": {}},
        ce("request", ce_requestid="q"), [event(prediction_id="q", features={"age": 1, "x": 2.5})], {}),
    "seldon tensor": ("seldon", {"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [1, 2]}}},
        ce("request"), [event(features={"a": 1, "b": 2})], {}),
    "seldon response": ("seldon", {"data": {"names": ["t:0"], "ndarray": [[0.5]]}, "meta": {}}, ce("response"),
        [event(prediction=0.5)], {}),
    "azureml inputs": ("azureml",
        {"specversion": "1.0", "id": "x", "type": "azureml.inference.model_inputs", "time": NOON, "correlationid": "r1",
         "source": "/subscriptions/0/onlineEndpoints/income/deployments/blue", "data": [{"age": 1}, {"age": 2}]}, {},
        [[event(model_version="blue", prediction_id="r1/0", features={"age": 1}),
          event(model_version="blue", prediction_id="r1/1", features={"age": 2})]], {}),
    "azureml outputs": ("azureml",
        {"specversion": "1.0", "id": "x", "type": "azureml.inference.model_outputs", "time": NOON, "modelversion": "3",
         "source": "/onlineEndpoints/income", "data": [{"eta": 0.5, "correlationid": "r1"}]}, {},
        [event(model_version="3", prediction=0.5)], {}),
    "sagemaker csv": ("sagemaker",
        {"captureData": {"endpointInput": {"data": "1,2.5\n3,4.5", "encoding": "CSV"},
                         "endpointOutput": {"data": "0.5\n0.25", "encoding": "CSV"}},
         "eventMetadata": {"eventId": "r1", "inferenceTime": NOON}, "eventVersion": "0"}, {},
        [[event(prediction_id="r1/0", features={"age": 1, "x": 2.5}, prediction=0.5),
          event(prediction_id="r1/1", features={"age": 3, "x": 4.5}, prediction=0.25)]],
        {"fields": {"model_id": "=income", "names": ["age", "x"]}}),
    "sagemaker json in base64": ("sagemaker",
        {"captureData": {"endpointInput": {"data": INSTANCES, "encoding": "BASE64"}},
         "eventMetadata": {"eventId": "r1", "inferenceTime": NOON}}, {}, [event(features={"age": 1})],
        {"fields": {"model_id": "=income"}}),
    "sagemaker truth": ("sagemaker",
        {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "r1"}}, {},
        [event(label=1)], {"fields": {"model_id": "=income"}}),
    "vertex": ("vertex",
        {"endpoint": "1", "deployed_model_id": "income", "logging_time": "2026-11-23 12:00:00.000456 UTC",
         "request_id": "r1",
         "request_payload": ['{"age": 44.0}'], "response_payload": ['{"predictions": [0.5]}']}, {},
        [event(features={"age": 44.0}, prediction=0.5)], {}),
    "bentoml": ("bentoml", {"timestamp": NOON, "request_id": "r1", "age": 5, "pred": 2.0}, {},
        [event(features={"age": 5}, prediction=2.0)], {"fields": {"model_id": "=income", "prediction": "$.pred"}}),
    "cloudevents binary": ("cloudevents", {"age": 5, "prediction": 2.0}, {**ce("x"), "ce_subject": b"income"},
        [event(features={"age": 5}, prediction=2.0)], {}),
    "cloudevents structured": ("cloudevents",
        {"specversion": "1.0", "id": "r1", "type": "t", "source": "s", "time": NOON, "subject": "income",
         "data": {"features": {"age": 5}}}, {}, [event(features={"age": 5})], {}),
    "cloudevents base64": ("cloudevents",
        {"specversion": "1.0", "id": "r1", "type": "t", "source": "s", "time": NOON, "subject": "income",
         "data_base64": base64.b64encode(b'{"age": 5}').decode()}, {}, [event(features={"age": 5})], {}),
    "connect-json": ("connect-json", {"schema": CONNECT, "payload": ROW}, {},
        [{"model_id": "m", "event_time": NOON_MS, "features": {"fare": 12.34}, "prediction": 2.0}], {}),
    "debezium": ("debezium",
        {"before": None, "after": {"model_id": "m", "fare": {"scale": 2, "value": FARE}}, "op": "c",
         "source": {"ts_ms": NOON_MS}, "ts_ms": NOON_MS + 9}, {},
        [{"model_id": "m", "event_time": NOON_MS, "features": {"fare": 12.34}}], {}),
    "debezium deletion": ("debezium", {"payload": {"before": {"model_id": "m"}, "after": None, "op": "d"}}, {}, [], {}),
    "gtfs-rt json": ("gtfs-rt", {"header": {"timestamp": "5"}, "entity": [VEHICLE, {"id": "a", "alert": {}}]}, {},
        [VEHICLE_EVENT], {}),
    "snowplow": ("snowplow",
        {"app_id": "shop", "event_id": "r1", "collector_tstamp": NOON, "platform": "web", "geo_country": "CA",
         "unstruct_event_com_acme_score_1": {"score": 0.5}, "contexts_com_acme_user_1": [{"age": 5}]}, {},
        [{"model_id": "shop", "prediction_id": "r1", "event_time": NOON_MS,
          "features": {"score": 0.5, "acme_user.age": 5, "geo_country": "CA", "platform": "web"}}], {}),
}  # fmt: skip


@pytest.mark.parametrize(("preset", "value", "headers", "expected", "settings"), CASES.values(), ids=CASES)
def test_a_record_of_the_tool_is_its_events(preset, value, headers, expected, settings):
    """The documented shape of each tool gives the canonical events, with ids that join requests to responses."""
    check(preset, [(value, headers)], expected, **settings)


def enriched(**cells):
    """A line of TSV as Snowplow writes it: 131 cells without quotes."""
    return "\t".join(cells.get(name, "") for name in SNOWPLOW_COLUMNS).encode()


def described(vendor, name, data):
    return {"schema": f"iglu:{vendor}/{name}/jsonschema/1-0-0", "data": data}


def test_enriched_events_as_tsv_are_those_of_its_json():
    """The same features, from the JSON in its cells; quotes are text, and codes keep their zeros."""
    score = described("com.acme", "ScoreMade", {"score": 0.5, "tags": [1]})
    contexts = [described("com.acme", "user", {"age": 5}), described("com.acme", "user", {"age": 9})]
    given = {
        "app_id": "007", "event_id": "r1", "collector_tstamp": "2026-11-23 12:00:00.000", "platform": "web",
        "page_title": '"Sale" \\"', "geo_country": "CA", "se_value": "12.5",
        "unstruct_event": json.dumps(described("com.snowplowanalytics.snowplow", "unstruct_event", score)),
        "contexts": json.dumps(described("com.snowplowanalytics.snowplow", "contexts", contexts)),
        "derived_contexts": json.dumps(described("c", "contexts", [described("org.w3", "Timing", {"dom-ms": 7})])),
    }  # fmt: skip
    line, names = enriched(**given), Names.fresh()
    values = [line, line + b"\r\n" + line + b"\n", b"only\tthree\tcells", enriched(**given | {"contexts": "{broken"})]
    records = Records.build("t", 0, [(i, NOON_MS, None, value, ()) for i, value in enumerate(values)])
    batch, dead = codec_of("snowplow", format="csv").decode(records, names)
    assert list(zip(dead.index, dead.reason, dead.detail, strict=True)) == [
        (2, "not_csv", "there are 3 cells and 131 columns for them"),
        (3, "wrong_type", "contexts is no JSON"),
    ]
    assert batch.offset.tolist() == [0, 1, 1]
    assert set(batch.event_time_ms.tolist()) == {NOON_MS}
    assert names.models.names == ["007"]
    columns = [names.columns.names[i] for i in batch.column[: batch.start[1]]]
    assert columns == [
        "score", "acme_user.age", "w3_timing.dom-ms", "geo_country", "platform", "se_value"
    ]  # fmt: skip
    numbers = dict(zip(columns, batch.number.tolist(), strict=False))
    assert (numbers["score"], numbers["acme_user.age"], numbers["se_value"]) == (0.5, 5, 12.5)


def test_every_preset_has_a_case():
    """No preset is without a record that it reads."""
    assert {preset for preset, *_ in CASES.values()} | {"mlserver"} == set(PRESETS)


def test_a_feed_of_protobuf_is_its_json_mapping():
    """GTFS-realtime as its own bindings write it: vehicle positions and trip updates, a model a route."""
    feed = gtfs_realtime_pb2.FeedMessage()
    feed.header.gtfs_realtime_version, feed.header.timestamp = "2.0", NOON_MS // 1000
    one = feed.entity.add(id="v1").vehicle
    one.trip.trip_id, one.trip.route_id, one.trip.direction_id = "t1", "99", 1
    one.position.latitude, one.position.longitude, one.position.speed = 49.25, -123.0, 8.5
    one.current_stop_sequence, one.current_status, one.timestamp = 7, 2, NOON_MS // 1000
    update = feed.entity.add(id="u1").trip_update
    update.trip.trip_id, update.trip.route_id = "t2", "14"
    update.stop_time_update.add(stop_sequence=3).arrival.delay = 120
    trip = {
        "model_id": "14", "event_time": NOON_MS, "prediction_id": f"t2@{NOON_MS // 1000}",
        "features": {"arrival_delay": 120, "stops_ahead": 1},
    }  # fmt: skip
    check("gtfs-rt", [(feed.SerializeToString(), {})], [[VEHICLE_EVENT, trip]], format="protobuf")


BAD = [
    ("kserve-v2", {"inputs": [AGES, {"name": "y", "shape": [3], "data": [1, 2, 3]}]}, "the tensors have [2, 3] rows"),
    ("kserve-v2", {"inputs": [{"name": "age", "shape": [5], "data": [1]}]}, "a tensor of shape [5] has 1 values"),
    ("kserve-v2", {"foo": 1}, "neither inputs nor outputs"),
    ("kserve-v1", [1], "the payload is a list"),
    ("sagemaker", {"captureData": 1}, "captureData is an integer"),
    ("azureml", {"type": "x", "data": "blob"}, "data is text"),
    ("debezium", {"after": {"fare": {"scale": 2, "value": "*"}}, "op": "c"}, "is no decimal"),
    ("cloudevents", {"data_base64": "*"}, "no base64"),
    ("gtfs-rt", {"entity": 5}, "entity is an integer"),
]


@pytest.mark.parametrize(("preset", "value", "words"), BAD, ids=[words for *_, words in BAD])
def test_a_record_of_another_tool_is_a_dead_letter(preset, value, words):
    """A document that is not of the tool is explained."""
    _, dead, _ = read(preset, [(value, {})], fields={"model_id": "=m"})
    assert (dead.reason, words in dead.detail[0]) == ([Reason.WRONG_TYPE], True), dead.detail


@pytest.mark.parametrize("preset", PRESETS)
def test_mutated_records_never_end_the_process(preset):
    """Records whose members are exchanged for anything give events or dead letters."""
    rng = random.Random(preset)
    cases = [case for case in CASES.values() if case[0] == preset]
    junk = [None, True, 5, -1.5, "x", "", [], {}, [[]], [{}], "{}", {"data": 1}, [1, [2]], 10**30, "[" * 300]

    def mutated(value):
        if rng.random() < 0.15:
            return rng.choice(junk)
        if isinstance(value, dict):
            return {(key if rng.random() > 0.05 else "data"): mutated(one) for key, one in value.items()}
        return [mutated(one) for one in value] if isinstance(value, list) else value

    for _ in range(300):
        _, value, headers, _, settings = rng.choice(cases)
        read(preset, [(mutated(value), headers)], **settings)


def test_an_unknown_preset_is_refused():
    """The message names the presets."""
    with pytest.raises(ValueError, match="'kserve' is unknown; it can be one of kserve-v1"):
        codec_of("kserve")
