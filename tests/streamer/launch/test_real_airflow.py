"""A real Airflow 3: its runs, and the whole loop from a drift to a retrain that helped, all parts of it real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from airflow_kit import PATIENCE_S as AIRFLOW_PATIENCE_S
from airflow_kit import Server, airflow
from driftline_process import DRIFTLINE, PATIENCE_S, Place, Running, driftline, running
from launch_kit import Loop, RunState, TargetDown, Topics, asked, rule, tools
from mlflow_kit import Registry, mlflow

from streamer.launch.base import Run
from streamer.launch.launcher import REPORT_GRACE_S
from streamer.launch.settings import TrainSection
from streamer.launch.targets.airflow import Airflow, AirflowSettings

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def airflow_server(tmp_path_factory) -> Iterator[Server]:
    with airflow(tmp_path_factory.mktemp("airflow")) as server:
        yield server


GOOD, BAD, SLOW = "retrain-bus-1-aa", "retrain-bus-bad-bb", "retrain-bus-slow-cc"


def answered(call):
    """The answer to a call that is made again while the server is busy."""
    for _ in range(30):
        try:
            return call()
        except TargetDown as problem:
            last = problem
            threading.Event().wait(1.0)
    raise last


def test_runs_of_airflow_are_launched_followed_and_cancelled(airflow_server, tmp_path):
    """A good run is `trained`, a bad one `failed`; one that is called off ends; a repeat is no second run."""
    settings = AirflowSettings(airflow_server.url, "retrain_bus", username="me", password_env="PASSWORD")
    target = Airflow(settings, tools(tmp_path, PASSWORD="p"))
    topics = Topics()
    for request_id, model in ((GOOD, "bus-1"), (BAD, "bus-bad"), (SLOW, "bus-slow")):
        topics.request(request_id, model)
    loop = Loop(topics, rule(train=TrainSection(airflow=settings), poll_s=1.0), tmp_path, PASSWORD="p")

    def state(request_id):
        return answered(lambda: target.look(Run(f"retrain_bus/{request_id}"))).state

    loop.until(lambda: loop.kinds().count("started") == 3, step_s=0.1, patience_s=AIRFLOW_PATIENCE_S)
    before = answered(lambda: target._call("GET", target._url("retrain_bus")).json())
    assert answered(lambda: target.launch(asked(GOOD, "bus-1"))).ref == f"retrain_bus/{GOOD}"
    after = answered(lambda: target._call("GET", target._url("retrain_bus")).json())
    assert before["total_entries"] == after["total_entries"] >= 3, "409 is the same run"
    loop.until(lambda: comments(topics, "failed"), step_s=0.1, patience_s=AIRFLOW_PATIENCE_S)
    assert comments(topics, "failed") == [(BAD, f"the DAG run retrain_bus/{BAD} is failed; failed tasks: train")]
    loop.until(lambda: state(GOOD) is RunState.SUCCEEDED, step_s=0.1, patience_s=AIRFLOW_PATIENCE_S)
    loop.until(lambda: comments(topics, "trained"), step_s=REPORT_GRACE_S / 20, patience_s=AIRFLOW_PATIENCE_S)
    assert [one for one, _ in comments(topics, "trained")] == [GOOD]
    assert state(SLOW) is RunState.RUNNING
    loop.decide(SLOW, "rejected")
    loop.until(lambda: SLOW not in loop.launcher.ledger.tasks, step_s=0.1, patience_s=AIRFLOW_PATIENCE_S)
    assert state(SLOW) is RunState.FAILED
    assert sorted(loop.kinds()) == ["failed", "started", "started", "started", "trained"]


def comments(topics, kind):
    """Request and comment of the control records of a kind."""
    return [(one["request_id"], one["comment"]) for one in topics.said() if one["kind"] == kind]


MODEL, STEP = "bus-7", timedelta(seconds=5)
END_S = 900.0
PASSWORD = {"AIRFLOW_PASSWORD": "anything"}
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
    train: {{airflow: {{url: "{airflow}", dag: retrain_bus, username: driftline, password_env: AIRFLOW_PASSWORD}}}}
    registry: {{mlflow: {{url: "{registry}"}}}}
    poll_s: 0.2
"""
TRAINER = """
import json, sys, urllib.request
import pyarrow.compute as pc
from streamer.training import job, parts

def mae(table, offset):
    return pc.mean(pc.abs(pc.subtract(table["label"], pc.add(table["prediction"], offset)))).as_py()

with job(actor="airflow") as training:
    known = training.table(holdout=0.25)
    train, holdout = parts(known.filter(pc.is_valid(known["label"])))
    offset = pc.mean(pc.subtract(train["label"], train["prediction"])).as_py()
    body = json.dumps({"name": training.request.model_id, "source": "s3://models/bus-7"}).encode()
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
        process = subprocess.Popen([*command, "--metrics-port", "0"], stderr=log, env={**os.environ, **PASSWORD})
        try:
            yield process
            assert process.poll() is None, (place.folder / "launch.log").read_text()
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@contextmanager
def world(bootstrap: str, folder: Path, server: Server) -> Iterator[tuple[Place, Registry]]:
    """The topics of a service, a registry with version 1 as champion, and the trainer of Airflow's DAG."""
    (folder / "train.py").write_text(TRAINER)
    with mlflow(folder) as registry:
        registry.call("POST", "registered-models/create", {"name": MODEL})
        registry.call("POST", "model-versions/create", {"name": MODEL, "source": "s3://models/bus-7"})
        registry.call("POST", "registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"})
        extra = EXTRA.format(airflow=server.url, registry=registry.url)
        place = Place(bootstrap, folder, partitions=1, labels=f"labels.{folder.name}", extra=extra)
        script = server.trainers / MODEL
        run = f"DRIFTLINE_CONFIG={place.config} exec {sys.executable} train.py {registry.url}"
        script.write_text(f"#!/bin/sh\ncd {folder} && {run}\n")
        script.chmod(0o755)
        yield place, registry


def test_a_drifted_model_is_retrained_and_that_helps(kafka_broker, airflow_server, tmp_path):
    """Request, approval, DAG run, report, review, promotion, registry, reference, and the verdict of the next days."""
    with world(kafka_broker.bootstrap, tmp_path, airflow_server) as (place, registry), running(place.config) as service:
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
    started, trained = decisions[1], decisions[2]
    (run,) = (one for one in place.jsons("control") if one["kind"] == "started")
    assert run["run"] == f"airflow:retrain_bus/{request}"
    assert (started["actor"], trained["actor"]) == ("driftline-launch", "airflow")
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
