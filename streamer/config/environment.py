"""Environment variables that override the file: `DRIFTLINE_METRICS__HOST=0.0.0.0` is `metrics: {host: 0.0.0.0}`.

Two underscores separate levels, and commas the items of a list. Names with the prefix but without two underscores are
ignored: Kubernetes sets `DRIFTLINE_METRICS_PORT` and similar variables for a Service of that name. Settings below a
topic have no variable. An empty variable counts as not set.

`--set detectors.shiryaev_roberts.arl0=1e5` of a command does the same for one setting, with points between levels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from streamer.config.problems import Problem, near
from streamer.config.schema import ANY_NAME, Setting, schema_at, settings
from streamer.config.yaml_file import Document, plain_scalar

PREFIX: Final = "DRIFTLINE_"
BETWEEN_LEVELS: Final = "__"


def variable_of(path: tuple[str, ...]) -> str:
    """The variable that overrides a setting."""
    return PREFIX + BETWEEN_LEVELS.join(path).upper()


def override(document: Document, environ: Mapping[str, str]) -> None:
    """Put the values of variables into the document, in order of name; unknown names become problems."""
    known = {variable_of(s.path): s for s in settings() if ANY_NAME not in s.path}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or BETWEEN_LEVELS not in name or not environ[name].strip():
            continue
        if name in known:
            _put(document, known[name], f"${name}", environ[name])
        else:
            document.problems.append(_unknown(name, known))


def put_settings(document: Document, texts: Sequence[str]) -> None:
    """Put the values of `--set SETTING=VALUE` into the document, in order; unknown names become problems."""
    for text in texts:
        name, is_one, value = text.partition("=")
        path = tuple(part.removeprefix("+") for part in name.strip().split("."))
        schema = schema_at(path) if is_one and name.strip() else None
        if schema is None:
            known = [".".join(one.path) for one in settings() if ANY_NAME not in one.path]
            message = "no setting has this name" if is_one else "write SETTING=VALUE, as in retrain.cooldown_s=0"
            document.problems.append(Problem("--set", path, None, None, message, near(name, known)))
        else:
            _put(document, Setting(path, schema, False), f"--set {name.strip()}", value)


def _unknown(name: str, known: Collection[str]) -> Problem:
    own = name.removeprefix(PREFIX)
    meant = near(own, [each.removeprefix(PREFIX) for each in known])  # the common prefix would make all names similar
    path = tuple(own.lower().split(BETWEEN_LEVELS))
    return Problem(f"${name}", path, None, None, "no setting has this name", meant and PREFIX + meant)


def _put(document: Document, setting: Setting, source: str, text: str) -> None:
    *sections, last = setting.path
    at: dict[str, Any] = document.data
    for section in sections:
        if at.get(section) is None:
            at[section] = {}
        at = at[section]
        if not isinstance(at, dict):
            return  # a later check reports the fault of the file there
    is_text = "string" in setting.types and not setting.is_duration
    is_list = "array" in setting.types and not is_text
    parts = [plain_scalar(part.strip()) for part in text.split(",")] if is_list else None
    at[last] = parts or (text.strip() if is_text else plain_scalar(text))
    document.variables[setting.path] = source
