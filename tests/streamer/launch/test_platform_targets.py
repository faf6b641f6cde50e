"""Targets of platforms against servers that answer as their documents say: one run a request, and its end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from http_kit import serving
from launch_kit import asked, tools

from streamer.launch.base import RunState, TargetDown, TargetRefused
from streamer.launch.targets.argo import Argo, ArgoSettings
from streamer.launch.targets.azure_ml import AzureMl, AzureMlSettings
from streamer.launch.targets.github import Github, GithubSettings
from streamer.launch.targets.kubernetes import Kubernetes, KubernetesSettings
from streamer.launch.targets.prefect import Prefect, PrefectSettings
from streamer.launch.targets.sagemaker import Sagemaker, SagemakerSettings, signed_v4
from streamer.launch.targets.vertex import Vertex, VertexSettings

ID = "retrain-bus-1-aa"
WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {generateName: x, labels: {team: rides}}
spec:
  ttlSecondsAfterFinished: 60
  template:
    spec: {restartPolicy: Never, containers: [{name: train, image: trainer, env: [{name: A, value: b}]}]}
"""
AZURE_JOB = "spec: {jobType: Command, command: python train.py, environmentVariables: {A: b}}\n"


@dataclass
class Fake:
    """The runs of a platform, by id, and how it answers."""

    make: Any  # (settings of the fixture's server, folder) -> target
    id_of: Any  # what is sent -> id of the run it asks for; None: it makes none
    state: Any  # (run, end) -> writes that state into a run
    conflict: int | None = 409  # the answer to a repeat; None: the known run again
    runs: dict[str, dict] = field(default_factory=dict)
    lose: int = 0
    gone: int = 404

    def __call__(self, sent):
        assert sent.headers.get("authorization"), "no login"
        name = self.id_of(sent)
        if name is not None:
            if name in self.runs and self.conflict is not None:
                return self.conflict, {"reason": "AlreadyExists"}
            known = name in self.runs
            self.runs.setdefault(name, {**(sent.json or {}), **sent.json.get("workflow", {}), "id": f"run-{name}"})
            if self.lose:
                self.lose -= 1
                return None
            return 200 if known else 201, {**self.runs[name], "PipelineExecutionArn": f"arn:{name}"}
        found = [run for name, run in self.runs.items() if name in sent.path or name in sent.body.decode()]
        if not found:
            return self.gone, {"__type": "ResourceNotFound"}
        if sent.method in {"DELETE", "POST", "PUT"} and "Describe" not in sent.headers.get("x-amz-target", ""):
            self.state(found[0], "cancelled")
            return 200, {}
        return 200, found[0]


def kubernetes_state(run, end):
    kind = {"good": "Complete"}.get(end, "Failed")
    run["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]}


def setting(*path):
    """Writes one of three words to a place in a run."""

    def write(run, end):
        for part in path[:-2]:
            run = run.setdefault(part, {})
        run[path[-2]] = path[-1][end]

    return write


def make_kubernetes(url, folder):
    (folder / "job.yaml").write_text(JOB)
    return Kubernetes(KubernetesSettings(str(folder / "job.yaml"), "ml", url, "TOKEN"), tools(folder, TOKEN="t"))


def make_azure(url, folder):
    (folder / "job.yaml").write_text(AZURE_JOB)
    settings = AzureMlSettings(WORKSPACE, str(folder / "job.yaml"), "TOKEN", url)
    return AzureMl(settings, tools(folder, TOKEN="t"))


def make_sagemaker(url, folder):
    secrets = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    return Sagemaker(SagemakerSettings("retrain", "eu-west-1", url=url), tools(folder, **secrets))


def make_vertex(url, folder):
    settings = VertexSettings("p", "europe-west1", "https://kfp/retrain", "gs://b/out", "TOKEN", url=url)
    return Vertex(settings, tools(folder, TOKEN="t"))


FAKES = {
    "kubernetes": lambda: Fake(
        make_kubernetes, lambda s: s.json["metadata"]["name"] if s.method == "POST" else None, kubernetes_state
    ),
    "argo": lambda: Fake(
        lambda url, folder: Argo(ArgoSettings(url, "retrain", token_env="TOKEN"), tools(folder, TOKEN="t")),
        lambda s: s.json["workflow"]["metadata"]["name"] if s.method == "POST" else None,
        setting("status", "phase", {"good": "Succeeded", "bad": "Failed", "cancelled": "Failed"}),
    ),
    "azure_ml": lambda: Fake(
        make_azure,
        lambda s: s.path.rpartition("/")[2].partition("?")[0] if s.method == "PUT" else None,
        setting("properties", "status", {"good": "Completed", "bad": "Failed", "cancelled": "Canceled"}),
        conflict=None,
    ),
    "vertex": lambda: Fake(
        make_vertex,
        lambda s: s.path.partition("pipelineJobId=")[2] or None if s.method == "POST" else None,
        setting("state", {"good": "PIPELINE_STATE_SUCCEEDED", "bad": "PIPELINE_STATE_FAILED",
                          "cancelled": "PIPELINE_STATE_CANCELLED"}),
    ),
    "prefect": lambda: Fake(
        lambda url, folder: Prefect(PrefectSettings(f"{url}/api", "d-1", "TOKEN"), tools(folder, TOKEN="t")),
        lambda s: s.json["idempotency_key"] if s.path.endswith("create_flow_run") else None,
        lambda run, end: run.update(state={"type": {"good": "COMPLETED", "bad": "CRASHED"}.get(end, "CANCELLED")}),
        conflict=None,
    ),
    "sagemaker": lambda: Fake(
        make_sagemaker,
        lambda s: s.json["PipelineExecutionDisplayName"] if "Start" in s.headers["x-amz-target"] else None,
        setting("PipelineExecutionStatus", {"good": "Succeeded", "bad": "Failed", "cancelled": "Stopped"}),
        conflict=None, gone=400,
    ),
}  # fmt: skip


@pytest.fixture(params=FAKES)
def platform(request, tmp_path):
    """(name, fake, target) of each platform."""
    fake = FAKES[request.param]()
    with serving(fake) as server:
        yield request.param, fake, fake.make(server.url, tmp_path)


def test_a_request_gives_one_run_even_if_an_answer_is_lost(platform):
    """The run has the id of the request, so a repeat after a lost answer finds it."""
    _, fake, target = platform
    fake.lose = 1
    with pytest.raises(TargetDown):
        target.launch(asked())
    first = target.launch(asked())
    assert target.launch(asked()) == first
    assert len(fake.runs) == 1
    assert ID in next(iter(fake.runs))
    assert len(first.ref) <= 1000


@pytest.mark.parametrize(("end", "state"), [("good", RunState.SUCCEEDED), ("bad", RunState.FAILED)])
def test_the_end_of_a_run_is_seen(platform, end, state):
    """A run is running, then it has succeeded or failed; one that was deleted is gone."""
    _, fake, target = platform
    run = target.launch(asked())
    assert target.look(run).state is RunState.RUNNING
    fake.state(fake.runs[ID], end)
    assert target.look(run).state is state
    fake.runs.clear()
    assert target.look(run).state is RunState.GONE


def test_a_run_can_be_cancelled(platform):
    """Cancelling ends a run as failed; a run that is gone is left alone."""
    _, _, target = platform
    run = target.launch(asked())
    target.cancel(run)
    assert target.look(run).state is RunState.FAILED


@pytest.mark.parametrize("name", ["kubernetes", "argo", "vertex"])
def test_a_run_of_somebody_else_is_not_taken_for_ours(name, tmp_path):
    """A conflict with a run that does not carry our label is refused."""
    fake = FAKES[name]()
    with serving(fake) as server:
        target = fake.make(server.url, tmp_path)
        fake.runs[ID] = {"metadata": {"labels": {}}}
        with pytest.raises(TargetRefused, match="not of Driftline"):
            target.launch(asked())


def test_a_job_is_its_template_with_name_label_and_request(tmp_path):
    """The Job keeps what the template says, and its containers get the request."""
    fake = FAKES["kubernetes"]()
    with serving(fake) as server:
        fake.make(server.url, tmp_path).launch(asked())
        broken = Kubernetes(KubernetesSettings(str(tmp_path / "none"), "ml", server.url, "T"), tools(tmp_path, T="t"))
        with pytest.raises(TargetDown, match="can't be read"):
            broken.launch(asked())
    job = fake.runs[ID]
    assert job["metadata"] == {"name": ID, "labels": {"team": "rides", "driftline.io/request": ID}}
    env = {one["name"]: one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["A"] == "b"
    assert json.loads(env["DRIFTLINE_REQUEST"]) == asked().record


def test_sagemaker_gets_a_long_token_and_no_long_parameter(tmp_path):
    """The token has 64 characters and depends on the id alone; parameters hold ids."""
    fake = FAKES["sagemaker"]()
    with serving(fake) as server:
        target = fake.make(server.url, tmp_path)
        target.launch(asked())
        target.launch(asked())
    tokens = {sent.json["ClientRequestToken"] for sent in server.sent}
    assert [len(token) for token in tokens] == [64]
    values = {one["Name"]: one["Value"] for one in server.sent[0].json["PipelineParameters"]}
    assert values == {"RequestId": ID, "ModelId": "bus-1"}


@pytest.mark.parametrize(
    ("name", "error"), [("ThrottlingException", TargetDown), ("ValidationException", TargetRefused)]
)
def test_sagemaker_throttles_by_a_bad_request(tmp_path, name, error):
    """AWS answers 400 to what it throttles too; only the name tells that it may be tried again."""
    with serving(lambda _: (400, {"__type": name})) as server, pytest.raises(error, match=name):
        make_sagemaker(server.url, tmp_path).launch(asked())


def test_requests_to_aws_are_signed_as_botocore_signs_them():
    """Our signature of Signature Version 4 equals that of botocore for the same request."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    at, url, body = (
        datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "https://api.sagemaker.eu-west-1.amazonaws.com",
        b'{"a":1}',
    )
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "SageMaker.StartPipelineExecution"}
    request = AWSRequest("POST", f"{url}/", headers=headers, data=body)
    request.context["timestamp"] = f"{at:%Y%m%dT%H%M%SZ}"
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    auth = SigV4Auth(Credentials("key", "secret"), "sagemaker", "eu-west-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    expected = auth.signature(text, request)
    ours = signed_v4(url, headers, body, ("key", "secret"), ("eu-west-1", "sagemaker"), at)
    assert ours["authorization"].endswith(f"Signature={expected}")


class FakeGithub:
    """GitHub lists the run of a dispatch only some looks later, and keeps no id of ours but the run's name."""

    def __init__(self, delay: int = 0) -> None:
        self.delay, self.runs, self.waiting = delay, [], []

    def __call__(self, sent):
        if sent.path.endswith("/dispatches"):
            assert len(sent.json["client_payload"]) <= 10
            self.waiting.append([self.delay, sent.json["client_payload"]["request"]["request_id"]])
            return 204, None
        if "/cancel" in sent.path:
            self.runs[0] |= {"status": "completed", "conclusion": "cancelled"}
            return 202, {}
        for one in self.waiting:
            one[0] -= 1
        listed = [name for left, name in self.waiting if left < 0]
        self.waiting = [one for one in self.waiting if one[0] >= 0]
        self.runs += [
            {"id": i, "display_title": name, "status": "queued", "html_url": "u"} for i, name in enumerate(listed)
        ]
        return 200, {"workflow_runs": self.runs}


def github(url, folder):
    return Github(GithubSettings("acme/rides", "TOKEN", url=url), tools(folder, TOKEN="t"))


def test_github_is_looked_at_before_a_dispatch(tmp_path):
    """A run that GitHub lists is not dispatched again; it is followed and cancelled by its name."""
    fake = FakeGithub()
    with serving(fake) as server:
        target = github(server.url, tmp_path)
        run = target.launch(asked())
        assert target.look(run).state is RunState.RUNNING
        assert target.launch(asked()).ref == run.ref
        assert len([one for one in server.of("POST") if one.path.endswith("/dispatches")]) == 1
        fake.runs[0] |= {"status": "completed", "conclusion": "success"}
        assert target.look(run).state is RunState.SUCCEEDED
        fake.runs[0] |= {"status": "in_progress"}
        target.cancel(run)
        assert target.look(run).state is RunState.FAILED


def test_github_dispatches_at_most_twice(tmp_path):
    """A repeat before GitHub lists the run dispatches once more; that is why it has no handle."""
    fake = FakeGithub(delay=1)
    with serving(fake) as server:
        target = github(server.url, tmp_path)
        run = target.launch(asked())
        assert target.look(run).state is RunState.UNKNOWN
        target.launch(asked())
        assert len([one for one in server.of("POST") if one.path.endswith("/dispatches")]) <= 2
    assert not Github.has_handle


def test_every_target_is_in_the_table_with_its_settings():
    """Each line of the table leads to a target whose section a configuration can have."""
    from streamer.config.models import Config
    from streamer.launch.targets import TARGETS, target_class

    assert set(FAKES) | {"command", "webhook", "airflow", "github"} == set(TARGETS)
    for name in TARGETS:
        assert {"launch", "look", "cancel", "settings", "has_handle"} <= set(dir(target_class(name)))
    found = Config.model_validate_json('{"launch": {"*": {"train": {"prefect": {"url": "u", "deployment": "d"}}}}}')
    assert found.launch["*"].train.prefect.deployment == "d"
