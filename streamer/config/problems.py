"""Problems of a configuration, one line each.

A `Problem` has its place (file and line, or environment variable), its setting, the fault, and a similar name that
exists. `ConfigError` holds all of them, so that one `check-config` shows everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from streamer.errors import UsageError

SettingPath = tuple[str | int, ...]  # ("topics", "bus.predictions", "format"); a number is a place in a list

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault and its place."""

    source: str  # the file as the user named it, or `$VARIABLE`
    path_in_yaml: SettingPath
    line: int | None  # from 1; None when there is no line to point at
    column: int | None  # from 1
    message: str
    suggestion: str | None = None  # a similar name that exists

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        setting = f" {dotted(self.path_in_yaml)}:" if self.path_in_yaml else ""
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{place}:{setting} {self.message}{hint}"


class ConfigError(UsageError):
    """An invalid configuration. `problems` holds every fault, in file order; `str()` is one line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line is None, p.line or 0, p.column or 0)))
        super().__init__("\n".join(map(str, self.problems)))

    def report(self) -> str:
        """One line for each problem. Each begins with its place, so that editors can open it."""
        return str(self)


def dotted(path: SettingPath) -> str:
    """A path as text: `topics."bus.predictions".fields`, `kafka.bootstrap[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) else f'"{part}"'
            text += f".{key}" if text else key
    return text


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`, if any is similar."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
