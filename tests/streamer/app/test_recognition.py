"""`driftline init` recognises the records of a topic, and the configuration it writes reads them."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.transit import gtfs_realtime_pb2

from streamer.app.initial import bounded, configuration, report, sample_of_files
from streamer.app.recognition import Sample, recognised
from streamer.cli import main
from streamer.codecs.times import share_of_times
from streamer.config import load_config
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter

START_S = 1_795_418_160
NOW_MS = START_S * 1000 + 3_600_000
N = 200


def sample(make, key=lambda _i: None) -> Sample:
    """Records of a topic whose values are what `make` gives for each number."""
    random.seed(1)

    def value(i):
        made = make(i)
        return made if isinstance(made, bytes) else json.dumps(made).encode()

    rows = [(i, START_S * 1000 + i, key(i), value(i), ()) for i in range(N)]
    return Sample("scores", [Records.build("scores", 0, rows)])


def flat(i):
    return {"createdAt": f"2026-11-23 07:{i // 60:02}:{i % 60:02}", "modelName": f"m{i % 3}", "requestId": f"r{i}",
            "delay": random.gauss(3, 1), "line": "L1", "y_pred": 1.5}  # fmt: skip


def collected(i):
    rows = [{"age": random.random(), "income": 1.0, "predicted": 0} for _ in range(3)]
    return {"specversion": "1.0", "id": f"c{i}", "time": "2026-11-23T07:16:00Z", "data": rows}


def nested(i):
    return {"trip": {"id": i, "route": f"R{i % 4}"}, "vehicle": {"pos": {"lat": 49.2}}, "ts": START_S + i}


def canonical(i):
    return {"model_id": "m", "event_time": START_S + i, "features": {"x": 1.0}, "prediction": 2.0}


def labels(i):
    return {"model": "eta", "prediction_id": f"p{i}", "timestamp": START_S + i, "actual": 3.0}


@pytest.mark.parametrize(
    ("make", "fields", "columns"),
    [
        (canonical, None, ["prediction", "x"]),
        (
            flat,
            {"model_id": "$.modelName", "prediction_id": "$.requestId", "event_time": "$.createdAt",
             "prediction": "$.y_pred", "features": "$"},
            ["prediction", "delay", "line"],
        ),
        (
            collected,
            {"rows": "$.data", "prediction_id": "$.id", "event_time": "$.time", "prediction": "$row.predicted",
             "model_id": "=scores", "features": "$row"},
            ["prediction", "age", "income"],
        ),
        (
            nested,
            {"prediction_id": "$.trip.id", "event_time": "$.ts", "model_id": "=scores",
             "features": {"route": "$.trip.route", "lat": "$.vehicle.pos.lat"}},
            ["route", "lat"],
        ),
        (labels, {"model_id": "$.model", "event_time": "$.timestamp", "label": "$.actual"}, []),
    ],
    ids=["canonical", "flat", "rows", "nested", "labels"],
)  # fmt: skip
def test_fields_are_recognised(make, fields, columns, tmp_path):
    """By name and by value; the written configuration is valid, and its mapping reads every record."""
    found = recognised(sample(make), NOW_MS)
    assert found.settings.get("fields") == fields
    assert sorted(found.columns) == sorted(columns)
    assert found.events >= N
    assert not found.dead_letters
    file = tmp_path / "driftline.yaml"
    file.write_text(configuration("localhost:9092", [found]))
    mapped = load_config(str(file)).topics["scores"].fields
    for name, path in (fields or {}).items():
        assert getattr(mapped, name) == path
    *_, summary = [line for line in report(found) if line.startswith("  so ")]
    assert f"({', '.join(found.columns)})" in summary if columns else "with 0 columns, 0 dead letters" in summary


def captured(i):
    """As SageMaker captures requests."""
    payload = {"observedContentType": "text/csv", "encoding": "CSV"}
    return {
        "captureData": {
            "endpointInput": {**payload, "mode": "INPUT", "data": f"{random.random()},1.5"},
            "endpointOutput": {**payload, "mode": "OUTPUT", "data": "0.5"},
        },
        "eventMetadata": {"eventId": f"e{i}", "inferenceTime": "2026-11-23T07:16:00Z"},
        "eventVersion": "0",
    }


def changed(i):
    """As Debezium writes a row that changed."""
    row = {"model_id": "eta", "event_time": START_S + i, "delay": random.random(), "prediction": 1.0}
    return {"before": None, "after": row, "op": "c", "source": {"table": "scores"}, "ts_ms": START_S * 1000}


def wrapped(i):
    """A CloudEvent whose data are in base64."""
    data = base64.b64encode(json.dumps({"age": i % 40, "prediction": 0.5}).encode()).decode()
    about = {"specversion": "1.0", "id": f"e{i}", "type": "scored", "source": "/scores", "subject": "income"}
    return {**about, "time": "2026-11-23T07:16:00Z", "data_base64": data}


def feed(i):
    """A feed of GTFS-realtime, as Protobuf."""
    message = gtfs_realtime_pb2.FeedMessage()
    message.header.gtfs_realtime_version, message.header.timestamp = "2.0", START_S + i
    bus = message.entity.add(id="v1").vehicle
    bus.trip.route_id, bus.position.latitude, bus.position.longitude = "99", 49.25, -123.0
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("make", "settings", "columns"),
    [
        (wrapped, {"preset": "cloudevents"}, ["prediction", "age"]),
        (feed, {"format": "protobuf", "preset": "gtfs-rt"}, ["latitude", "longitude"]),
        (captured, {"preset": "sagemaker", "fields": {"model_id": "=scores"}}, ["prediction", "c0", "c1"]),
        (changed, {"preset": "debezium"}, ["prediction", "delay"]),
    ],
)
def test_records_of_tools_are_recognised(make, settings, columns):
    """By their shape, before any member is looked at; a model that the tool does not name is unsure."""
    found = recognised(sample(make), NOW_MS)
    assert found.settings == settings
    assert sorted(found.columns) == sorted(columns)
    assert not found.dead_letters
    assert bool(found.unsure) == ("fields" in settings)
    assert f"preset: {settings['preset']}" in configuration("b:1", [found])


def test_a_time_of_an_unusual_name_is_found():
    """A name that is about time, with values that are times."""
    found = recognised(sample(lambda i: {"app": "m", "collector_tstamp": START_S + i, "uptime": 3, "y": 1.5}), NOW_MS)
    assert found.settings["fields"]["event_time"] == "$.collector_tstamp"


def test_names_alone_are_not_believed():
    """A `time` that is a duration, an `id` that repeats and a `model` that never does are no such fields."""
    found = recognised(sample(lambda i: {"time": i % 7, "id": "a", "model": f"x{i}", "ts": START_S, "y": 1.0}), NOW_MS)
    assert found.settings["fields"] == {"event_time": "$.ts", "model_id": "=scores", "features": "$"}
    assert found.unsure[0].startswith("model_id: nothing names the model")


def test_the_key_names_the_model_where_no_member_does():
    """If it repeats; it is said that this is a guess."""
    found = recognised(sample(lambda i: {"ts": START_S + i, "y": 1.0}, key=lambda i: b"bus-%d" % (i % 5)), NOW_MS)
    assert found.settings["fields"]["model_id"] == "$key"
    assert len(found.models) == 5
    assert any("key" in text for text in found.unsure)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"Obj\x01" + bytes(40), "avro"),
        (b"\x00\x00\x00\x00\x2a" + b"\x02\x06abc\x00\x00\x80?", "avro"),
        (b"1.5,2.5,a", "csv"),
        (b"\x00\x00\x00\x00\x2a" + json.dumps(canonical(1)).encode(), "json_schema"),
    ],
)
def test_other_formats_are_named(value, form):
    """The format is set; what it needs besides stands in the configuration."""
    found = recognised(sample(lambda _i: value), NOW_MS)
    assert found.settings["format"] == form
    text = configuration("b:1", [found])
    assert f"format: {form}" in text
    assert ("UNSURE: format" in text) == (form != "json_schema")


@pytest.mark.parametrize(
    ("values", "is_time"),
    [
        ([START_S], True),
        ([START_S * 1000], True),
        (["2026-11-23T07:16:00Z", "Mon, 23 Nov 2026 07:16:00 GMT"], True),
        ([3.5], False),
        ([20261123], False),
        ([True], False),
        (["soon"], False),
        ([(START_S + 10 * 86_400) * 1000], False),
    ],
)
def test_times_are_in_this_century_and_not_ahead(values, is_time):
    """Whatever their unit; a day ahead is allowed, for clocks and zones."""
    assert (share_of_times(values, NOW_MS) == 1) is is_time


def of_fleet(**topics) -> dict[str, list[bytes]]:
    """Values by topic: predictions that `make` gives, their outcomes, and others."""
    random.seed(2)
    return {name: [json.dumps(make(i)).encode() for i in range(n)] for name, (n, make) in topics.items()}


def scored(i):
    return {"modelName": f"eta-{i % 3}", "reqId": f"r{i}", "ts": START_S + i, "inputs": {"x": i}, "y_pred": 1.5}


def outcome(i):
    return {"svc": f"eta-{i % 3}", "ref": f"r{i}", "at": START_S + i + 60, "actual": random.random(), "by": "ops"}


def station(i):
    return {"station": "yvr", "time": START_S + i + 60, "temp": random.random()}


def configured(tmp_path, topics) -> tuple[str, str]:
    """A recording of topics one after another, and the configuration that `init` writes for it."""
    recording, out = str(tmp_path / "r.parquet"), str(tmp_path / "driftline.yaml")
    with RecordingWriter(recording) as writer:
        for topic, values in topics.items():
            rows = [(i, (START_S + i) * 1000, None, value, ()) for i, value in enumerate(values)]
            writer.write(Records.build(topic, 0, rows))
    made = CliRunner().invoke(main, ["init", recording, "--yes", "--out", out])
    assert made.exit_code == 0, made.output
    assert CliRunner().invoke(main, ["check-config", out]).exit_code == 0
    return recording, out


def test_all_topics_of_a_recording_fit_together(tmp_path):
    """Also those behind many records: labels get the ids and models of predictions, and features are a source."""
    topics = of_fleet(scores=(9_000, scored), outcomes=(1_200, outcome), weather=(300, station))
    recording, out = configured(tmp_path, topics)
    config = load_config(out)
    labels, weather = config.topics["outcomes"].fields, config.topics["weather"].fields
    assert (labels.model_id, labels.prediction_id, labels.label) == ("$.svc", "$.ref", "$.actual")
    assert (labels.features, weather.model_id, weather.source) == (None, None, "=weather")
    assert list(config.sources) == ["weather"]
    replayed = CliRunner().invoke(main, ["replay", recording, "--config", out])
    assert replayed.exit_code == 0, replayed.output
    assert "10,500 records of 4 models" in replayed.stderr
    assert "1,200 labels: 1,200 matched" in replayed.stderr


def test_labels_get_the_only_model_and_classes_their_error(tmp_path):
    """Where no record names a model, labels join under the name that predictions get."""

    def of_class(i):
        return {"reqId": f"r{i}", "ts": START_S + i, "inputs": {"x": i}, "y_pred": "late" if i % 2 else "early"}

    def truth(i):
        return {"request": f"r{i}", "ts": START_S + i + 60, "actual": "late"}

    recording, out = configured(tmp_path, of_fleet(scores=(400, of_class), truth=(400, truth)))
    config = load_config(out)
    assert config.topics["scores"].fields.model_id == config.topics["truth"].fields.model_id == "=scores"
    assert config.labels.error == "zero_one"
    assert "400 labels: 400 matched" in CliRunner().invoke(main, ["replay", recording, "--config", out]).stderr


def test_features_and_predictions_of_one_id_are_paired(tmp_path):
    """Each event has both then, so that joint drift is seen and labels join once."""

    def inputs(i):
        return {"request": f"r{i}", "ts": START_S + i, "age": i % 50}

    def output(i):
        return {"model": "income", "reqId": f"r{i}", "ts": START_S + i, "score": 0.5}

    recording, out = configured(tmp_path, of_fleet(inputs=(200, inputs), outputs=(200, output)))
    topics = load_config(out).topics
    assert topics["inputs"].pairing is not None
    assert topics["outputs"].pairing is not None
    assert topics["inputs"].fields.model_id == "=income"
    replayed = CliRunner().invoke(main, ["replay", recording, "--config", out]).stderr
    assert "1 model with 2 columns" in replayed
    assert "wait for their other half" not in replayed


def test_labels_without_ids_of_predictions_are_unsure(tmp_path):
    """They would join nothing, which stands in the file."""
    topics = of_fleet(scores=(200, scored), truth=(200, lambda i: {"id": f"t{i}", "ts": START_S + i, "actual": 1.0}))
    _, out = configured(tmp_path, topics)
    text = Path(out).read_text()
    assert "UNSURE: prediction_id: no label of the sample has the id of a prediction there" in text
    assert "UNSURE: model_id: nothing names the model of the predictions" in text


def test_the_command_writes_a_file_once(tmp_path):
    """What was recognised goes to standard error; an existing file is kept unless `--force` is given."""
    recording, out = tmp_path / "scores.jsonl", tmp_path / "driftline.yaml"
    recording.write_text("".join(json.dumps(flat(i)) + "\n" for i in range(20)))
    run = CliRunner().invoke
    made = run(main, ["init", str(recording), "--yes", "--out", str(out)])
    assert (made.exit_code, made.stdout) == (0, "")
    assert "scores: 20 records of predictions, format json" in made.stderr
    assert "so 20 events of 3 models with 3 columns (prediction, delay, line), 0 dead letters" in made.stderr
    assert run(main, ["check-config", str(out)]).exit_code == 0
    again = run(main, ["init", str(recording), "--yes", "--out", str(out)])
    assert again.exit_code == 2
    assert "is there already; name another file with --out, or replace it with --force" in again.stderr
    assert run(main, ["init", str(recording), "--yes", "--out", str(out), "--force"]).exit_code == 0
    assert run(main, ["init", str(recording), "--yes", "--out", "-"]).stdout == out.read_text()


def test_a_sample_of_large_records_has_fewer_of_them(tmp_path):
    """About a megabyte, and 50 at least: the first of a file, or the newest of a topic."""
    recording = tmp_path / "feeds.jsonl"
    recording.write_text("".join(json.dumps({"i": i, "feed": "x" * 10_000}) + "\n" for i in range(900)))
    (sample,) = sample_of_files([str(recording)], None)
    assert [json.loads(value)["i"] for value in sample.values()] == list(range(105))
    large = Records.build("t", 0, [(i, 0, None, b"x" * 99_999, ()) for i in range(300)])
    assert [one.offset.tolist() for one in bounded([large], newest=True)] == [list(range(250, 300))]


def test_records_that_can_not_be_understood_end_with_6(tmp_path):
    """The file is written all the same, for a person to go on with."""
    recording, out = tmp_path / "r.jsonl", tmp_path / "driftline.yaml"
    recording.write_text('{"a": {"b": null}}\n' * 9)
    ran = CliRunner().invoke(main, ["init", str(recording), "--yes", "--out", str(out)])
    assert ran.exit_code == 6
    assert out.exists()


def test_tables_are_looked_at_as_they_are(tmp_path):
    """The columns of a CSV file are members of the event, and the written mapping reads the table in a replay."""
    table, out = tmp_path / "trips.csv", tmp_path / "driftline.yaml"
    rows = "".join(f"eta,2026-11-23T07:16:{i:02}Z,0{i},{i}.5\n" for i in range(30))
    table.write_text("model,ts,zip,age\n" + rows)
    run = CliRunner().invoke
    assert run(main, ["init", str(table), "--yes", "--out", str(out)]).exit_code == 0
    assert load_config(str(out)).topics["trips"].fields.model_id == "$.model"
    replayed = run(main, ["replay", str(table), "--config", str(out)])
    assert replayed.exit_code == 0, replayed.stderr
    assert "30 records of 1 model with 2 columns" in replayed.stderr
