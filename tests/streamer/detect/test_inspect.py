"""`driftline columns`: what is watched of a model, from a recording or from the checkpoints of a service."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from streamer.app.folds import ConfiguredFolds
from streamer.cli import main
from streamer.config import Config, load_config
from streamer.detect.inspect import columns_of
from streamer.detect.monitors.drift import PHASES
from streamer.eventlog.base import Epoch, Records
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.snapshot import Snapshot

N = 2200


def lines():
    rng = np.random.default_rng(1)
    for i in range(N):
        features = {
            "x": rng.normal(),
            "same": 5.0,
            "null": None,
            "text": "sun",
            "odd": 1.0 if i % 2 else [[1]],
            "deep": [[1]],
        }
        if i < 900:
            features["gone"] = rng.normal()
        if i % 30 == 0:
            features["rare"] = rng.normal()
        yield {
            "model_id": "m",
            "model_version": "2",
            "event_time": 1_782_889_200_000 + 60_000 * i,
            "features": features,
        }
        yield {"model_id": "other", "event_time": i, "features": {"y": 1.0}}


@pytest.fixture
def recording(tmp_path):
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines())))
    return str(tmp_path / "r.jsonl")


def shown(*arguments):
    ran = CliRunner().invoke(main, ["columns", *arguments])
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return ran, [one for one in found if "column" in one]


def fates_shown(*arguments):
    """What became of values and labels: the last object of the output."""
    ran = CliRunner().invoke(main, ["columns", *arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout.splitlines()[-1])


EXPECTED = {
    "x": ("numbers", N, 0, 0, []),
    "same": ("numbers", N, 0, 0, ["constant"]),
    "null": ("", 0, N, 0, ["all_null"]),
    "text": ("categories", N, 0, 0, ["constant"]),
    "odd": ("numbers", N // 2, 0, N // 2, ["constant"]),
    "deep": ("", 0, 0, N, ["nested"]),
    "gone": ("numbers", 900, 0, 0, ["silent"]),
    "rare": ("numbers", 74, 0, 0, ["starved"]),
}


def check(found):
    assert {
        one["column"]: (one["kind"], one["values"], one["missing"], one["faults"], one["states"]) for one in found
    } == EXPECTED
    assert {(one["topic"], one["model_version"], one["unit"]) for one in found} == {("p", "2", "detect-0")}
    assert {tuple(one["detectors"]) for one in found if one["kind"] == "numbers"} == {("shiryaev_roberts",)}


def test_of_a_recording_each_column_is_shown_with_what_is_wrong_with_it(recording):
    """Healthy, constant, null, text, mixed, gone and rare columns are distinguished, and no other model's is shown."""
    ran, found = shown("m", recording, "--topic", "p", "--json")
    assert ran.exit_code == 0, ran.output
    check(found)
    assert next(one for one in found if one["column"] == "gone")["last_event_time"].startswith("2026-07-01T21:")


def test_people_get_a_table(recording):
    """A heading for the version, one line a column, the state last."""
    ran, _ = shown("m", recording, "--topic", "p")
    first, head, x, *_ = ran.stdout.splitlines()
    assert first == "version 2 on p, as of detect-0:"
    assert head.split()[:2] == ["column", "kind"]
    assert x.split()[:3] == ["x", "numbers", "2,200"]
    assert x.endswith("its first values  ok")


def test_a_training_reference_is_named(recording, tmp_path):
    """The digest is the one that alerts name, and a column with a reference needs no values to learn one."""
    sample = np.random.default_rng(2).normal(size=600)
    pq.write_table(pa.table({"model_id": ["m"] * 600, "gone": sample}), tmp_path / "t.parquet")
    (tmp_path / "d.yaml").write_text("references: {file: t.parquet}\ntopics: {p: }\n")
    _, found = shown("m", recording, "--topic", "p", "--json", "--config", str(tmp_path / "d.yaml"))
    gone = next(one for one in found if one["column"] == "gone")
    assert (len(gone["reference"]), gone["states"]) == (32, ["silent"])
    assert [one["reference"] for one in found if one["column"] == "x"] == [""]


def test_of_a_service_the_newest_checkpoint_is_shown(tmp_path):
    """The same answer comes from a checkpoint, without a broker."""
    (tmp_path / "d.yaml").write_text("kafka: {bootstrap: 'nowhere:1'}\ntopics: {p: }\n")
    config = load_config(str(tmp_path / "d.yaml"))
    ran, _ = shown("m", "--config", str(tmp_path / "d.yaml"))
    assert (ran.exit_code, "there is no checkpoint of group driftline" in ran.output) == (2, True)
    fold = ConfiguredFolds(config).fresh("detect-0", config.settings_text)
    rows = [(i, -1, None, json.dumps(line).encode(), ()) for i, line in enumerate(lines())]
    fold.step([Records.build("p", 0, rows)])
    columns = [one for model in ("m", "other") for one in columns_of("detect-0", fold, model)]
    blind = {"unwatched", "all_null", "nested"}
    phases = Counter(next(iter({"starved", "learning"} & {*one.states}), "watched") for one in columns)
    phases["blind"] = sum(bool(blind & {*one.states}) for one in columns)
    phases["watched"] -= phases["blind"]
    census = fold.census()
    assert {phase: census["series_phase", phase] for phase in PHASES} == {phase: phases[phase] for phase in PHASES}
    assert min(phases[phase] for phase in PHASES if phase != "learning") > 0
    store = CheckpointStore(config.checkpoints.url, config.kafka.group)
    spool = store.spool("detect-0")
    spool.write_bytes(fold.dump().to_bytes())
    epoch = Epoch("detect-0", 1, {"p": len(rows)}, 2, "5e", config.fingerprint, at=4)
    settings = config.settings_text, config.fingerprint
    store.publish(spool, Manifest("detect-0", epoch, {"p": 0}, {"p": "id"}, *settings, "test"))
    ran, found = shown("m", "--config", str(tmp_path / "d.yaml"), "--json")
    assert ran.exit_code == 0, ran.output
    check(found)


def test_every_value_has_one_fate(recording):
    """Watched, missing and faulty values are all values of the model's events, in a line below the table."""
    ran, _ = shown("m", recording, "--topic", "p")
    values = fates_shown("m", recording, "--topic", "p")["values"]
    wanted = [sum(one[k] for one in EXPECTED.values()) for k in (1, 2, 3)]
    assert values == dict(zip(("watched", "missing", "faulty"), wanted, strict=True)) | {"dropped": 0}
    watched, missing, faulty = wanted
    line = f"values of m: {watched:,} watched, {missing:,} missing, {faulty:,} faulty"
    assert ran.stdout.splitlines()[-1] == line
    assert "labels of all models" not in ran.stdout


def labelled(folder, timeout_s):
    """Of 300 predictions of `m`, 100 have a label, 25 of them twice; 50 labels have a wrong id; 30 are of no model."""
    events = [{"model_id": "m", "prediction_id": f"p{i}", "prediction": 1.0} for i in range(300)]
    events += [{"model_id": "m", "prediction_id": f"p{i}", "label": 2.0} for i in range(100)]
    events += [{"model_id": "m", "prediction_id": f"p{i}", "label": 2.0} for i in range(75, 100)]
    events += [{"model_id": "m", "prediction_id": f"q{i}", "label": 2.0} for i in range(50)]
    events += [{"model_id": "stranger", "prediction_id": f"p{i}", "label": 2.0} for i in range(30)]
    lines = [json.dumps(event | {"event_time": 1_782_889_200_000 + 1000 * i}) for i, event in enumerate(events)]
    (folder / "labelled.jsonl").write_text("\n".join(lines))
    (folder / "short.yaml").write_text(f"labels: {{timeout_s: {timeout_s}, early_max: 64}}\ntopics: {{p: }}\n")
    return "m", str(folder / "labelled.jsonl"), "--topic", "p", "--config", str(folder / "short.yaml")


def test_every_label_has_one_fate_below_the_table(tmp_path):
    """Matched, evicted, repeated and waiting labels are all of them; those that wait have their cause."""
    arguments = labelled(tmp_path, 1000)
    fates = fates_shown(*arguments)
    assert fates["labels"] == {
        "matched": 100, "expired": 0, "evicted": 16, "repeated": 25, "waiting": 64, "unknown_model": 30,
    }  # fmt: skip
    assert fates["waiting"] == {"other_ids": 34}
    ran, _ = shown(*arguments)
    assert ran.stdout.splitlines()[-2:] == [
        "labels of all models: 100 matched, 0 expired, 16 evicted, 25 repeated, 64 waiting; 30 came before any "
        "prediction of their model on their partition",
        "34 labels of m wait for a prediction of their prediction_id",
    ]


def test_fates_survive_a_restart_and_what_is_forgotten():
    """Labels of unknown models and dropped values are counted in the state, however the stream is cut."""
    config = Config.model_validate_json('{"topics": {"p": {}}, "limits": {"series_max": 2}}')
    folds = ConfiguredFolds(config)
    fold = folds.fresh("detect-0", config.settings_text)
    for i in range(40):
        events = [{"model_id": "m", "event_time": i, "features": {"a": 1.0, "b": 1.0, "c": 1.0}}]
        events += [{"model_id": "stranger", "prediction_id": f"p{i}", "label": 2.0, "event_time": i}]
        rows = [(2 * i + k, -1, None, json.dumps(event).encode(), ()) for k, event in enumerate(events)]
        fold.step([Records.build("p", 0, rows)])
        again = folds.fresh("detect-0", config.settings_text)
        again.load(Snapshot.from_bytes(fold.dump().to_bytes()))
        fold = again
    assert (fold.dropped_values, fold.label_fates["unknown_model"], fold.label_fates["waiting"]) == (40, 40, 40)


def test_an_unknown_model_is_an_error(recording):
    """Nothing seen is an error with a sentence, not an empty table."""
    ran, _ = shown("bus", recording, "--topic", "p")
    assert (ran.exit_code, "there are no events of a model bus" in ran.output) == (2, True)
