"""One drifted model of the fleet is retrained: request, launch, training, review, release, and whether it helped.

The parts are those of `driftline launch`: its ledger, the launcher, the target `command` with a trainer of its own
process, the rule of the review and the store of references. Time is simulated: each report of the launcher comes an
hour after the one before, and the log is folded up to there, as the service folds it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from examples.demo.fleet import FAHRENHEIT_FROM_DAY, moment
from examples.demo.stream import DAY_MS, Stream, write_recording
from examples.demo.trainer import VERSION, inputs
from examples.demo.watch import HERE
from streamer.app import replay as app
from streamer.clock import ManualClock, SystemClock
from streamer.config import Config, load_config
from streamer.errors import DriftlineError
from streamer.eventlog.base import Output, Records
from streamer.events import time_of
from streamer.launch.base import LaunchRequest, Tools
from streamer.launch.http import Http
from streamer.launch.launcher import Launcher
from streamer.launch.ledger import Ledger
from streamer.launch.settings import TrainSection
from streamer.training import store_reference

MODEL, BEGAN_DAY = "bus-066", 25.5  # see `fleet.DRIFTS`: road works
UNTIL_MS = int(moment(FAHRENHEIT_FROM_DAY).timestamp() * 1000)  # from there on, the temperature feed is broken
BETWEEN_S = 3600.0  # from one report to the next, in simulated time
PATIENCE_TURNS = 6_000  # of 10 ms
RECORDINGS = "DRIFTLINE_RECORDINGS"

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came of it."""

    story: list[dict[str, Any]]  # decisions about the request
    mae: dict[str, float]  # s: `before` the drift, `during` it, `after` the release, and then `without` it
    seconds_to_release: float  # from the onset, in simulated time
    request: dict[str, Any]
    trained: dict[str, Any]


@dataclass(slots=True)
class _World:
    """The topics of one model, and the service that folds them."""

    config: Config
    folder: Path
    predictions: Stream
    labels: Stream
    control: list[tuple[int, bytes]] = field(default_factory=list)  # time, record
    outputs: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def recordings(self) -> list[str]:
        return [str(self.folder / f"{name}.parquet") for name in ("events", "control")]

    def fold(self, until_ms: int) -> None:
        """Fold what is in the topics up to a time; `outputs` are those of the service by then."""
        write_recording(
            self.folder / "events.parquet", [_before(s, until_ms) for s in (self.predictions, self.labels)], DAY_MS
        )
        n, times = len(self.control), np.array([at for at, _ in self.control], np.int64)
        values = [value.decode() for _, value in self.control]
        said = Stream(self.config.outputs.control, times, np.zeros(n, np.int64), ["control"] * n, values)
        write_recording(self.folder / "control.parquet", [said] if self.control else [], DAY_MS)
        outputs: dict[str, list[bytes]] = {}

        def publish(output: Output) -> None:
            outputs.setdefault(output.topic, []).append(output.value or b"")

        app.replay(self.config, self.recordings[: 1 + bool(self.control)], None, publish, lambda _done, _total: None)
        self.outputs = outputs

    def of(self, topic: str) -> list[bytes]:
        return self.outputs.get(topic, [])

    def release(self, weights: F64, from_ms: int) -> None:
        """Let the retrained version answer from a time on."""
        events = [json.loads(value) for value in self.predictions.values]
        features = {name: [event["features"][name] for event in events] for name in events[0]["features"]}
        answers = np.round(inputs(features) @ weights, 1).tolist()
        values = [
            json.dumps({**event, "model_version": VERSION, "prediction": answer}) if at >= from_ms else old
            for event, answer, at, old in zip(
                events, answers, self.predictions.time_ms.tolist(), self.predictions.values, strict=True
            )
        ]
        self.predictions = replace(self.predictions, values=values)

    def errors(self) -> tuple[F64, F64]:
        """The times in ms and the absolute errors of all predictions with a label."""
        truth = {one["prediction_id"]: one["label"] for one in map(json.loads, self.labels.values)}
        events = [json.loads(value) for value in self.predictions.values]
        found = [
            (at, abs(event["prediction"] - truth[event["prediction_id"]]))
            for event, at in zip(events, self.predictions.time_ms.tolist(), strict=True)
            if event["prediction_id"] in truth
        ]
        return np.array([at for at, _ in found], float), np.array([error for _, error in found])


def retrain(streams: Sequence[Stream], folder: Path) -> Retrained:
    """Let the model drift, retrain it, and release it. Raises `DriftlineError` where a part of that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {"DRIFTLINE_REFERENCES__URL": str((folder / "references").absolute())}
    config = load_config(str(HERE / "retrain.yaml"), needs=(), environ=environ)
    world = _World(config, folder, *(_only(stream, MODEL) for stream in streams))
    world.fold(UNTIL_MS)
    (record,) = world.of(config.outputs.requests)
    request = json.loads(record)
    times, without = world.errors()
    with _recordings(world.recordings[:1]):
        trained = _launched(world, record, msgspec.convert(request["requested_at"], type=datetime).timestamp())
    released_ms = world.control[-1][0]
    world.release(np.array(json.loads(Path(trained["comment"].removeprefix("artifact: ")).read_text())), released_ms)
    world.fold(UNTIL_MS)
    _, after = world.errors()
    began_ms = moment(BEGAN_DAY).timestamp() * 1000
    is_later, is_old = times >= released_ms, times < began_ms
    mae = {
        "before": float(without[is_old].mean()),
        "during": float(without[~is_old & ~is_later].mean()),
        "after": float(after[is_later].mean()),
        "without": float(without[is_later].mean()),
    }
    story = [json.loads(one) for one in world.of(config.outputs.decisions)]
    return Retrained(story, mae, (released_ms - began_ms) / 1000, request, trained)


def _launched(world: _World, record: bytes, asked_s: float) -> dict[str, Any]:
    """Let the launcher work on a request of this time until it has promoted the challenger.

    Returns the report of the trainer, whose process has the present time.
    """
    topics, (pattern, rule) = world.config.outputs, next(iter(world.config.launch.items()))
    rule = replace(rule, train=TrainSection(command=[sys.executable, str(HERE / rule.train.command[1])]))
    clock, ledger, decided = ManualClock(wall_s=SystemClock().now_s()), Ledger(topics), 0
    ledger.add(_records(topics.requests, [record]))

    def report(reports: list[dict[str, Any]]) -> None:
        """Append control records, and give the launcher what the service makes of them."""
        nonlocal decided
        for one in reports:
            at_ms = int((asked_s + (len(world.control) + 1) * BETWEEN_S) * 1000)
            said = json.loads(one["raw"]) if "raw" in one else one
            value = msgspec.json.encode({**said, "at": time_of(at_ms)})
            world.control.append((at_ms, value))
            ledger.add(_records(topics.control, [value]))
            world.fold(at_ms + 1)
            new = world.of(topics.decisions)[decided:]
            decided += len(new)
            ledger.add(_records(topics.decisions, new))

    def keep_reference(request: LaunchRequest, version: str) -> None:
        store_reference(request.raw, version, config=world.config, recordings=world.recordings[:1])

    tools = Tools(Http(), world.folder / "runs", str(HERE / "retrain.yaml"))
    pause = Event()
    with closing(Launcher(ledger, {pattern: rule}, tools, clock, report, keep_reference)) as launcher:
        for _ in range(PATIENCE_TURNS):
            if launcher.counts["failed"]:
                break
            launcher.turn()
            clock.advance(rule.poll_s)
            if launcher.counts["reference"] and launcher.counts["promoted"]:
                return next(said for _, value in world.control if (said := json.loads(value))["kind"] == "trained")
            pause.wait(0.01)
    raise DriftlineError(f"{MODEL} was not retrained: {[json.loads(value) for _, value in world.control]}")


def _only(stream: Stream, model: str) -> Stream:
    """The records of one model, up to the broken feed, on one partition."""
    rows = [i for i, key in enumerate(stream.keys) if key == model and stream.time_ms[i] < UNTIL_MS]
    keys, values = [model] * len(rows), [stream.values[i] for i in rows]
    return Stream(stream.topic, stream.time_ms[rows], np.zeros(len(rows), np.int64), keys, values)


def _before(stream: Stream, until_ms: int) -> Stream:
    n = int(np.searchsorted(stream.time_ms, until_ms))
    return Stream(stream.topic, stream.time_ms[:n], stream.partition[:n], stream.keys[:n], stream.values[:n])


def _records(topic: str, values: Sequence[bytes]) -> Records:
    return Records.build(topic, 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])


@contextmanager
def _recordings(paths: Sequence[str]) -> Iterator[None]:
    """Let trainers read these instead of a broker."""
    before = os.environ.get(RECORDINGS)
    os.environ[RECORDINGS] = ":".join(str(Path(path).absolute()) for path in paths)
    try:
        yield
    finally:
        os.environ.pop(RECORDINGS)
        if before is not None:
            os.environ[RECORDINGS] = before
