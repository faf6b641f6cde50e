"""`airflow`: a DAG run of Airflow 3, by its REST API, version 2.

`dag_run_id` is the request id. `logical_date` is null: a DAG has one run for each logical date, so a date would let two
models that are asked for in the same second pass for one. Source: the public API of Airflow 3, `dagRuns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, TargetRefused, Tools
from streamer.launch.http import HttpProblem, joined
from streamer.launch.targets.rest import named

TASKS_MAX: Final = 10  # of those that failed, in the reason of a failure
STATES: Final = {"success": RunState.SUCCEEDED, "failed": RunState.FAILED}


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """A DAG run of Airflow 3.

    url: address of the API server
    dag: id of the DAG
    token_env: variable of the environment with a token
    username: instead of a token, a user
    password_env: variable of the environment with the password of that user
    """

    url: str
    dag: str
    token_env: str | None = None
    username: str | None = None
    password_env: str | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if (self.token_env is None) == (self.username is None or self.password_env is None):
            raise ValueError("token_env is one way to log in, username with password_env the other; give one of them.")


class Airflow:
    """A DAG run of Airflow 3."""

    settings = AirflowSettings
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: AirflowSettings, tools: Tools) -> None:
        self._settings, self._tools = settings, tools
        self._token = ""  # of a login by password

    def launch(self, request: LaunchRequest) -> Run:
        dag, run_id = request.fill(self._settings.dag), request.request_id
        conf = {"request": request.record}
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": f"Driftline: {request.model_id}"}
        answer = self._call("POST", self._url(dag), body, also=(409,))
        if answer.status == 409:
            self._check_own(dag, run_id, conf, answer.body.decode(errors="replace"))
        link = joined(self._settings.url, "dags", dag, "runs", run_id)
        return Run(f"{dag}/{run_id}", link)

    def look(self, run: Run) -> RunStatus:
        answer = self._call("GET", self._url(*run.ref.rsplit("/", 1)), also=(404,))
        if answer.status == 404:
            return RunStatus(RunState.GONE, f"Airflow has no run {run.ref}")
        state = str(answer.json().get("state"))
        failed = f"; failed tasks: {self._failed_tasks(run) or 'none'}" if state == "failed" else ""
        return RunStatus(STATES.get(state, RunState.RUNNING), f"the DAG run {run.ref} is {state}{failed}")

    def cancel(self, run: Run) -> None:
        url = f"{self._url(*run.ref.rsplit('/', 1))}?update_mask=state"
        if self.look(run).state is RunState.RUNNING:
            self._call("PATCH", url, {"state": "failed", "note": "cancelled by Driftline"}, also=(404, 409))

    def _failed_tasks(self, run: Run) -> str:
        url = joined(self._url(*run.ref.rsplit("/", 1)), "taskInstances")
        found = self._call("GET", f"{url}?state=failed&limit={TASKS_MAX}", also=(404,)).json()
        return ", ".join(str(one.get("task_id")) for one in found.get("task_instances", []))

    def _check_own(self, dag: str, run_id: str, conf: Any, reason: str) -> None:
        """After a conflict: whether the run is there, and is ours. Raises `TargetRefused` if not."""
        answer = self._call("GET", self._url(dag, run_id), also=(404,))
        if answer.status == 404:
            raise TargetRefused(f"Airflow reports a conflict, but has no run {run_id} of {dag}: {reason[:200]}")
        if answer.json().get("conf") != conf:
            raise TargetRefused(f"Airflow has another run {run_id} of {dag}, with another conf")

    def _url(self, dag: str, run_id: str | None = None) -> str:
        parts = (dag, "dagRuns") if run_id is None else (dag, "dagRuns", run_id)
        return joined(self._settings.url, "api", "v2", "dags", *parts)

    def _call(self, method: str, url: str, body: Any = None, also: tuple[int, ...] = ()) -> Any:
        try:
            answer = self._tools.http.call(method, url, body, self._login(), also=(401, *also))
            if answer.status == 401 and self._token:  # it has run out
                self._token = ""
                answer = self._tools.http.call(method, url, body, self._login(), also=(401, *also))
            if answer.status < 300:
                answer.json()  # the page of a login in between is no answer
        except HttpProblem as problem:
            raise named(problem) from problem
        if answer.status == 401:
            raise TargetDown(f"{method} {url}: 401: Airflow refuses the login")
        return answer

    def _login(self) -> dict[str, str]:
        if self._settings.token_env is not None:
            return {"authorization": f"Bearer {self._tools.secret(self._settings.token_env)}"}
        if not self._token:
            login = {
                "username": self._settings.username,
                "password": self._tools.secret(str(self._settings.password_env)),
            }
            answer = self._tools.http.call("POST", joined(self._settings.url, "auth", "token"), login)
            self._token = str(answer.json().get("access_token", ""))
        return {"authorization": f"Bearer {self._token}"}
