"""From a drift to a retrain that helped: service, launcher, trainer, people and MLflow, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driftline_process import DRIFTLINE, PATIENCE_S, Place, Running, driftline, running
from mlflow_kit import Registry, mlflow

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(1500)]

MODEL, STEP = "bus-1", timedelta(seconds=5)
END_S = 900.0
EXTRA = """
detectors:
  ks_window: {{window: 100, reference_size: 100}}
retrain:
  min_events_after_onset: 150
  approval_by_model: {{"bus-*": both}}
  watch_s: 120
references: {{url: references}}
labels: {{timeout_s: 3600}}
checkpoints: {{url: state}}
launch:
  "bus-*":
    train: {{command: ["{python}", "{folder}/train.py", "{registry}"]}}
    registry: {{mlflow: {{url: "{registry}"}}}}
    poll_s: 0.2
"""
TRAINER = """
import json, sys, urllib.request
import pyarrow.compute as pc
from streamer.training import job, parts

def mae(table, offset):
    return pc.mean(pc.abs(pc.subtract(table["label"], pc.add(table["prediction"], offset)))).as_py()

with job() as training:
    known = training.table(holdout=0.25)
    train, holdout = parts(known.filter(pc.is_valid(known["label"])))
    offset = pc.mean(pc.subtract(train["label"], train["prediction"])).as_py()
    body = json.dumps({"name": training.request.model_id, "source": "s3://models/bus-1"}).encode()
    url = f"{sys.argv[1]}/api/2.0/mlflow/model-versions/create"
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    made = json.loads(urllib.request.urlopen(asked).read())["model_version"]["version"]
    training.trained(made, champion={"mae": mae(holdout, 0.0)}, challenger={"mae": mae(holdout, offset)})
"""


class Events:
    """Predictions of a model with their labels. From `drift` on, the world is 4 higher, in feature and label."""

    def __init__(self, place: Place, start: datetime) -> None:
        self._place, self._at, self._rng, self._n = place, start, np.random.default_rng(5), 0

    def send(self, n: int, version: str, shift: float, learned: float, step: timedelta = STEP) -> None:
        """`learned`: the shift that the model knows of."""
        predictions, labels = [], []
        for _ in range(n):
            x = float(self._rng.normal(10 + shift, 1))
            named = {"model_id": MODEL, "prediction_id": str(self._n), "event_time": self._at.isoformat()}
            about = {"model_version": version, "features": {"x": x}, "prediction": x + learned}
            ms = int(self._at.timestamp() * 1000)
            predictions.append((ms, json.dumps({**named, **about}).encode()))
            truth = x + shift + float(self._rng.normal(0, 0.3))
            labels.append((ms + 1, json.dumps({**named, "label": truth}).encode()))
            self._at += step
            self._n += 1
        self._place.produce_at(self._place.events, 0, predictions)
        self._place.produce_at(self._place.labels, 0, labels)


@contextmanager
def launching(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    command = [*DRIFTLINE, "launch", "--config", str(place.config), "--runs", str(place.folder / "runs")]
    with (place.folder / "launch.log").open("w") as log:
        process = subprocess.Popen([*command, "--metrics-port", "0"], stderr=log)
        try:
            yield process
            assert process.poll() is None, (place.folder / "launch.log").read_text()
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@contextmanager
def world(bootstrap: str, folder: Path) -> Iterator[tuple[Place, Registry]]:
    """The topics of a service, and a registry with version 1 as champion."""
    (folder / "train.py").write_text(TRAINER)
    with mlflow(folder) as registry:
        registry.call("POST", "registered-models/create", {"name": MODEL})
        registry.call("POST", "model-versions/create", {"name": MODEL, "source": "s3://models/bus-1"})
        registry.call("POST", "registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"})
        extra = EXTRA.format(python=sys.executable, folder=folder, registry=registry.url)
        yield Place(bootstrap, folder, partitions=1, labels=f"labels.{folder.name}", extra=extra), registry


def test_a_drifted_model_is_retrained_and_that_helps(kafka_broker, tmp_path):
    """Request, approval, run, training, review, promotion, registry, reference, and the verdict of the next days."""
    with world(kafka_broker.bootstrap, tmp_path) as (place, registry), running(place.config) as service:
        config, events = str(place.config), Events(place, datetime.now(UTC) - timedelta(hours=2))
        events.send(500, "1", shift=0.0, learned=0.0)
        events.send(400, "1", shift=4.0, learned=0.0)
        with launching(place):
            request = until(service, lambda: place.jsons("requests"))[0]["request_id"]
            driftline("approve", request, "--config", config, "--actor", "ann", "--wait-s", "100")
            until(service, lambda: state_of(place) == "awaiting_review")
            until(service, lambda: registry.version_of(MODEL, "challenger") == "2")
            assert registry.version_of(MODEL, "champion") == "1"
            driftline("promote", request, "--config", config, "--actor", "bob", "--wait-s", "100")
            until(service, lambda: registry.version_of(MODEL, "champion") == "2")
            assert registry.tags_of(MODEL, "2") == {"driftline.request_id": request}

            def noted() -> dict[str, Any]:
                events.send(1, "1", shift=4.0, learned=0.0, step=timedelta(milliseconds=1))
                return next((one["references"] for one in place.jsons("epochs") if "references" in one), {})

            (file,) = (tmp_path / "references" / MODEL).iterdir()
            version, digest = file.name.removesuffix(".parquet").split(".")
            assert until(service, noted) == {MODEL: {version: digest}}
            events._at = datetime.now(UTC)
            events.send(400, version, shift=4.0, learned=4.0, step=timedelta(seconds=2))
            until(service, lambda: state_of(place) == "helped")
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    agree(place, request)


def agree(place: Place, request: str) -> None:
    """Decisions, alerts, `history` and `verify` state the same course."""
    decisions = [one for one in place.jsons("decisions") if one["request_id"] == request]
    assert [one["reason"] for one in decisions] == ["approved", "training", "trained", "promoted", "helped"]
    trained = decisions[2]
    assert trained["challenger"]["mae"] < 0.2 * trained["champion"]["mae"]
    assert not [one for one in place.jsons("alerts") if one["model_version"] == "2"]
    story = driftline("history", MODEL, "--config", str(place.config)).stdout
    places = [story.index(word) for word in ("approved", "training", "trained", "promoted", "helped")]
    assert places == sorted(places), story
    assert "all as published" in driftline("verify", "--config", str(place.config)).stdout


def state_of(place: Place) -> str:
    """Where the one request stands."""
    return next((one["state"] for one in reversed(place.jsons("decisions")) if one["state"]), "")


def until(service: Running, what: Callable[[], Any]) -> Any:
    """What is so at last; the service may compile for minutes before."""
    deadline = time.monotonic() + END_S
    while not (found := what()):
        assert time.monotonic() < deadline, "".join(service.said)
        assert service.process.poll() is None, "".join(service.said)
        time.sleep(0.3)
    return found
