"""`azure_ml`: a job of Azure Machine Learning, by a PUT with the request id.

The path names the job, so a repeat answers 200 for the same one. Source: the REST API of Azure Machine Learning, jobs,
version 2026-09-01.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, Tools
from streamer.launch.http import joined
from streamer.launch.targets.kubernetes import TemplateFile, manifest
from streamer.launch.targets.rest import Rest, bearer

VERSION: Final = "api-version=2026-09-01"
STATES: Final = {
    "Completed": RunState.SUCCEEDED, "Failed": RunState.FAILED, "Canceled": RunState.FAILED,
    "NotResponding": RunState.FAILED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AzureMlSettings:
    """A job of Azure Machine Learning.

    workspace: the resource id, /subscriptions/…/resourceGroups/…/providers/…/workspaces/…
    template: a YAML file with `spec`, the properties of the job (`jobType` and so on); the request becomes its tag
        `driftline.request_id` and the variable `DRIFTLINE_REQUEST`
    token_env: variable of the environment with a token of Microsoft Entra
    url: address of the resource manager
    """

    workspace: str
    template: TemplateFile
    token_env: str
    url: str = "https://management.azure.com"

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.workspace.startswith("/subscriptions/"):
            raise ValueError(f"workspace is {self.workspace!r}, but must be a resource id: /subscriptions/….")


class AzureMl:
    """A job of Azure Machine Learning."""

    settings = AzureMlSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: AzureMlSettings, tools: Tools) -> None:
        self._settings, self._rest = settings, Rest(tools, bearer(tools, settings.token_env))

    def launch(self, request: LaunchRequest) -> Run:
        properties = manifest(self._settings.template)["spec"]
        variables = {**properties.get("environmentVariables", {}), "DRIFTLINE_REQUEST": request.raw.decode()}
        tags = {**properties.get("tags", {}), "driftline.request_id": request.request_id}
        body = {"properties": {**properties, "environmentVariables": variables, "tags": tags}}
        self._rest.call("PUT", self._url(request.request_id), body)
        link = f"https://ml.azure.com/runs/{request.request_id}?wsid={self._settings.workspace}"
        return Run(request.request_id, link)

    def look(self, run: Run) -> RunStatus:
        answer = self._rest.call("GET", self._url(run.ref), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Azure ML has no job {run.ref}")
        state = str(answer.json().get("properties", {}).get("status"))
        return RunStatus(STATES.get(state, RunState.RUNNING), f"the job {run.ref} is {state}")

    def cancel(self, run: Run) -> None:
        self._rest.call("POST", self._url(run.ref, "cancel"), also=(400, 404, 409))

    def _url(self, *parts: str) -> str:
        base = f"{self._settings.url.rstrip('/')}{self._settings.workspace.rstrip('/')}"
        return f"{joined(base, 'jobs', *parts)}?{VERSION}"
