"""`github`: a workflow of GitHub Actions, by `repository_dispatch`.

A dispatch answers without an id and takes none. So the workflow must name its run after the request (`run-name: ${{
github.event.client_payload.request.request_id }}`), and the launcher looks for that name before it dispatches. After a
crash between the dispatch and its report, a run that GitHub does not list yet may be dispatched a second time: at most
twice. Source: the REST API of GitHub, version 2022-11-28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, Tools
from streamer.launch.http import joined
from streamer.launch.targets.rest import Rest

EVENT_CHARS_MAX: Final = 100
RUNS: Final = 100  # the newest runs that are searched, which is all that a page holds
PAGES_MAX: Final = 5
GOOD: Final = {"success", "neutral", "skipped"}


@dataclass(frozen=True, slots=True)
class GithubSettings:
    """A workflow of GitHub Actions, by repository_dispatch.

    repository: owner/name
    token_env: variable of the environment with a token that may write to the repository
    event: type of the event, which the workflow names in `on.repository_dispatch.types`; at most 100 characters
    url: address of the API
    """

    repository: str
    token_env: str
    event: str = "driftline-retrain"
    url: str = "https://api.github.com"

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if self.repository.count("/") != 1:
            raise ValueError(f"repository is {self.repository!r}, but must be owner/name.")
        if not 1 <= len(self.event) <= EVENT_CHARS_MAX:
            raise ValueError(f"event has {len(self.event)} characters, but must have 1 to {EVENT_CHARS_MAX}.")


class Github:
    """A workflow of GitHub Actions, by repository_dispatch."""

    settings = GithubSettings
    has_handle: ClassVar[bool] = False

    def __init__(self, settings: GithubSettings, tools: Tools) -> None:
        self._settings, self._tools = settings, tools
        self._rest = Rest(tools, self._login)
        self._repository = joined(settings.url, "repos", *settings.repository.split("/"))

    def launch(self, request: LaunchRequest) -> Run:
        name = request.request_id
        found = self._found(name)
        if found is None:
            payload = {"request": request.record}  # one property: GitHub takes at most ten
            self._rest.call("POST", f"{self._repository}/dispatches", {
                "event_type": request.fill(self._settings.event), "client_payload": payload
            })  # fmt: skip
        link = f"https://github.com/{self._settings.repository}/actions"
        return Run(name, str(found.get("html_url", link)) if found else link)

    def look(self, run: Run) -> RunStatus:
        found = self._found(run.ref)
        if found is None:  # GitHub lists it some time after the dispatch, or the workflow does not name it
            return RunStatus(RunState.UNKNOWN)
        if found.get("status") != "completed":
            return RunStatus(RunState.RUNNING)
        conclusion = str(found.get("conclusion"))
        state = RunState.SUCCEEDED if conclusion in GOOD else RunState.FAILED
        return RunStatus(state, f"the workflow run {found.get('html_url')} is {conclusion}")

    def cancel(self, run: Run) -> None:
        found = self._found(run.ref)
        if found is not None and found.get("status") != "completed":
            self._rest.call("POST", f"{self._repository}/actions/runs/{found['id']}/cancel", also=(404, 409))

    def _found(self, name: str) -> Any:
        """The run with this name among the newest of the event; None if there is none."""
        for page in range(1, PAGES_MAX + 1):
            query = f"event=repository_dispatch&per_page={RUNS}&page={page}"
            runs = self._rest.call("GET", f"{self._repository}/actions/runs?{query}").json().get("workflow_runs", [])
            for one in runs:
                if name in (one.get("display_title"), one.get("name")):
                    return one
            if len(runs) < RUNS:
                return None
        return None

    def _login(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self._tools.secret(self._settings.token_env)}",
            "accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28",
        }  # fmt: skip
