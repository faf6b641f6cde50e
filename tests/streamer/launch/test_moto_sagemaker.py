"""The SageMaker target against moto, which serves the API of AWS, and checks signatures and rights with botocore.

moto ends each execution at once and stops none, and takes a repeated token for a new execution. Those parts have a
server that answers as the documents say, in `test_platform_targets.py`.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import boto3
import pytest
from launch_kit import asked, tools
from moto.server import ThreadedMotoServer

from streamer.launch.base import RunState, TargetDown, TargetRefused
from streamer.launch.targets.sagemaker import Sagemaker, SagemakerSettings

ID, REGION = "retrain-bus-1-aa", "eu-west-1"
MAY = {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}
ALL, NONE = b"0", b"inf"  # after how many calls rights are checked


class Cloud:
    """An account with a pipeline, and a user who may use it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.check(NONE)
        root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        self.iam, self.sagemaker = (
            boto3.client(name, REGION, endpoint_url=url, **root) for name in ("iam", "sagemaker")
        )
        self.sagemaker.create_pipeline(
            PipelineName="retrain", PipelineDefinition="{}", RoleArn="arn:aws:iam::123456789012:role/trainer"
        )
        self.iam.create_user(UserName="driftline")
        made = self.iam.create_access_key(UserName="driftline")["AccessKey"]
        self.secrets = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        self.allow(MAY)

    def allow(self, statement: dict[str, str]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.iam.put_user_policy(UserName="driftline", PolicyName="p", PolicyDocument=document)

    def check(self, after: bytes) -> None:
        """Check signatures and rights of all calls after so many."""
        self.post("reset-auth", after)

    def post(self, what: str, value: bytes = b"") -> None:
        """Change moto itself."""
        url, kind = f"{self.url}/moto-api/{what}", {"content-type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, value, kind))  # noqa: S310 - a loopback address

    def target(self, folder, pipeline: str = "retrain", **secrets: str) -> Sagemaker:
        self.check(ALL)
        return Sagemaker(
            SagemakerSettings(pipeline, REGION, url=self.url), tools(folder, **{**self.secrets, **secrets})
        )

    def executions(self) -> list[dict]:
        self.check(NONE)
        return self.sagemaker.list_pipeline_executions(PipelineName="retrain")["PipelineExecutionSummaries"]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    found = Cloud(f"http://{host}:{port}")
    yield found
    found.check(NONE)
    found.post("reset")
    server.stop()


def test_an_execution_is_started_with_the_request_and_seen_to_its_end(cloud, tmp_path):
    """AWS takes our signature, the parameters are those of the request, and an execution that ended is not stopped."""
    target = cloud.target(tmp_path)
    run = target.launch(asked(ID))
    status = target.look(run)
    assert (status.state, "is Succeeded" in status.reason) == (RunState.SUCCEEDED, True)
    target.cancel(run)
    (execution,) = cloud.executions()
    assert (execution["PipelineExecutionArn"], execution["PipelineExecutionDisplayName"]) == (run.ref, ID)
    found = cloud.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=run.ref)
    sent = {one["Name"]: one["Value"] for one in found["PipelineParameters"]}
    assert sent == {"RequestId": ID, "ModelId": "bus-1"}


def test_a_signature_with_another_secret_is_refused(cloud, tmp_path):
    """Whoever mends the secret need not start again: the launcher tries later."""
    with pytest.raises(TargetDown, match=r"40[03].*(SignatureDoesNotMatch|signature)"):
        cloud.target(tmp_path, AWS_SECRET_ACCESS_KEY="wrong").launch(asked(ID))
    assert cloud.executions() == []


def test_missing_rights_may_be_given_later(cloud, tmp_path):
    """Without rights, a launch is tried again; with them, it succeeds."""
    cloud.allow({**MAY, "Effect": "Deny"})
    target = cloud.target(tmp_path)
    with pytest.raises(TargetDown, match="not authorized"):
        target.launch(asked(ID))
    cloud.check(NONE)
    cloud.allow(MAY)
    assert cloud.target(tmp_path).launch(asked(ID)).ref.startswith("arn:aws:sagemaker:")


def test_what_aws_does_not_have(cloud, tmp_path):
    """A pipeline that is not there refuses the run."""
    with pytest.raises(TargetRefused, match="nowhere"):
        cloud.target(tmp_path, "nowhere").launch(asked(ID))
