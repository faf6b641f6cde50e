"""`argo`: a workflow of Argo from a WorkflowTemplate, by the REST API of its server.

The name of the workflow is the request id; the request is the parameter `request`. A repeat answers 409. Source: the
document "REST API examples" of Argo Workflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetRefused, Tools
from streamer.launch.http import joined
from streamer.launch.targets.kubernetes import LABEL
from streamer.launch.targets.rest import Rest, bearer

PHASES: Final = {"Succeeded": RunState.SUCCEEDED, "Failed": RunState.FAILED, "Error": RunState.FAILED}


@dataclass(frozen=True, slots=True)
class ArgoSettings:
    """A workflow of Argo, from a WorkflowTemplate.

    url: address of the Argo server
    template: name of the WorkflowTemplate; it has a parameter `request`
    namespace: where the workflow runs
    token_env: variable of the environment with a token
    """

    url: str
    template: str
    namespace: str = "argo"
    token_env: str | None = None


class Argo:
    """A workflow of Argo, from a WorkflowTemplate."""

    settings = ArgoSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: ArgoSettings, tools: Tools) -> None:
        self._settings, self._rest = settings, Rest(tools, bearer(tools, settings.token_env))

    def launch(self, request: LaunchRequest) -> Run:
        name, namespace = request.request_id, self._settings.namespace
        spec = {
            "workflowTemplateRef": {"name": request.fill(self._settings.template)},
            "arguments": {"parameters": [{"name": "request", "value": request.raw.decode()}]},
        }
        workflow = {"metadata": {"name": name, "namespace": namespace, "labels": {LABEL: name}}, "spec": spec}
        answer = self._rest.call("POST", self._url(), {"namespace": namespace, "workflow": workflow}, also=(409,))
        if answer.status == 409:
            there = self._rest.call("GET", self._url(name)).json()
            if there.get("metadata", {}).get("labels", {}).get(LABEL) != name:
                raise TargetRefused(f"Argo has another workflow {name}, which is not of Driftline")
        return Run(f"{namespace}/{name}", joined(self._settings.url, "workflows", namespace, name))

    def look(self, run: Run) -> RunStatus:
        answer = self._rest.call("GET", self._url(run.ref.rpartition("/")[2]), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Argo has no workflow {run.ref}")
        status = answer.json().get("status", {})
        phase = str(status.get("phase", "Pending"))
        reason = f"the workflow {run.ref} is {phase}: {status.get('message') or 'no message'}"
        return RunStatus(PHASES.get(phase, RunState.RUNNING), reason)

    def cancel(self, run: Run) -> None:
        name = run.ref.rpartition("/")[2]
        body = {"name": name, "namespace": self._settings.namespace}
        if self.look(run).state is RunState.RUNNING:
            self._rest.call("PUT", f"{self._url(name)}/terminate", body, also=(400, 404, 409))

    def _url(self, name: str | None = None) -> str:
        parts = ("api", "v1", "workflows", self._settings.namespace, *(() if name is None else (name,)))
        return joined(self._settings.url, *parts)
