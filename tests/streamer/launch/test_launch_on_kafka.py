"""The launcher on a real broker: a request is trained by a real script on the window that it names, and reported."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from driftline_process import DRIFTLINE, PATIENCE_S, Place, driftline
from http_kit import serving
from training_kit import label, prediction, request, window

from streamer.errors import BrokerError
from streamer.eventlog.base import Output
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.transfer import send

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]
END_S = 600.0  # three processes start after each other, and compile what the label join needs

TRAINER = """
import sys
import pyarrow.compute as pc
from streamer.training import job, parts

with job() as training:
    train, holdout = parts(training.table(holdout=0.25))
    offset = pc.mean(pc.subtract(train["label"], train["prediction"]))
    before = pc.mean(pc.abs(pc.subtract(holdout["label"], holdout["prediction"]))).as_py()
    new = pc.add(holdout["prediction"], offset)
    after = pc.mean(pc.abs(pc.subtract(holdout["label"], new))).as_py()
    if len(sys.argv) > 1:
        raise RuntimeError(sys.argv[1])
    training.trained("8", champion={"mae": before}, challenger={"mae": after}, artifact="models/8")
"""


@pytest.fixture
def place(kafka_broker, tmp_path):
    """200 predictions of a model that is 3 too low, and their labels on a topic of their own."""
    (tmp_path / "train.py").write_text(TRAINER)
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, labels=f"labels.{tmp_path.name}")
    place.produce({0: [json.dumps(prediction(i)).encode() for i in range(200)]})
    place.produce_at(place.labels, 0, [(-1, json.dumps(label(i, 10.0 * i + 3)).encode()) for i in range(200)])
    return place


def publish(place: Place, request_id: str) -> dict:
    asked = request(window(0, 160, place.events), request_id=request_id)
    asked["training_window"].append(window(0, 200, place.labels, role="labels"))
    send(
        KafkaConnection(bootstrap=(place.bootstrap,)),
        [Output(place.outputs["requests"], b"bus-1", msgspec.json.encode(asked))],
    )
    return asked


def launched(place: Place, argv: list[str], kinds: list[str]) -> list[dict]:
    """The control records, once the launcher has reported these kinds; it is killed once, after the first report."""
    command = json.dumps([sys.executable, *argv])
    text = place.config.read_text()
    place.config.write_text(f'{text}launch: {{"*": {{poll_s: 0.2, train: {{command: {command}}}}}}}\n')
    start = [*DRIFTLINE, "launch", "--config", str(place.config), "--runs", str(place.folder / "runs")]
    deadline, process = time.monotonic() + END_S, subprocess.Popen(start, stderr=subprocess.PIPE)
    said: list[dict] = []
    was_killed = False
    try:
        while [one["kind"] for one in said] != kinds:
            assert time.monotonic() < deadline, said
            assert process.poll() is None, process.stderr.read()
            said = place.jsons("control")
            if not was_killed and said:
                was_killed = True
                process.kill()
                process.communicate()
                process = subprocess.Popen(start, stderr=subprocess.PIPE)
            time.sleep(0.2)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    return said


def test_a_request_is_trained_on_its_window(place):
    """The script trains on the window and reports metrics of both models, although the launcher is killed meanwhile."""
    publish(place, "retrain-bus-1-00000000000000aa")
    started, trained = launched(place, [str(place.folder / "train.py")], ["started", "trained"])
    run = place.folder / "runs" / "retrain-bus-1-00000000000000aa"
    assert started["run"] == f"command:{run}"
    assert (trained["model_version"], trained["comment"]) == ("8", "artifact: models/8")
    assert trained["champion"] == {"mae": 3.0}
    assert trained["challenger"] == {"mae": 0.0, "holdout_rows": 40.0}


def test_a_trainer_that_dies_is_reported_with_its_exception(place):
    """An exception of the script is the reason of `failed`."""
    publish(place, "retrain-bus-1-00000000000000bb")
    _, failed = launched(place, [str(place.folder / "train.py"), "no such column"], ["started", "failed"])
    assert failed["comment"] == "RuntimeError: no such column"


def test_a_second_launcher_takes_over(place, monkeypatch):
    """The first one ends with the next request, and each request is sent to the target and reported once."""
    monkeypatch.setenv("DEPLOY_SECRET", "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode())
    with serving(lambda _: (202, {})) as server:
        target = json.dumps({"url": server.url, "secret_env": "DEPLOY_SECRET"})
        text = place.config.read_text()
        place.config.write_text(f'{text}launch: {{"*": {{train: {{webhook: {target}}}}}}}\n')
        with launching(place) as first:
            publish(place, "retrain-bus-1-00000000000000a1")
            soon(lambda: len(place.jsons("control")) == 1, first)
            with launching(place) as second:
                soon(lambda: "requests are open" in second.log(), second)
                publish(place, "retrain-bus-1-00000000000000a2")
                soon(lambda: first.process.poll() is not None and len(place.jsons("control")) == 2, second)
                assert first.process.returncode == BrokerError.exit_code, first.log()
                assert "A later process of" in first.log()
                publish(place, "retrain-bus-1-00000000000000a3")
                soon(lambda: len(place.jsons("control")) == 3, second)
    ids = [f"retrain-bus-1-00000000000000a{i}" for i in (1, 2, 3)]
    assert [one.headers["webhook-id"] for one in server.sent] == ids
    assert [one["request_id"] for one in place.jsons("control")] == ids


class Launching:
    """`driftline launch` under way."""

    def __init__(self, place: Place) -> None:
        self._path = place.folder / f"launch-{uuid.uuid4().hex}.log"
        start = [*DRIFTLINE, "launch", "--config", str(place.config), "--runs", str(place.folder / "runs")]
        with self._path.open("w") as log:
            self.process = subprocess.Popen([*start, "--metrics-port", "0"], stderr=log)

    def log(self) -> str:
        return self._path.read_text()


@contextmanager
def launching(place: Place) -> Iterator[Launching]:
    started = Launching(place)
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.wait(PATIENCE_S)


def soon(what: Callable[[], bool], process: Launching) -> None:
    deadline = time.monotonic() + END_S
    while not what():
        assert time.monotonic() < deadline, process.log()
        assert process.process.poll() is None, process.log()
        time.sleep(0.2)


def test_a_window_is_read_from_the_broker(place, tmp_path):
    """`driftline window` finds the request by its id, names near ones, and writes its rows with their labels."""
    import pyarrow.parquet as pq

    asked = publish(place, "retrain-bus-1-00000000000000cc")
    out = str(tmp_path / "training")
    done = driftline("window", asked["request_id"], "--out", out, "--config", str(place.config))
    table = pq.read_table(Path(out) / "window.parquet")
    assert table["label"].to_pylist() == [10.0 * i + 3 for i in range(160)]
    assert "160 rows of bus-1, 160 with a label" in done.stdout
    more = driftline("window", asked["request_id"], "--out", out, "--until", "now", "--config", str(place.config))
    assert "200 rows of bus-1, 200 with a label" in more.stdout
    wrong = driftline("window", "retrain-bus-1-00000000000000cd", "--out", out, "--config", str(place.config), expect=2)
    assert "did you mean retrain-bus-1-00000000000000cc" in wrong.stderr
