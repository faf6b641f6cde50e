"""The runs of a real Prefect 3, of an environment of its own outside the tree: launched once, followed, cancelled."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from launch_kit import Loop, RunState, Topics, asked, rule, tools
from mlflow_kit import environment

from streamer.launch.base import Run
from streamer.launch.launcher import REPORT_GRACE_S
from streamer.launch.settings import TrainSection
from streamer.launch.targets.prefect import Prefect, PrefectSettings
from streamer.testing.kafka_config import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(1500)]

PACKAGES = ("prefect>=3.8,<3.9", "fastapi>=0.139,<0.140")  # later ones lack what the server of 3.8 calls
PATIENCE_S = 400  # without an answer; the server takes 10 s on a free core
GOOD, BAD, SLOW = "retrain-bus-1-aa", "retrain-bus-bad-bb", "retrain-bus-slow-cc"
FLOW = """
import time
from prefect import flow

@flow(name="retrain")
def retrain(request: dict):
    if request["model_id"] == "bus-bad":
        raise RuntimeError("no data")
    time.sleep(3600 if request["model_id"] == "bus-slow" else 0)

if __name__ == "__main__":
    retrain.serve(name="bus")
"""


@contextmanager
def process(command: list[str], environ: dict[str, str], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with those that it starts, until the block ends."""
    with log.open("w") as out:
        started = subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=out, start_new_session=True)
        try:
            yield started
        finally:
            for number in (15, 9):
                with suppress(ProcessLookupError):
                    os.killpg(started.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    started.wait(20)


@contextmanager
def prefect(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of the API of a server, and the id of a deployment whose runs a process carries out."""
    python, port = environment("prefect", PACKAGES), free_ports(["prefect"])["prefect"]
    url = f"http://127.0.0.1:{port}/api"
    environ = {
        **os.environ, "HOME": str(folder), "PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false", "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }  # fmt: skip
    (folder / "flow.py").write_text(FLOW)
    serve = [str(python), "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with ExitStack() as stack:
        server = stack.enter_context(process(serve, environ, folder, folder / "server.log"))
        until(lambda: call(f"{url}/health"), server, folder / "server.log")
        runner = stack.enter_context(process([str(python), "flow.py"], environ, folder, folder / "runner.log"))
        (made,) = until(lambda: call(f"{url}/deployments/filter", {}), runner, folder / "runner.log")
        yield url, made["id"]


def call(url: str, body: Any = None) -> Any:
    """The answer of the server; None while there is none."""
    data = None if body is None else json.dumps(body).encode()
    with suppress(OSError):
        sent = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - a loopback address
        return json.loads(urllib.request.urlopen(sent, timeout=30).read())  # noqa: S310
    return None


def until(what, started: subprocess.Popen[bytes], log: Path) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)
    return found


def test_runs_of_prefect_are_launched_followed_and_cancelled(tmp_path):
    """A good run is `trained`, a bad one `failed`; one that is called off ends; a repeat is the same run."""
    with prefect(tmp_path) as (url, deployment):
        settings = PrefectSettings(url, deployment)
        target, topics = Prefect(settings, tools(tmp_path)), Topics()
        for request_id, model in ((GOOD, "bus-1"), (BAD, "bus-bad"), (SLOW, "bus-slow")):
            topics.request(request_id, model)
        loop = Loop(topics, rule(train=TrainSection(prefect=settings), poll_s=1.0), tmp_path)
        loop.until(lambda: loop.kinds().count("started") == 3, step_s=0.1, patience_s=PATIENCE_S)
        runs = {one["request_id"]: Run(one["run"].removeprefix("prefect:")) for one in topics.said()}
        assert target.launch(asked(GOOD, "bus-1")).ref == runs[GOOD].ref
        assert call(f"{url}/flow_runs/count", {}) == 3, "the same key is the same run"
        loop.until(lambda: comments(topics, "failed"), step_s=0.1, patience_s=PATIENCE_S)
        ((failed, reason),) = comments(topics, "failed")
        assert (failed, "is FAILED: " in reason, "no data" in reason) == (BAD, True, True)
        loop.until(lambda: comments(topics, "trained"), step_s=REPORT_GRACE_S / 20, patience_s=PATIENCE_S)
        assert [one for one, _ in comments(topics, "trained")] == [GOOD]
        loop.until(lambda: state_name(url, runs[SLOW]) == "RUNNING", step_s=0.1, patience_s=PATIENCE_S)
        loop.decide(SLOW, "rejected")
        loop.until(lambda: SLOW not in loop.launcher.ledger.tasks, step_s=0.1, patience_s=PATIENCE_S)
        loop.until(lambda: target.look(runs[SLOW]).state is RunState.FAILED, step_s=0.1, patience_s=PATIENCE_S)
        assert state_name(url, runs[SLOW]) == "CANCELLED"
        gone = target.look(Run("00000000-0000-4000-8000-000000000000"))
        assert (gone.state, "has no flow run" in gone.reason) == (RunState.GONE, True)
        target.cancel(runs[GOOD])
        assert state_name(url, runs[GOOD]) == "COMPLETED", "what has ended stays as it is"


def state_name(url: str, run: Run) -> str:
    found = call(f"{url}/flow_runs/{run.ref}")
    return found["state"]["type"] if found else ""


def comments(topics, kind):
    """Request and comment of the control records of a kind."""
    return [(one["request_id"], one["comment"]) for one in topics.said() if one["kind"] == kind]
