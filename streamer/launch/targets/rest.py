"""What targets with a REST API have in common: each call logs in, and each failure is one of a target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from streamer.launch.base import TargetDown, TargetRefused, Tools
from streamer.launch.http import HttpAnswer, HttpProblem


class Rest:
    """Calls with a login. Raises `TargetDown` and `TargetRefused`."""

    def __init__(self, tools: Tools, login: Callable[[], Mapping[str, str]]) -> None:
        self._tools, self._login = tools, login

    def call(self, method: str, url: str, body: Any = None, also: Collection[int] = ()) -> HttpAnswer:
        """The answer, of 200 to 299, as JSON or empty, and of the statuses `also`."""
        try:
            answer = self._tools.http.call(method, url, body, self._login(), also)
            if answer.status < 300:
                answer.json()  # the page of a login in between is no answer
            return answer
        except HttpProblem as problem:
            raise named(problem) from problem


def bearer(tools: Tools, variable: str | None) -> Callable[[], Mapping[str, str]]:
    """A login by the token in a variable; without one, none."""
    return lambda: {} if variable is None else {"authorization": f"Bearer {tools.secret(variable)}"}


def named(problem: HttpProblem) -> TargetDown | TargetRefused:
    """The problem as one of the target."""
    return TargetRefused(str(problem)) if problem.is_final else TargetDown(str(problem), problem.after_s)
