"""`sagemaker`: an execution of a SageMaker pipeline, by `StartPipelineExecution`, signed with Signature Version 4.

`ClientRequestToken` needs 32 to 128 characters, so it is the SHA-256 of the request id. Parameters hold at most 1,024
characters, so the pipeline gets the request id, the model and the evidence's place, never the request. Sources: the API
reference of SageMaker; "Create a signed AWS API request" of the IAM user guide.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from streamer.clock import SystemClock
from streamer.events import time_of
from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, TargetRefused, Tools
from streamer.launch.http import HttpProblem
from streamer.launch.targets.rest import named

SERVICE: Final = "sagemaker"
NAME_CHARS_MAX: Final = 82
VALUE_CHARS_MAX: Final = 1_024
BAD_REQUEST: Final = 400  # also of what may be mended: AWS names these in the text
FOR_NOW: Final = (
    "Throttling", "ExpiredToken", "UnrecognizedClient", "InvalidSignature", "AccessDenied", "RequestExpired",
)  # fmt: skip
STATES: Final = {"Succeeded": RunState.SUCCEEDED, "Failed": RunState.FAILED, "Stopped": RunState.FAILED}


@dataclass(frozen=True, slots=True)
class SagemakerSettings:
    """An execution of a SageMaker pipeline.

    pipeline: name of the pipeline, which has the parameters `RequestId` and `ModelId`
    region: where it runs
    key_env: variable of the environment with the access key
    secret_env: variable of the environment with the secret of that key
    session_env: variable of the environment with a session token
    url: address of the API; without it, that of the region
    """

    pipeline: str
    region: str
    key_env: str = "AWS_ACCESS_KEY_ID"
    secret_env: str = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
    session_env: str | None = None
    url: str | None = None


class Sagemaker:
    """An execution of a SageMaker pipeline."""

    settings = SagemakerSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: SagemakerSettings, tools: Tools) -> None:
        self._settings, self._tools = settings, tools
        self._url = settings.url or f"https://api.sagemaker.{settings.region}.amazonaws.com"

    def launch(self, request: LaunchRequest) -> Run:
        parameters = {"RequestId": request.request_id, "ModelId": request.model_id[:VALUE_CHARS_MAX]}
        body = {
            "PipelineName": request.fill(self._settings.pipeline), "ClientRequestToken": token_of(request.request_id),
            "PipelineExecutionDisplayName": request.request_id[:NAME_CHARS_MAX],
            "PipelineParameters": [{"Name": name, "Value": value} for name, value in parameters.items()],
        }  # fmt: skip
        return Run(str(self._call("StartPipelineExecution", body)["PipelineExecutionArn"]))

    def look(self, run: Run) -> RunStatus:
        try:
            found = self._call("DescribePipelineExecution", {"PipelineExecutionArn": run.ref})
        except TargetRefused as problem:
            if "ResourceNotFound" in str(problem):
                return RunStatus(RunState.GONE, f"SageMaker has no execution {run.ref}")
            raise
        state = str(found.get("PipelineExecutionStatus"))
        reason = f"the execution {run.ref} is {state}: {found.get('FailureReason') or 'no reason given'}"
        return RunStatus(STATES.get(state, RunState.RUNNING), reason)

    def cancel(self, run: Run) -> None:
        if self.look(run).state is RunState.RUNNING:
            token = token_of(f"stop {run.ref}")
            self._call("StopPipelineExecution", {"PipelineExecutionArn": run.ref, "ClientRequestToken": token})

    def _call(self, action: str, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"SageMaker.{action}"}
        secrets = self._tools.secret(self._settings.key_env), self._tools.secret(self._settings.secret_env)
        if self._settings.session_env is not None:
            headers["x-amz-security-token"] = self._tools.secret(self._settings.session_env)
        at = time_of(int(SystemClock().now_s() * 1000))
        signed = signed_v4(self._url, headers, data, secrets, (self._settings.region, SERVICE), at)
        try:
            return self._tools.http.call("POST", self._url, data, signed).json()
        except HttpProblem as problem:
            if problem.status == BAD_REQUEST and any(word in str(problem) for word in FOR_NOW):
                raise TargetDown(str(problem), problem.after_s) from problem
            raise named(problem) from problem


def token_of(text: str) -> str:
    """A token of 64 characters."""
    return hashlib.sha256(text.encode()).hexdigest()


def signed_v4(
    url: str, headers: Mapping[str, str], body: bytes, secrets: tuple[str, str], scope: tuple[str, str], at: datetime
) -> dict[str, str]:
    """The headers of a POST to the root of a service, with its signature. `scope` is region and service."""
    stamp, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
    given = {**headers, "host": urlsplit(url).netloc, "x-amz-date": stamp}
    names = ";".join(sorted(given))
    lines = "".join(f"{name}:{given[name].strip()}\n" for name in sorted(given))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    place = f"{day}/{scope[0]}/{scope[1]}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secrets[1]}".encode()
    for part in (day, *scope, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    login = f"AWS4-HMAC-SHA256 Credential={secrets[0]}/{place}, SignedHeaders={names}, Signature={signature}"
    return {**given, "authorization": login}
