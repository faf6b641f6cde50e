"""Labels with other keys and another number of partitions than their predictions: what shows it, and how they join."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest
from driftline_process import Place, create_topic, driftline, ends, messages, running

from streamer.eventlog.kafka.transfer import partition_of_key

pytestmark = [pytest.mark.broker, pytest.mark.slow]

N, MODELS, PARTITIONS, LABEL_PARTITIONS = 8000, 4, 4, 6
MOVED = 6000  # from this event on, predictions are wrong by 8 more
ORIGIN = "__driftline.origin"
FIRST_MS = int(time.time() * 1000) // 60_000 * 60_000 - N * 100 - 600_000


class Apart(Place):
    """A place with a topic of labels that is not co-partitioned with its predictions."""

    def with_labels(self) -> Apart:
        self.labels, self.copies = f"answers.{self.tag}", f"driftline.labels.{self.tag}"
        create_topic(self.bootstrap, self.labels, LABEL_PARTITIONS)
        text = self.config.read_text().replace("outputs:\n", f"  {self.labels}: {{format: json}}\noutputs:\n", 1)
        self.config.write_text(text.replace("outputs:\n", f"outputs:\n  labels: {self.copies}\n", 1))
        return self

    def repartition(self) -> None:
        self.config.write_text(f"{self.config.read_text()}labels: {{repartition: true}}\n")
        driftline("topics", "--config", str(self.config), "--create")

    def send(self, start: int, end: int) -> None:
        """Predictions in the partitions of their models, and labels in any other one."""
        random = Random(start)
        predictions = {p: [] for p in range(PARTITIONS)}
        labels = {p: [] for p in range(LABEL_PARTITIONS)}
        for i in range(start, end):
            at, model = FIRST_MS + 100 * i, f"m{i % MODELS}"
            event = {"model_id": model, "event_time": at, "prediction_id": f"p{i}"}
            guess, wrong = random.gauss(50.0, 5.0), abs(random.gauss(0.0, 1.0)) + 8.0 * (i >= MOVED)
            home = partition_of_key(model.encode(), PARTITIONS)
            predictions[home].append((at, json.dumps(event | {"prediction": guess}).encode()))
            answer = event | {"event_time": at + 50, "label": guess + wrong}
            other = (home + 1 + random.randrange(LABEL_PARTITIONS - 1)) % LABEL_PARTITIONS
            labels[other].append((at + 50, json.dumps(answer).encode()))
        for topic, rows in ((self.events, predictions), (self.labels, labels)):
            for partition, stretch in rows.items():
                self.produce_at(topic, partition, stretch)

    def fates(self) -> dict[str, int]:
        """What became of labels, from the last checkpoints."""
        lines = driftline("columns", "m0", "--json", "--config", str(self.config)).stdout.splitlines()
        return json.loads(lines[-1])["labels"]


@pytest.fixture
def apart(kafka_broker, tmp_path) -> Apart:
    return Apart(kafka_broker.bootstrap, tmp_path, partitions=PARTITIONS).with_labels()


def alerts_of(lines: list[str]) -> list[dict]:
    return [one for line in lines if (one := json.loads(line)).get("type") == "alert"]


def drifts_of_errors(alerts: list[dict]) -> set[str]:
    return {one["model_id"] for one in alerts if (one["column"], one["kind"]) == ("error", "drift")}


def test_without_the_setting_it_is_said_and_nothing_joins(apart, tmp_path):
    """`run` and `topics` name the topics and the setting; a replay has `label_mismatch` and no drift of errors."""
    apart.send(0, N)
    listed = driftline("topics", "--config", str(apart.config), "--create", expect=3).stdout
    assert f"6 partitions, not co-partitioned with {apart.events}" in listed
    said = ends("run", "--config", str(apart.config), exit_code=3)
    assert f"{apart.events} has 4, {apart.labels} has 6" in said
    assert "labels.repartition" in said
    out = str(tmp_path / "apart.parquet")
    driftline("record", "--config", str(apart.config), "--until-end", "--out", out)
    times = pq.read_table(out)["timestamp_ms"].to_numpy()
    assert (np.diff(times) >= 0).all()  # ten partitions of two topics
    done = driftline("replay", out, "--config", str(apart.config))
    alerts = alerts_of(done.stdout.splitlines())
    assert drifts_of_errors(alerts) == set()
    assert "label_mismatch" in {one["kind"] for one in alerts}
    assert "set labels.repartition" in done.stderr


def test_with_the_setting_all_labels_join_whatever_ends_the_service(apart, tmp_path):
    """Killed in the middle, it copies each label once; errors drift; windows name the copies; a replay agrees."""
    apart.repartition()
    apart.send(0, N // 2)
    for kill in range(2):
        with running(apart.config) as service:
            deadline_s = time.monotonic() + 120
            while apart.end(apart.copies) == 0:
                assert time.monotonic() < deadline_s, "".join(service.said)
                time.sleep(0.05)
            if kill:
                apart.send(N // 2, N)
            service.kill()
    with running(apart.config) as service:
        service.wait_until_done()
        shown = service.metrics()
        assert "driftline_rekeyed_records_total" in shown
        assert f'driftline_lag_records{{partition="5",topic="{apart.labels}",unit="rekey"}}' in shown
        assert service.stop() == 0, "".join(service.said)
    check_copies(apart)
    fates = apart.fates()
    assert (fates["matched"], sum(fates.values()) - fates["unknown_model"]) == (N, N)
    published = [one for one in apart.jsons("alerts") if one["kind"] == "drift"]
    assert drifts_of_errors(published) == {f"m{k}" for k in range(MODELS)}
    roles = {(window["role"], window["topic"]) for one in published for window in one.get("training_window", ())}
    assert {("labels", apart.copies), ("predictions", apart.events)} >= roles
    check_replay(apart, published, tmp_path)


def check_copies(apart: Apart) -> None:
    """Each label has one copy, keyed by its model, in the partition of its model."""
    copies = messages(apart.bootstrap, apart.copies)
    origins = Counter(dict(m.headers())[ORIGIN] for m in copies)
    assert (len(origins), set(origins.values())) == (N, {1})
    for m in copies:
        model = json.loads(m.value())["model_id"].encode()
        assert (m.key(), m.partition()) == (model, partition_of_key(model, PARTITIONS))


def check_replay(apart: Apart, published: list[dict], folder: Path) -> None:
    """A recording of the folded topics, which the configuration names, has the same drifts of errors."""
    out = str(folder / "folded.parquet")
    driftline("record", "--config", str(apart.config), "--until-end", "--out", out)
    replayed = alerts_of(driftline("replay", out, "--config", str(apart.config)).stdout.splitlines())
    ids = {(one["alert_id"], one["state"]) for one in published}
    assert {(one["alert_id"], one["state"]) for one in replayed if one["kind"] == "drift"} == ids


def test_a_second_copying_is_refused(apart):
    """`driftline rekey` beside a service that copies would fence it; it ends with a sentence."""
    apart.repartition()
    assert "`driftline run` copies these topics itself" in ends("rekey", "--config", str(apart.config), exit_code=2)
