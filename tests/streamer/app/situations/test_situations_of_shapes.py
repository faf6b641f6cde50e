"""Records whose events stand in lists, texts, keys and framings."""

from __future__ import annotations

import base64
import json

import pytest
from click.testing import CliRunner
from situation_kit import START_MS, Sent, decoded, event, iso, replayed, shifted

from streamer.cli import main

AZURE = {
    "model_id": "=eta", "model_version": None, "prediction_id": "$.correlationid", "event_time": "$.time",
    "rows": "$.data[*]", "features": "$row",
}  # fmt: skip


def test_rows_of_the_azure_collector(tmp_path):
    """Three rows a record; the drift is in all but the first (SeldonIO/seldon-core#545)."""
    moved = shifted(1, 1000, 400, 600, 60)
    still = shifted(2, 500, 400, 400, 60)
    records = [
        {
            "specversion": "1.0", "type": "azureml.inference.model_inputs", "time": iso(i), "correlationid": f"c{i}",
            "source": "/onlineEndpoints/eta/deployments/blue",
            "data": [{"stop_dist": x} for x in (still[i], *moved[2 * i : 2 * i + 2])],
        }
        for i in range(500)
    ]  # fmt: skip
    found = replayed(tmp_path, records, {"fields": AZURE})
    assert found.drifts == {("eta", "stop_dist")}
    assert found.columns("eta")["stop_dist"]["values"] == 1500
    by_preset = replayed(tmp_path, records, {"preset": "azureml"})
    assert "15 inputs or outputs at the end wait for their other half, and are not watched; 0 pairs" in by_preset.words
    by_preset = replayed(tmp_path, records, {"preset": "azureml", "pairing": None})
    assert "other half" not in by_preset.words
    assert (by_preset.drifts, by_preset.columns("eta")["blue/stop_dist"]["values"]) == (found.drifts, 1500)


def test_a_list_of_events_a_record(tmp_path):
    """A batch that is dated after its record needs `skew_max_s` (SeldonIO/seldon-core#2194; mlrun's batches)."""
    x = shifted(3, 900, 0, 5)
    records = [[event(i, features={"x": x[i]}, prediction=1.0) for i in range(3 * k, 3 * k + 3)] for k in range(300)]
    found = replayed(tmp_path, records, {"skew_max_s": "1d"})
    assert (found.dead, found.drifts) == ([], {("m", "x")})
    assert found.columns("m")["x"]["values"] == 900


def test_init_says_that_records_are_dated_ahead(tmp_path):
    """Half of the records and more: by wrong clocks, or on purpose; one in three is no sign of either."""
    for share, is_said in ((1, True), (3, False)):
        path, out = tmp_path / f"{share}.kcat.jsonl", tmp_path / f"{share}.yaml"
        about = {"topic": "events", "partition": 0, "tstype": "create", "ts": START_MS, "broker": 0, "key": None}
        events = ({**event(i, features={"x": i}), "event_time": iso(600 * (i % share == 0))} for i in range(60))
        envelopes = ({**about, "offset": i, "payload": json.dumps(one)} for i, one in enumerate(events))
        path.write_text("".join(json.dumps(one) + "\n" for one in envelopes))
        ran = CliRunner().invoke(main, ["init", str(path), "--yes", "--out", str(out)])
        assert ("60 of 60 records hold times later than that of the record" in ran.stderr) == is_said
        assert ("allow it, as in skew_max_s: 1d" in out.read_text()) == is_said


def captured(i: int, row: str, output: str):
    form = {"observedContentType": "text/csv", "encoding": "CSV"}
    return {
        "captureData": {
            "endpointInput": {**form, "mode": "INPUT", "data": row},
            "endpointOutput": {**form, "mode": "OUTPUT", "data": output},
        },
        "eventMetadata": {"eventId": f"c{i}", "inferenceTime": iso(i)}, "eventVersion": "0",
    }  # fmt: skip


def test_csv_in_the_json_of_sagemaker(tmp_path):
    """Features are a line of CSV in a text, without names (awsdocs, model-monitor-data-capture)."""
    records = [captured(i, f"{x},20.5", "0.5") for i, x in enumerate(shifted(4, 900, 130, 220, 30))]
    found = replayed(tmp_path, records, {"preset": "sagemaker", "fields": {"model_id": "=churn", "names": ["a", "b"]}})
    assert (found.dead, found.drifts) == ([], {("churn", "a")})
    assert {found.columns("churn")[name]["values"] for name in ("a", "b", "prediction")} == {900}


@pytest.mark.parametrize(
    ("data", "encoding", "columns"),
    [
        ("96.6,19.3", "CSV", {"row[0]": 1, "row[1]": 1, "prediction": 1}),
        ("96.6", "CSV", {"row": 1, "prediction": 1}),
        ('{"age": 3, "zip": "V6"}', "JSON", {"row.age": 1, "row.zip": 1, "prediction": 1}),
        (base64.b64encode(b"1,2,3").decode(), "BASE64", {"row[0]": 1, "row[1]": 1, "row[2]": 1, "prediction": 1}),
        ("1,2\n3,4", "CSV", {"row": 1, "prediction": 1}),  # several rows are no list of one event
        ("1,2", "UTF8", {"row": 1, "prediction": 1}),
    ],
)
def test_a_captured_text_at_a_path_is_read_by_its_encoding(data, encoding, columns):
    """Without the preset: the record itself says how the text is written."""
    record = captured(1, data, "0.5")
    record["captureData"]["endpointInput"] |= {"encoding": encoding, "observedContentType": ""}
    fields = {
        "model_id": "=churn", "event_time": "$.eventMetadata.inferenceTime",
        "features": {"row": "$.captureData.endpointInput.data"}, "prediction": "$.captureData.endpointOutput.data",
    }  # fmt: skip
    found = decoded([record], {"fields": fields})
    assert (found.columns, found.dead) == (columns, [])


def test_json_in_the_texts_of_vertex(tmp_path):
    """Features are JSON in a text in a list; times end in UTC (request-response logging)."""
    fields = {
        "model_id": "$.deployed_model_id", "model_version": None, "prediction_id": "$.request_id",
        "event_time": "$.logging_time", "features": "$.request_payload[0]",
    }  # fmt: skip
    records = [
        {
            "deployed_model_id": "645", "request_id": str(10**18 + i), "request_payload": [f'{{"age": {x}}}'],
            "logging_time": iso(i)[:23].replace("T", " ") + "456 UTC",
        }
        for i, x in enumerate(shifted(5, 700, 40, 70, 10))
    ]  # fmt: skip
    found = replayed(tmp_path, records, {"fields": fields})
    assert (found.dead, found.drifts) == ([], {("645", "age")})


def test_json_behind_the_framing_of_a_registry(tmp_path):
    """0x00 and four bytes of id before the JSON (provectus/kafka-ui#643, lensesio/stream-reactor#844)."""
    framed = [b"\0\0\0\0\x07" + json.dumps(event(i, features={"x": 1.5})).encode() for i in range(20)]
    found = replayed(tmp_path, framed)
    assert (found.dead, found.columns("m")["x"]["values"]) == ([], 20)


def test_the_model_in_the_key(tmp_path):
    """The key of a record is the vehicle (alexwoolford/rtd-kafka)."""
    records = [Sent({"ts": START_MS + 60_000 * i, "x": 0.5 + i}, key=f"bus-{i % 3}") for i in range(60)]
    found = replayed(tmp_path, records, {"fields": {"model_id": "$key", "event_time": "$.ts", "features": "$"}})
    assert found.dead == []
    assert {model: found.columns(model)["x"]["values"] for model in ("bus-0", "bus-1", "bus-2")} == {
        "bus-0": 20, "bus-1": 20, "bus-2": 20,
    }  # fmt: skip


def test_a_constant_that_looks_like_a_path_is_the_path():
    """`=$key` would make one model of all, named "$key", which nobody means."""
    records = [Sent({"ts": START_MS, "x": 0.5}, key=f"bus-{i % 3}") for i in range(6)]
    found = decoded(records, {"fields": {"model_id": "=$key", "event_time": "$.ts", "features": "$"}})
    assert (found.models, found.dead) == ({"bus-0": 2, "bus-1": 2, "bus-2": 2}, [])


def test_tombstones(tmp_path):
    """A third of the records of a compacted topic has no value (confluentinc/confluent-kafka-python#189)."""
    records = [Sent(None if i % 3 == 2 else event(i, features={"x": i}), key=f"m-{i}") for i in range(60)]
    kept = replayed(tmp_path, records, {"tombstones": "dead_letter"})
    assert kept.dead == ["null_value"] * 20
    assert "without an event" not in kept.ran.stderr
    found = replayed(tmp_path, records)
    assert (found.dead, found.columns("m")["x"]["values"]) == ([], 40)
    assert "0 dead letters, 20 records without an event\n" in found.ran.stderr


def test_items_of_a_list_by_their_name(tmp_path):
    """Contexts of Snowplow stand in any order (trustyai-explainability#459 has V2 tensors as such)."""
    page, score = "iglu:com.x/page/jsonschema/1-0-0", "iglu:com.x/score/jsonschema/1-0-0"
    fields = {
        "model_id": "$.app_id", "model_version": None, "prediction_id": "$.event_id",
        "event_time": "$.collector_tstamp",
        "features": {"len": f"$.contexts.data[?schema=='{page}'].data.len"},
        "prediction": f"$.contexts.data[?schema=='{score}'].data.ctr",
    }  # fmt: skip
    length = shifted(6, 800, 100, 140, 10)
    records = [
        {
            "event_id": str(i), "app_id": "shop", "collector_tstamp": iso(i)[:23].replace("T", " "),
            "contexts": {"data": [{"schema": page, "data": {"len": length[i]}},
                                  {"schema": score, "data": {"ctr": 0.25}}][:: (1, -1)[i % 2]]},
        }
        for i in range(800)
    ]  # fmt: skip
    found = replayed(tmp_path, records, {"fields": fields})
    assert (found.dead, found.drifts) == ([], {("shop", "len")})
    assert {name: one["values"] for name, one in found.columns("shop").items()} == {"len": 800, "prediction": 800}


def test_a_version_that_the_response_alone_names(tmp_path):
    """Request and response are two records of one id (kserve/kserve#3938)."""
    records = []
    for i in range(200):
        about = {"id": f"r{i}", "inferenceservicename": "income"}
        inputs = [{"name": "age", "shape": [1], "datatype": "INT64", "data": [20 + i % 40]}]
        outputs = [{"name": "predict", "datatype": "FP64", "shape": [1], "data": [0.25]}]
        records += [
            {**about, "time": iso(i), "type": "request", "data": {"inputs": inputs}},
            {**about, "time": iso(i), "type": "response", "data": {"model_version": "3", "outputs": outputs}},
        ]
    found = replayed(tmp_path, records, {"preset": "kserve-v2", "skew_max_s": "1d"})
    assert {name: one["values"] for name, one in found.columns("income").items()} == {"3/age": 200, "3/prediction": 200}
