"""`kubernetes`: a Job, made from a template in a file.

The name of the Job is the request id, which fits a label. A repeat of the call answers 409 AlreadyExists, and the label
shows whose the Job is. A Job that `ttlSecondsAfterFinished` has deleted is not made again, because the control topic
holds its start. Source: the Kubernetes API, batch/v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from annotated_types import MinLen
from pydantic import WithJsonSchema
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, TargetRefused, Tools
from streamer.launch.http import joined
from streamer.launch.targets.rest import Rest

LABEL: Final = "driftline.io/request"
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ENVIRONMENT: Final = "DRIFTLINE_REQUEST"
TemplateFile = Annotated[str, MinLen(1), WithJsonSchema({"type": "string", "format": "path"})]


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """A Job of Kubernetes, from a template.

    template: a file with the manifest of a Job; its containers get the request as the variable `DRIFTLINE_REQUEST`
    namespace: where the Job runs
    url: address of the API server
    token_env: variable of the environment with a token; without it, that of the pod's service account
    """

    template: TemplateFile
    namespace: str = "default"
    url: str = "https://kubernetes.default.svc"
    token_env: str | None = None


class Kubernetes:
    """A Job of Kubernetes, from a template."""

    settings = KubernetesSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: KubernetesSettings, tools: Tools) -> None:
        self._settings, self._tools = settings, tools
        self._rest = Rest(tools, self._login)

    def launch(self, request: LaunchRequest) -> Run:
        name = request.request_id
        job = with_request(manifest(self._settings.template), name, request.raw.decode())
        answer = self._rest.call("POST", self._url(), job, also=(409,))
        if answer.status == 409:
            there = self._rest.call("GET", self._url(name)).json()
            if there.get("metadata", {}).get("labels", {}).get(LABEL) != name:
                raise TargetRefused(f"Kubernetes has another Job {name}, which is not of Driftline")
        return Run(f"{self._settings.namespace}/{name}")

    def look(self, run: Run) -> RunStatus:
        answer = self._rest.call("GET", self._url(run.ref.rpartition("/")[2]), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Kubernetes has no Job {run.ref}")
        for one in answer.json().get("status", {}).get("conditions") or []:
            if one.get("status") == "True" and one.get("type") in {"Complete", "SuccessCriteriaMet"}:
                return RunStatus(RunState.SUCCEEDED, f"the Job {run.ref} is complete")
            if one.get("status") == "True" and one.get("type") in {"Failed", "FailureTarget"}:
                reason = f"the Job {run.ref} failed: {one.get('reason')}: {one.get('message')}"
                return RunStatus(RunState.FAILED, reason)
        return RunStatus(RunState.RUNNING)

    def cancel(self, run: Run) -> None:
        url = f"{self._url(run.ref.rpartition('/')[2])}?propagationPolicy=Background"
        self._rest.call("DELETE", url, also=(404,))

    def _url(self, name: str | None = None) -> str:
        parts = ("apis", "batch", "v1", "namespaces", self._settings.namespace, "jobs")
        return joined(self._settings.url, *parts, *(() if name is None else (name,)))

    def _login(self) -> dict[str, str]:
        if self._settings.token_env is not None:
            return {"authorization": f"Bearer {self._tools.secret(self._settings.token_env)}"}
        try:
            return {"authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"}
        except OSError as problem:
            raise TargetDown(f"there is no service account ({problem}), and token_env is not set") from problem


def manifest(path: str) -> dict[str, Any]:
    """The manifest in a file. Raises `TargetDown` for a file that holds none, for it may be mended."""
    try:
        found = YAML(typ="safe").load(Path(path).read_text())
    except (OSError, YAMLError) as problem:
        raise TargetDown(f"{path}: the template can't be read: {problem}") from problem
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
        raise TargetDown(f"{path}: the template is no manifest: it has no spec")
    return found


def with_request(job: dict[str, Any], name: str, record: str) -> dict[str, Any]:
    """The manifest with this name and label, and with the request in the environment of its containers."""
    metadata = {**job.get("metadata", {}), "name": name}
    metadata.pop("generateName", None)
    metadata["labels"] = {**metadata.get("labels", {}), LABEL: name}
    for container in job["spec"].get("template", {}).get("spec", {}).get("containers", []):
        others = [one for one in container.get("env", []) if one.get("name") != ENVIRONMENT]
        container["env"] = [*others, {"name": ENVIRONMENT, "value": record}]
    return {**job, "metadata": metadata}
