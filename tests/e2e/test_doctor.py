"""`driftline doctor` on a real broker: a sound set-up has no fault, and each wrong one is named by its cause."""

from __future__ import annotations

import json
import time

import pytest
from driftline_process import Place, driftline

pytestmark = [pytest.mark.broker, pytest.mark.slow]

NOW_MS = int(time.time() * 1000)


def prediction(i: int, at_ms: int = NOW_MS, **more) -> bytes:
    event = {"model_id": f"m{i % 4}", "prediction_id": f"p{i}", "event_time": at_ms - 1_000 + i, "prediction": 1.0}
    return json.dumps({**event, "features": {"x": i}, **more}).encode()


def label(i: int) -> bytes:
    return json.dumps(
        {"model_id": f"m{i % 4}", "prediction_id": f"p{i}", "event_time": NOW_MS + i, "label": 1.0}
    ).encode()


def findings(place: Place, expect: int = 0) -> dict[str, dict]:
    """The findings of the doctor by their subject."""
    lines = driftline("doctor", "--config", str(place.config), "--json", expect=expect).stdout.splitlines()
    return {one["subject"]: one for one in map(json.loads, lines)}


def by_model(n: int) -> dict[int, list[tuple[int, bytes]]]:
    """Predictions of four models, two on each of two partitions."""
    return {p: [(NOW_MS, prediction(i)) for i in range(n) if i % 2 == p] for p in (0, 1)}


@pytest.fixture
def place(kafka_broker, tmp_path) -> Place:
    return Place(kafka_broker.bootstrap, tmp_path, partitions=2, labels=f"labels-{tmp_path.name}")


def fill(place: Place, values: dict[int, list[tuple[int, bytes]]], topic: str = "") -> None:
    for partition, stretch in values.items():
        place.produce_at(topic or place.events, partition, stretch)


def test_a_sound_set_up_has_no_fault(place):
    """Each check has a line; labels join, keys fit, times are recent. Nothing is written."""
    fill(place, by_model(80))
    fill(place, {p: [(NOW_MS, label(i)) for i in range(80) if i % 2 == p] for p in (0, 1)}, place.labels)
    found = findings(place)
    assert {one["level"] for one in found.values()} == {"ok"}
    assert found[f"topic {place.events}"]["text"] == (
        "80 records give 80 events of 4 models with 2 columns, and 0 dead letters"
    )
    assert found[f"keys of {place.events}"]["text"] == "each of 4 models is on one partition"
    assert found["labels"]["text"] == "80 of 80 labels join a prediction in the samples"
    assert place.end(place.outputs["epochs"]) == 0
    lines = driftline("doctor", "--config", str(place.config)).stdout.splitlines()
    assert len(lines) == len(found)
    assert lines[0].startswith("ok       references: ")


def test_labels_in_another_partition_are_named(place):
    """They never join, and nothing else would say it before the time-out."""
    fill(place, by_model(80))
    fill(place, {1: [(NOW_MS, label(i)) for i in range(80) if i % 2 == 0]}, place.labels)
    found = findings(place, expect=6)["labels"]
    assert found["level"] == "fault"
    assert found["text"].startswith("40 of 40 labels are in another partition than their prediction")


def test_keys_that_spread_a_model_are_named(place):
    """Each partition would watch a part of it."""
    fill(place, {0: [(NOW_MS, prediction(i)) for i in range(40)], 1: [(NOW_MS, prediction(4))]})
    found = findings(place)[f"keys of {place.events}"]
    advice = "let producers use the model as the key, or copy the topic with `driftline rekey` (docs/keys.md)"
    assert (found["level"], found["next_step"]) == ("warning", advice)
    assert found["text"].startswith("1 of 4 models are on several partitions (m0 on 2)")


def test_a_wrong_mapping_is_named_with_the_right_one(place):
    """The advice comes from the records themselves."""
    flat = [json.dumps({"modelName": "eta", "ts": NOW_MS + i, "delay": 1.5}).encode() for i in range(40)]
    fill(place, {0: [(NOW_MS, value) for value in flat]})
    found = findings(place, expect=6)[f"topic {place.events}"]
    assert "none of 40 records is understood (40 missing_model)" in found["text"]
    assert found["next_step"] == (
        "these settings give 40 events: {fields: {model_id: $.modelName, event_time: $.ts, features: $}}"
    )


@pytest.mark.parametrize(
    ("record_s", "event_s", "words"),
    [
        # Brokers take records of up to an hour ahead, and events may be another hour ahead of their records.
        (3_000, 6_000, "ahead of now"),
        (0, -9 * 86_400, "more than a day old"),
    ],
)
def test_clocks_that_are_wrong_are_named(place, record_s, event_s, words):
    """Ahead of now, or long past."""
    now_ms = int(time.time() * 1000)  # the suite may have begun an hour ago
    at_ms = now_ms + 1000 * event_s
    fill(place, {0: [(now_ms + 1000 * record_s, prediction(i, at_ms)) for i in range(8)]})
    found = findings(place)[f"times of {place.events}"]
    assert found["level"] == "warning"
    assert words in found["text"]


def test_topics_that_are_missing_and_empty_are_named(place):
    """A missing topic is a fault, and ends the checks that rest on it; an empty one can't be tried."""
    found = findings(place)
    assert found[f"topic {place.events}"]["text"] == "it holds no record, so its mapping can't be tried"
    place.config.write_text(place.config.read_text().replace(f"{place.events}:", f"{place.events}s:"))
    found = findings(place, expect=3)
    assert found["topics"]["level"] == "fault"
    assert f"did you mean {place.events}" in found["topics"]["text"]
    assert "labels" not in found


def test_outputs_of_another_service_are_named(place):
    """A second service would publish everything twice."""
    fill(place, by_model(8))
    place.run_to_end()
    text = place.config.read_text()
    place.config.write_text(text.replace(f"group: driftline-{place.tag}", "group: another"))
    found = findings(place, expect=2)["outputs"]
    assert f"by group driftline-{place.tag}" in found["text"]


def test_brokers_and_references_that_are_not_there_are_named(tmp_path):
    """Both in one round; the first fault decides the exit code."""
    config = tmp_path / "d.yaml"
    reference = tmp_path / "bus.reference"
    reference.write_bytes(b"PAR1")
    config.write_text(f"kafka: {{bootstrap: '127.0.0.1:9'}}\ntopics: {{bus: }}\nreferences: {{file: {reference}}}\n")
    ran = driftline("doctor", "--config", str(config), expect=2)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("FAULT")]
    assert [line.split()[1] for line in lines] == ["references:", "brokers:"]
