"""The runs of a real Airflow 3: launched once under the id of the request, followed to their end, and cancelled."""

from __future__ import annotations

import threading

import pytest
from airflow_kit import PATIENCE_S, airflow
from launch_kit import Loop, RunState, TargetDown, Topics, asked, rule, tools

from streamer.launch.base import Run
from streamer.launch.launcher import REPORT_GRACE_S
from streamer.launch.settings import TrainSection
from streamer.launch.targets.airflow import Airflow, AirflowSettings

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(1500)]

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


def test_runs_of_airflow_are_launched_followed_and_cancelled(tmp_path):
    """A good run is `trained`, a bad one `failed`; one that is called off ends; a repeat is no second run."""
    with airflow(tmp_path) as url:
        settings = AirflowSettings(url, "retrain_bus", username="me", password_env="PASSWORD")
        target = Airflow(settings, tools(tmp_path, PASSWORD="p"))
        topics = Topics()
        for request_id, model in ((GOOD, "bus-1"), (BAD, "bus-bad"), (SLOW, "bus-slow")):
            topics.request(request_id, model)
        loop = Loop(topics, rule(train=TrainSection(airflow=settings), poll_s=1.0), tmp_path, PASSWORD="p")

        def state(request_id):
            return answered(lambda: target.look(Run(f"retrain_bus/{request_id}"))).state

        loop.until(lambda: loop.kinds().count("started") == 3, step_s=0.1, patience_s=PATIENCE_S)
        before = answered(lambda: target._call("GET", target._url("retrain_bus")).json())
        assert answered(lambda: target.launch(asked(GOOD, "bus-1"))).ref == f"retrain_bus/{GOOD}"
        after = answered(lambda: target._call("GET", target._url("retrain_bus")).json())
        assert before["total_entries"] == after["total_entries"] == 3, "409 is the same run"
        loop.until(lambda: comments(topics, "failed"), step_s=0.1, patience_s=PATIENCE_S)
        assert comments(topics, "failed") == [(BAD, f"the DAG run retrain_bus/{BAD} is failed; failed tasks: train")]
        loop.until(lambda: state(GOOD) is RunState.SUCCEEDED, step_s=0.1, patience_s=PATIENCE_S)
        loop.until(lambda: comments(topics, "trained"), step_s=REPORT_GRACE_S / 20, patience_s=PATIENCE_S)
        assert [one for one, _ in comments(topics, "trained")] == [GOOD]
        assert state(SLOW) is RunState.RUNNING
        loop.decide(SLOW, "rejected")
        loop.until(lambda: SLOW not in loop.launcher.ledger.tasks, step_s=0.1, patience_s=PATIENCE_S)
        assert state(SLOW) is RunState.FAILED
        assert sorted(loop.kinds()) == ["failed", "started", "started", "started", "trained"]


def comments(topics, kind):
    """Request and comment of the control records of a kind."""
    return [(one["request_id"], one["comment"]) for one in topics.said() if one["kind"] == kind]
