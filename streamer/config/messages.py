"""Plain messages for the errors of pydantic.

Each kind of error has one message here; other kinds keep the message of pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from detectors.registry import UNUSABLE
from streamer.config.problems import Problem, SettingPath, near
from streamer.config.schema import is_duration, names_at, schema_at
from streamer.config.yaml_file import Document

SHOWN_MAX: Final = 40  # characters of a wrong value in a message

_SECRETS: Final = {"password", "sasl_plain_password", "ssl_password", "secret", "token"}
_Words = Callable[[Mapping[str, Any], str], str]

_WORDS: Final[dict[str, _Words]] = {
    "missing": lambda _, __: "is missing",
    "missing_argument": lambda _, __: "is missing",
    "missing_keyword_only_argument": lambda _, __: "is missing",
    "int_type": lambda _, got: f"must be a whole number, not {got}",
    "int_from_float": lambda _, got: f"must be a whole number, not {got}",
    "float_type": lambda _, got: f"must be a number, not {got}",
    "finite_number": lambda _, got: f"must be a finite number, not {got}",
    "bool_type": lambda _, got: f"must be true or false, not {got}",
    "string_type": lambda _, got: f"must be text, not {got}; quote it if text is intended",
    "greater_than": lambda ctx, got: f"must be above {ctx['gt']:g}, not {got}",
    "greater_than_equal": lambda ctx, got: f"must be at least {ctx['ge']:g}, not {got}",
    "less_than": lambda ctx, got: f"must be below {ctx['lt']:g}, not {got}",
    "less_than_equal": lambda ctx, got: f"must be at most {ctx['le']:g}, not {got}",
    "string_too_short": lambda _, __: "must not be empty",
    "too_short": lambda _, __: "must not be empty",
    "literal_error": lambda ctx, got: f"must be {ctx['expected'].replace(chr(39), '')}, not {got}",
    "enum": lambda ctx, got: f"must be {ctx['expected'].replace(chr(39), '')}, not {got}",
    "union_tag_invalid": lambda ctx, _: f"must be {ctx['expected_tags'].replace(chr(39), '')}, not {ctx['tag']}",
    "model_type": lambda _, got: f"must be a section with settings below it, not {got}",
    "dataclass_type": lambda _, got: f"must be a section with settings below it, not {got}",
    "dict_type": lambda _, got: f"must be a section with settings below it, not {got}",
    "model_attributes_type": lambda _, got: f"must be a section with settings below it, not {got}",
    "tuple_type": lambda _, got: f"must be a list, not {got}",
    "list_type": lambda _, got: f"must be a list, not {got}",
}
_UNKNOWN: Final = {"extra_forbidden", "unexpected_keyword_argument"}


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """The errors of pydantic as problems of the document.

    For a value of several possible kinds, pydantic reports each; only the deepest error remains.
    """
    found: dict[SettingPath, Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail, document)
        found.setdefault(problem.path_in_yaml, problem)
    return [p for path, p in found.items() if not any(len(q) > len(path) and q[: len(path)] == path for q in found)]


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    kind, got, ctx = detail["type"], shown(detail["input"]), detail.get("ctx", {})
    path = _path(detail["loc"], document, absent=kind.startswith("missing"))
    if kind in _UNKNOWN:
        return document.problem(path, *_unknown(path))
    if kind in {"value_error", "assertion_error"}:
        return document.problem(*_own_words(path, str(ctx["error"])))
    if kind == "union_tag_invalid":
        path, got = (*path, "codec"), ctx["tag"]
    if kind == "float_type" and is_duration(schema_at(path) or {}):
        return document.problem(path, f"must be seconds, or a duration such as 90s, 1h30m or 7d, not {got}")
    message = _WORDS[kind](ctx, got) if kind in _WORDS else f"{detail['msg'].removeprefix('Input ')}, not {got}"
    suggestion = near(got, _choices(path)) if kind in {"literal_error", "enum", "union_tag_invalid"} else None
    return document.problem(path, message, suggestion)


def _path(loc: tuple[str | int, ...], document: Document, absent: bool) -> SettingPath:
    """The path of an error in the file, without the alternatives (a codec) that pydantic adds."""
    path: SettingPath = ()
    at: Any = document.data
    for i, part in enumerate(loc):
        inside = part in at if isinstance(at, dict) else isinstance(at, list) and isinstance(part, int)
        if not inside and not (absent and i + 1 == len(loc)):
            continue
        path = (*path, part)
        at = at[part] if inside else None
    return path


def _unknown(path: SettingPath) -> tuple[str, str | None]:
    name = str(path[-1])
    if name.lower() in _SECRETS:
        return "a secret does not belong in this file; name its file (password_file) or variable (password_env)", None
    if path[0] == "detectors" and name in UNUSABLE:
        return f"can't be used: {UNUSABLE[name]}", None
    known = names_at(path[:-1])
    noun = "section" if len(path) == 1 else "detector" if path[0] == "detectors" and len(path) == 2 else "setting"
    suggestion = near(name, known)
    listed = "" if suggestion else f"; known are {', '.join(known)}"
    return f"unknown {noun}{listed}", suggestion


def _own_words(path: SettingPath, message: str) -> tuple[SettingPath, str]:
    """Move the setting that begins the message of a component, perhaps behind its own name, to the path."""
    message = message.rstrip(".")
    if match := re.match(r"(?:\w+: )?(\w+(?:\.\w+)*):? +(.*)", message, re.DOTALL):
        names = match[1].split(".")
        if names[0] in names_at(path):
            return (*path, *names), match[2]
    return path, message


def _choices(path: SettingPath) -> list[str]:
    schema = schema_at(path) or {}
    const = [schema["const"]] if "const" in schema else []
    return [str(choice) for choice in (*schema.get("enum", ()), *const)]


def shown(value: object) -> str:
    """A wrong value in a message: short, and in the form of YAML rather than Python."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a section"
        case list():
            return "a list"
        case str():
            return repr(value) if len(value) <= SHOWN_MAX else repr(value[:SHOWN_MAX] + "…")
    return str(value)[:SHOWN_MAX]
