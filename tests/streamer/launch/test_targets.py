"""The launch targets against servers that answer as the documents of each say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from http_kit import serving
from launch_kit import asked, tools

from streamer.clock import ManualClock
from streamer.launch.base import Run, RunState, TargetDown, TargetRefused
from streamer.launch.http import HttpProblem, traced
from streamer.launch.targets.airflow import Airflow, AirflowSettings
from streamer.launch.targets.command import Command
from streamer.launch.targets.webhook import Webhook, WebhookSettings, post, signed, why_unsigned

ID = "retrain-bus-1-aa"
KEY = b"0123456789abcdef01234567"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATIENCE_S = 60.0


def until(what):
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished(target, run):
    """The status of a run once it is over."""
    until(lambda: target.look(run).state is not RunState.RUNNING)
    return target.look(run)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_gets_its_request_and_leaves_its_result(tmp_path):
    """The process finds request and result by its environment; its output is a file; its report is passed on."""
    code = "import os, json; r = json.load(open(os.environ['DRIFTLINE_REQUEST'])); print('trained', r['model_id']); "
    code += "assert os.environ['TRACEPARENT'].startswith('00-'); "
    code += "open(os.environ['DRIFTLINE_RESULT'], 'w').write('{}')"
    target = Command([*python(code), "{model_id}"], tools(tmp_path))
    run = target.launch(asked())
    status = finished(target, run)
    assert (status.state, status.report) == (RunState.SUCCEEDED, b"{}")
    assert (tmp_path / ID / "output.log").read_text() == "trained bus-1\n"
    assert run.link == str(tmp_path / ID / "output.log")


def test_a_command_runs_once_however_often_it_is_launched(tmp_path):
    """Ten launches at once, by two launchers, give one process; one after its end gives none."""
    code = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    targets = [Command(python(code), tools(tmp_path)) for _ in range(2)]
    threads = [threading.Thread(target=targets[i % 2].launch, args=(asked(),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = targets[0].launch(asked())
    assert finished(targets[0], run).state is RunState.SUCCEEDED
    assert targets[1].launch(asked()) == run
    assert (tmp_path / "count").read_text() == "x"


def test_a_command_that_fails_says_how(tmp_path):
    """An exit code comes with the end of the output, and a missing program with its name."""
    failing = Command(python("print('no data'); raise SystemExit(3)"), tools(tmp_path / "a"))
    assert finished(failing, failing.launch(asked())).reason == "exit code 3: no data"
    missing = Command(["no-such-program"], tools(tmp_path / "b"))
    assert "exit code 127: no-such-program" in finished(missing, missing.launch(asked())).reason


def test_a_killed_command_is_a_failure_and_not_started_again(tmp_path):
    """A guard that is killed leaves no exit code: the run has failed, and a launch does not repeat it."""
    target = Command(python("import time; time.sleep(600)"), tools(tmp_path))
    run = target.launch(asked())
    until((tmp_path / ID / "pid").exists)
    pid = int((tmp_path / ID / "pid").read_text())
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    status = finished(target, run)
    assert status.state is RunState.FAILED
    assert "killed" in status.reason
    assert target.launch(asked()) == run
    assert target.look(run).state is RunState.FAILED


def test_a_command_can_be_cancelled(tmp_path):
    """Cancelling ends the process; a run that has vanished is gone."""
    target = Command(python("import time; time.sleep(600)"), tools(tmp_path))
    run = target.launch(asked())
    until((tmp_path / ID / "pid").exists)
    target.cancel(run)
    assert finished(target, run).reason.startswith("exit code -15")
    assert target.look(Run(str(tmp_path / "nowhere"))).state is RunState.GONE


def test_a_webhook_is_signed_and_has_one_id(tmp_path):
    """The body is the request; the signature is that of Standard Webhooks, and repeats have the same id."""
    with serving(lambda _: (202, {"link": "http://runs/1"})) as server:
        target = Webhook(WebhookSettings(f"{server.url}/hook", "SECRET"), tools(tmp_path, SECRET=SECRET))
        runs = [target.launch(asked()) for _ in range(2)]
    assert runs == [Run(ID, "http://runs/1")] * 2
    first, second = server.sent
    assert first.body == second.body == asked().raw
    assert {first.headers["webhook-id"], second.headers["webhook-id"]} == {ID}
    text = f"{ID}.{first.headers['webhook-timestamp']}.".encode() + first.body
    expected = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"


def test_calls_about_a_request_have_its_trace(tmp_path):
    """`traceparent` follows from the request id alone, in each thread; other calls have none."""
    with serving(lambda _: (200, None)) as server, ThreadPoolExecutor(2) as pool:
        http = tools(tmp_path).http

        def call(name):
            http.call("GET", f"{server.url}/{name}")

        for name in ("a", "b", "a"):
            pool.submit(traced, name, partial(call, name)).result()
            pool.submit(call, "none").result()
        with pytest.raises(HttpProblem):
            traced("lost", partial(http.call, "GET", "http://127.0.0.1:9"))
        call("none")
    found = {name: {one.headers.get("traceparent") for one in server.sent if one.path == f"/{name}"} for name in "ab"}
    assert {one.headers.get("traceparent") for one in server.sent if one.path == "/none"} == {None}
    digest = hashlib.sha256(b"a").hexdigest()
    assert found["a"] == {f"00-{digest[:32]}-{digest[32:48]}-01"}
    assert found["a"] != found["b"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", *found["b"])


def test_a_webhook_of_the_specification_is_verified():
    """The example of the specification verifies, and not with another body, id, secret or time."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip
    assert why_unsigned(headers, body, [secret], 1614265330) is None
    assert why_unsigned(headers, body, ["whsec_AAAA", secret], 1614265330 + 300) is None
    assert "no valid" in str(why_unsigned(headers, body + b" ", [secret], 1614265330))
    assert "no valid" in str(why_unsigned(headers | {"webhook-id": "x"}, body, [secret], 1614265330))
    assert "no valid" in str(why_unsigned(headers, body, ["whsec_AAAA"], 1614265330))
    assert "301" in str(why_unsigned(headers, body, [secret], 1614265330 + 301)) or "away from now" in str(
        why_unsigned(headers, body, [secret], 1614265330 + 301)
    )
    assert "not all there" in str(why_unsigned({}, body, [secret], 1614265330))


def test_secrets_may_change_over():
    """With two secrets a message has two signatures, so receivers of either accept it."""
    headers = signed(ID, 1000, b"{}", [SECRET, "whsec_AAAA"])
    for known in (SECRET, "whsec_AAAA"):
        assert why_unsigned(headers, b"{}", [known], 1000) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, TargetDown), (403, TargetDown), (404, TargetDown), (429, TargetDown), (500, TargetDown), (503, TargetDown),
     (302, TargetDown), (400, TargetRefused), (409, TargetRefused), (422, TargetRefused)],
)  # fmt: skip
def test_each_status_is_a_delay_or_a_refusal(tmp_path, status, error):
    """What may be mended is tried again later, as long as the receiver wants; what is refused for good is not."""
    with serving(lambda _: (status, b"because", {"retry-after": "7"})) as server:
        target = Webhook(WebhookSettings(server.url, "SECRET"), tools(tmp_path, SECRET=SECRET))
        with pytest.raises(error, match=f"{status}: because") as found:
            target.launch(asked())
    assert getattr(found.value, "after_s", 7.0) == 7.0


def test_a_receiver_that_hangs_up_or_is_away_is_tried_again(tmp_path):
    """No answer may mean that the request was carried out: it is sent again, under its id."""
    with serving(lambda _: None) as server:
        target = Webhook(WebhookSettings(server.url, "SECRET"), tools(tmp_path, SECRET=SECRET))
        with pytest.raises(TargetDown, match="POST http"):
            target.launch(asked())
    with pytest.raises(TargetDown):
        target.launch(asked())
    with pytest.raises(TargetDown, match="SECRET, which must hold a secret, is not set"):
        Webhook(WebhookSettings(server.url, "SECRET"), tools(tmp_path)).launch(asked())
    with pytest.raises(TargetDown, match="not whsec_"):
        post(tools(tmp_path).http, server.url, ID, b"", "whsec_*", ManualClock())


class FakeAirflow:
    """Airflow's API for DAG runs, as its data models are: `logical_date` is required, ids are unique."""

    def __init__(self) -> None:
        self.runs: dict[str, dict] = {}
        self.lose = 0  # answers that are lost after the run was made
        self.tokens = {"Bearer t0ken"}

    def __call__(self, sent):
        if sent.path == "/auth/token":
            self.tokens.add("Bearer fresh")
            return 201, {"access_token": "fresh"}
        if sent.headers.get("authorization") not in self.tokens:
            return 401, {"detail": "no"}
        path = sent.path.partition("?")[0].removeprefix("/api/v2/dags/")
        if sent.method == "POST":
            if "logical_date" not in sent.json:
                return 422, {"detail": "logical_date: Field required"}
            key = f"{path.removesuffix('/dagRuns')}/{sent.json['dag_run_id']}"
            dates = {run["logical_date"] for run in self.runs.values()} - {None}
            if key in self.runs or sent.json["logical_date"] in dates:
                return 409, {"detail": "Unique constraint violation"}
            self.runs[key] = {**sent.json, "state": "queued"}
            if self.lose:
                self.lose -= 1
                return None
            return 200, self.runs[key]
        if path.endswith("/taskInstances"):
            return 200, {"task_instances": [{"task_id": "train"}, {"task_id": "report"}]}
        run = self.runs.get(path.replace("/dagRuns/", "/"))
        if run is None:
            return 404, {"detail": "not found"}
        if sent.method == "PATCH":
            run |= sent.json
        return 200, run


@pytest.fixture
def airflow(tmp_path):
    fake = FakeAirflow()
    with serving(fake) as server:
        settings = AirflowSettings(server.url, "retrain_bus", token_env="TOKEN")
        yield fake, Airflow(settings, tools(tmp_path, TOKEN="t0ken")), server


def test_airflow_runs_have_the_id_of_the_request_and_no_logical_date(airflow):
    """Two models that are asked for in one second give two runs; each has the request as its conf."""
    fake, target, server = airflow
    for name in (ID, "retrain-bus-2-bb"):
        run = target.launch(asked(name))
        assert run == Run(f"retrain_bus/{name}", f"{server.url}/dags/retrain_bus/runs/{name}")
    assert {run["logical_date"] for run in fake.runs.values()} == {None}
    assert fake.runs[f"retrain_bus/{ID}"]["conf"] == {"request": json.loads(asked().raw)}


def test_a_lost_answer_of_airflow_gives_no_second_run(airflow):
    """A repeat meets a conflict, finds its own run, and takes it."""
    fake, target, _ = airflow
    fake.lose = 1
    with pytest.raises(TargetDown):
        target.launch(asked())
    assert target.launch(asked()).ref == f"retrain_bus/{ID}"
    assert len(fake.runs) == 1


def test_a_conflict_with_another_run_of_airflow_is_refused(airflow):
    """A run of this id with another conf, and a conflict without a run, do not pass for ours."""
    fake, target, server = airflow
    fake.runs[f"retrain_bus/{ID}"] = {"conf": {"request": 1}, "logical_date": None, "state": "success"}
    with pytest.raises(TargetRefused, match="another conf"):
        target.launch(asked())
    server.answer = lambda sent: (409 if sent.method == "POST" else 404, {"detail": "odd"})
    with pytest.raises(TargetRefused, match="reports a conflict, but has no run"):
        target.launch(asked())


def test_airflow_runs_are_followed_and_cancelled(airflow):
    """States of Airflow become ours; a cancelled run is marked as failed; a deleted one is gone."""
    fake, target, _ = airflow
    run = target.launch(asked())
    assert target.look(run).state is RunState.RUNNING
    target.cancel(run)
    status = target.look(run)
    reason = f"the DAG run retrain_bus/{ID} is failed; failed tasks: train, report"
    assert (status.state, status.reason) == (RunState.FAILED, reason)
    fake.runs[run.ref]["state"] = "success"
    assert target.look(run).state is RunState.SUCCEEDED
    target.cancel(run)
    assert fake.runs[run.ref]["state"] == "success"
    fake.runs.clear()
    assert target.look(run).state is RunState.GONE


def test_a_login_at_airflow_is_renewed(airflow, tmp_path):
    """A user and password give a token, and a new one when that has run out; a refused login is named."""
    fake, _, server = airflow
    settings = AirflowSettings(server.url, "retrain_bus", username="me", password_env="PASSWORD")
    target = Airflow(settings, tools(tmp_path, PASSWORD="p"))
    run = target.launch(asked())
    fake.tokens.clear()
    assert target.look(run).state is RunState.RUNNING
    with pytest.raises(TargetDown, match="refuses the login"):
        Airflow(AirflowSettings(server.url, "d", token_env="T"), tools(tmp_path, T="old")).launch(asked())
