"""`vertex`: a pipeline job of Vertex AI; its id is the request id, which fits `[a-z][-a-z0-9]{0,127}`.

A repeat answers 409. Source: the REST API of Vertex AI, projects.locations.pipelineJobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetRefused, Tools
from streamer.launch.http import joined
from streamer.launch.targets.rest import Rest, bearer

STATES: Final = {
    "PIPELINE_STATE_SUCCEEDED": RunState.SUCCEEDED, "PIPELINE_STATE_FAILED": RunState.FAILED,
    "PIPELINE_STATE_CANCELLED": RunState.FAILED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class VertexSettings:
    """A pipeline job of Vertex AI.

    project: the project that it runs in
    location: the region that it runs in
    template: address of the compiled pipeline, which has a parameter `request`
    output: folder of its artifacts, gs://…
    token_env: variable of the environment with an access token
    service_account: the account that runs it
    url: address of the API; without it, that of the location
    """

    project: str
    location: str
    template: str
    output: str
    token_env: str
    service_account: str | None = None
    url: str | None = None


class Vertex:
    """A pipeline job of Vertex AI."""

    settings = VertexSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: VertexSettings, tools: Tools) -> None:
        self._settings, self._rest = settings, Rest(tools, bearer(tools, settings.token_env))
        base = settings.url or f"https://{settings.location}-aiplatform.googleapis.com"
        self._parent = joined(base, "v1", "projects", settings.project, "locations", settings.location)

    def launch(self, request: LaunchRequest) -> Run:
        name, settings = request.request_id, self._settings
        parameters = {"request": request.raw.decode()}
        body = {
            "displayName": name, "templateUri": request.fill(settings.template),
            "runtimeConfig": {"gcsOutputDirectory": settings.output, "parameterValues": parameters},
            "labels": {"driftline": name},
        }  # fmt: skip
        body |= {"serviceAccount": settings.service_account} if settings.service_account else {}
        answer = self._rest.call("POST", f"{self._parent}/pipelineJobs?pipelineJobId={name}", body, also=(409,))
        if answer.status == 409:
            there = self._rest.call("GET", joined(self._parent, "pipelineJobs", name)).json()
            if there.get("labels", {}).get("driftline") != name:
                raise TargetRefused(f"Vertex AI has another pipeline job {name}, which is not of Driftline")
        link = f"https://console.cloud.google.com/vertex-ai/locations/{settings.location}/pipelines/runs/{name}"
        return Run(name, f"{link}?project={settings.project}")

    def look(self, run: Run) -> RunStatus:
        answer = self._rest.call("GET", joined(self._parent, "pipelineJobs", run.ref), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Vertex AI has no pipeline job {run.ref}")
        found = answer.json()
        state = str(found.get("state"))
        error = (found.get("error") or {}).get("message") or "no message"
        return RunStatus(STATES.get(state, RunState.RUNNING), f"the pipeline job {run.ref} is {state}: {error}")

    def cancel(self, run: Run) -> None:
        self._rest.call("POST", f"{joined(self._parent, 'pipelineJobs', run.ref)}:cancel", {}, also=(400, 404, 409))
