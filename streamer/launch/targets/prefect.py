"""`prefect`: a flow run of a deployment of Prefect 3; the idempotency key is the request id.

Source: the REST API of Prefect 3, `create_flow_run`: 201 for a new run, 200 for the one that has this key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, Tools
from streamer.launch.http import joined
from streamer.launch.targets.rest import Rest, bearer

STATES: Final = {
    "COMPLETED": RunState.SUCCEEDED, "FAILED": RunState.FAILED, "CRASHED": RunState.FAILED,
    "CANCELLED": RunState.FAILED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrefectSettings:
    """A flow run of a deployment of Prefect 3.

    url: address of the API, as http://prefect:4200/api
    deployment: id of the deployment, whose flow has a parameter `request`
    token_env: variable of the environment with an API key
    """

    url: str
    deployment: str
    token_env: str | None = None


class Prefect:
    """A flow run of a deployment of Prefect 3."""

    settings = PrefectSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: PrefectSettings, tools: Tools) -> None:
        self._settings, self._rest = settings, Rest(tools, bearer(tools, settings.token_env))

    def launch(self, request: LaunchRequest) -> Run:
        url = joined(self._settings.url, "deployments", request.fill(self._settings.deployment), "create_flow_run")
        body = {
            "name": request.request_id, "parameters": {"request": request.record},
            "idempotency_key": request.request_id, "tags": ["driftline"],
        }  # fmt: skip
        ref = str(self._rest.call("POST", url, body).json()["id"])
        base = self._settings.url.rstrip("/").removesuffix("/api")
        return Run(ref, joined(base, "runs", "flow-run", ref))

    def look(self, run: Run) -> RunStatus:
        answer = self._rest.call("GET", joined(self._settings.url, "flow_runs", run.ref), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Prefect has no flow run {run.ref}")
        state = answer.json().get("state") or {}
        kind = str(state.get("type", "PENDING"))
        reason = f"the flow run {run.ref} is {kind}: {state.get('message') or 'no message'}"
        return RunStatus(STATES.get(kind, RunState.RUNNING), reason)

    def cancel(self, run: Run) -> None:
        url = joined(self._settings.url, "flow_runs", run.ref, "set_state")
        self._rest.call("POST", url, {"state": {"type": "CANCELLING"}, "force": False}, also=(404,))
