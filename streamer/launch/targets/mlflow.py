"""`mlflow`: the aliases of a registered model follow the requests of its model.

`challenger` names the version that was trained, `champion` the one that was promoted. The tag `driftline.request_id` of
a version names its request. The alias in the registry is the truth: it is read first, and set only where it differs, so
a repeat changes nothing. Source: the REST API of MLflow 3, registered-models/alias and model-versions/set-tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from streamer.launch.base import LaunchRequest, Tools
from streamer.launch.http import joined
from streamer.launch.targets.rest import Rest, bearer

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
TAG: Final = "driftline.request_id"


@dataclass(frozen=True, slots=True)
class MlflowSettings:
    """A model registry of MLflow. The aliases `challenger` and `champion` follow the requests.

    url: address of the tracking server
    model: name of the registered model
    token_env: variable of the environment with the bearer token
    """

    url: str
    model: str = "{model_id}"
    token_env: str | None = None


class Mlflow:
    """A model registry of MLflow."""

    settings = MlflowSettings

    def __init__(self, settings: MlflowSettings, tools: Tools) -> None:
        self._settings, self._rest = settings, Rest(tools, bearer(tools, settings.token_env))

    def set_alias(self, request: LaunchRequest, alias: str, version: str) -> None:
        """Let an alias name this version, and the version name its request. Raises `TargetDown`, `TargetRefused`."""
        name = request.fill(self._settings.model)
        url = f"{self._url('registered-models', 'alias')}?{urlencode({'name': name, 'alias': alias})}"
        answer = self._rest.call("GET", url, also=(400, 404))
        known = answer.json().get("model_version", {}).get("version") if answer.status == 200 else None
        if str(known) == version:
            return
        tag = {"name": name, "version": version, "key": TAG, "value": request.request_id}
        self._rest.call("POST", self._url("model-versions", "set-tag"), tag)
        body = {"name": name, "alias": alias, "version": version}
        self._rest.call("POST", self._url("registered-models", "alias"), body)

    def _url(self, *parts: str) -> str:
        return joined(self._settings.url, "api", "2.0", "mlflow", *parts)
