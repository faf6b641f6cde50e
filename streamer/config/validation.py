"""Checks a document: all its problems in one round, in plain words.

A check stops at its first problem in a section, and checks between sections need valid ones. So each invalid setting is
reported, taken out, and the rest is checked again, until it is valid. Each kind of pydantic's errors has one message
here; other kinds keep pydantic's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from detectors.registry import DETECTORS, UNUSABLE, bank
from streamer.config.false_alarms import keeping
from streamer.config.models import Config
from streamer.config.problems import Problem, SettingPath, near
from streamer.config.schema import is_duration, names_at, schema_at
from streamer.config.yaml_file import Document
from streamer.detect.batch import TAKES

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


def validated(document: Document) -> tuple[Config, list[Problem]]:
    """The configuration and all problems of it; if there are any, invalid settings are taken out of the document."""
    problems: list[Problem] = []
    removed: set[SettingPath] = set()
    while True:
        try:
            config = Config.model_validate_json(json.dumps(document.data))
            break
        except ValidationError as error:
            found = problems_of(error, document)
        problems += [one for one in found if not _is_consequence(one, removed)]
        removed |= {_remove(document.data, one.path_in_yaml) for one in found}
    return config, problems + contradictions(config, document, removed)


def _remove(data: dict[str, Any], path: SettingPath) -> SettingPath:
    """Take out the invalid setting, or the section around it where that alone would not do. Returns its path."""
    if path[:1] == ("topics",) and path[2:] in {("format",), ("codec",)}:
        path = path[:2]  # which settings a topic has depends on its format
    holder: dict[str, Any] = data
    here: SettingPath = ()
    at: Any = data
    for part in path:
        if not isinstance(at, dict) or part not in at:
            break
        here, holder, at = (*here, part), at, at[part]
    if here:
        del holder[str(here[-1])]
    else:
        data.clear()
    return here


def _is_consequence(problem: Problem, removed: Collection[SettingPath]) -> bool:
    """Whether a removal may have caused the problem: of the setting, or of a neighbour if the message names others."""
    if problem.path_in_yaml in removed:
        return True
    *section, own = problem.path_in_yaml or ("",)
    if not any([*path[:-1]] == section for path in removed if path):
        return False
    others = {*names_at(tuple(section))} - {own}
    return bool(others & set(re.findall(r"\w+", problem.message)))


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
        path, got = _path((*path, "codec"), document, absent=False), ctx["tag"]
        path = path if path[-1] == "codec" else (*path, "format")
    if kind == "float_type" and is_duration(schema_at(path) or {}):
        return document.problem(path, f"must be seconds, or a duration such as 90s, 1h30m or 7d, not {got}")
    message = _WORDS[kind](ctx, got) if kind in _WORDS else f"{detail['msg'].removeprefix('Input ')}, not {got}"
    named = (*path[:-1], "format") if path[-1:] == ("codec",) else path
    suggestion = near(got, _choices(named)) if kind in {"literal_error", "enum", "union_tag_invalid"} else None
    return document.problem(path, message, suggestion)


def _path(loc: tuple[str | int, ...], document: Document, absent: bool) -> SettingPath:
    """The path of an error in the file, without the alternatives (a format) that pydantic adds."""
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


_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")  # as Kafka's own `Topic.validate`


def contradictions(config: Config, document: Document, removed: Collection[SettingPath] = ()) -> list[Problem]:
    """The contradictions between settings that are valid alone.

    `removed` are the paths of invalid settings: a rule that rests on them has no say.
    """
    return [
        document.problem(*found)
        for rule, section, depth in _RULES
        if not any(path[:1] in {(), (section,)} and len(path) <= depth for path in removed)
        for found in rule(config)
        if found[0] not in removed
    ]


_Found = Iterator[tuple[SettingPath, str] | tuple[SettingPath, str, str | None]]


def _topic_names(config: Config) -> _Found:
    written = {("outputs", name): topic for name, topic in asdict(config.outputs).items()}
    if not _TOPIC.fullmatch(prefix := config.outputs.prefix):
        yield ("outputs", "prefix"), f"must begin topic names, as driftline. does, and {prefix!r} can't"
        return
    written[("outputs", "dead_letter_suffix")] = "x" + config.outputs.dead_letter_suffix
    for path, topic in {**{("topics", topic): topic for topic in config.topics}, **written}.items():
        if topic in {".", ".."} or not _TOPIC.fullmatch(topic):
            yield path, "is no valid topic name: Kafka takes 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'"


def _distinct_topics(config: Config) -> _Found:
    if not config.outputs.dead_letter_suffix:
        yield ("outputs", "dead_letter_suffix"), "must not be empty, or dead letters would be read as events again"
    taken: dict[str, str] = dict.fromkeys(config.topics, "an event topic")
    outputs = config.outputs
    for name in ("alerts", "incidents", "requests", "control", "watermarks", "decisions", "profiles", "epochs"):
        topic = getattr(outputs, name)
        if topic in taken:
            yield ("outputs", name), f"is {topic!r}, which is {taken[topic]} already; every topic has one use"
        taken[topic] = f"outputs.{name}"
    for topic in config.topics:
        if outputs.dead_letter_suffix and (dead := outputs.dead_letters(topic)) in taken:
            yield ("topics", topic), f"its dead letters would go to {dead!r}, which is {taken[dead]}"


def _rekey(config: Config) -> _Found:
    taken = {*config.topics, *asdict(config.outputs).values()}
    for target, sources in config.rekey.items():
        if target not in config.topics:
            message = (
                "is no event topic, so nobody would read it; name it under `topics` with the mapping of its records"
            )
            yield ("rekey", target), message, near(target, list(config.topics))
        if not sources:
            yield ("rekey", target), "must name at least one topic to copy"
        for i, source in enumerate(sources):
            if source in taken:
                yield ("rekey", target, i), f"{source!r} has another use already; a topic that is copied has no other"
            elif not _TOPIC.fullmatch(source):
                yield ("rekey", target, i), f"{source!r} is no valid topic name"
            taken.add(source)


def _repartition(config: Config) -> _Found:
    where, named, target = ("labels", "repartition"), config.labels.repartition, config.outputs.labels
    if not named or target in config.rekey:  # or both are given in full
        return
    others = [topic for topic in config.topics if topic not in config.rekey]
    if named is True and len(others) != 2:
        yield (
            where,
            "is true, which needs two topics, predictions and labels; name those of labels, as in [labels]",
        )
        return
    sources = config.label_topics
    for i, topic in enumerate(sources):
        if topic not in others:
            message = "is a copy of `rekey` already" if topic in config.rekey else "is no event topic"
            yield (*where, i), f"{topic!r} {message}", near(topic, others)
            return
    if target in config.topics:
        yield ("topics", target), "is the topic of copied labels (outputs.labels), which can't be a topic to copy"
    if not set(others) - set(sources):
        yield where, "names all event topics; leave out the one with predictions"
    if any(config.topics[topic] != config.topics[sources[0]] for topic in sources):
        yield where, "names topics with different settings, which can't share one copy; use `rekey` for each of them"


def _detectors(config: Config) -> _Found:
    if not config.detectors:
        yield (
            ("detectors",),
            "names no detector, so nothing would be monitored; leave the section out for the default ones",
        )


def _watch(config: Config) -> _Found:
    able = [name for name in config.detectors if bank(name, config.detectors[name], 0).takes in TAKES.values()]
    of = ", ".join(able)
    for models, columns in config.watch.items():
        for column, names in columns.items():
            for i, name in enumerate(names):
                where = ("watch", models, column, i)
                if name in DETECTORS and name not in config.detectors:
                    yield where, f"{name!r} does not run; add it to `detectors` as +{name}, or name one of {of}"
                elif name not in able:
                    message = f"{name!r} is not a running detector that takes values of a column; these are {of}"
                    yield where, message, None if name in DETECTORS else near(name, able)


def _false_alarms(config: Config) -> _Found:
    if config.false_alarms and not keeping(config.detectors):
        yield ("false_alarms",), "has no effect: the detectors have no stated rate, or their own arl0"
    try:
        config.watching  # noqa: B018 -- for what it raises
    except ValueError as problem:
        yield ("false_alarms",), f"can't be kept: {problem}"


def _files(config: Config) -> _Found:
    file = config.references.file
    if file is not None and "://" not in file and not Path(file).is_file():
        folder = Path(file).parent
        there = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        yield ("references", "file"), f"there is no file {file}", near(Path(file).name, there)


def _schemas(config: Config) -> _Found:
    for topic, settings in config.topics.items():
        file = getattr(settings, "schema_file", None)
        if file is not None and not file.is_file():
            yield ("topics", topic, "schema_file"), f"there is no file {file}"


_RULES: Final[Sequence[tuple[Callable[[Config], _Found], str, int]]] = (
    # each rule, the section it rests on, and how deep a removed setting of that section disables it
    (_topic_names, "outputs", 1),
    (_distinct_topics, "outputs", 1),
    (_rekey, "topics", 1),
    (_repartition, "topics", 9),
    (_detectors, "detectors", 2),
    (_watch, "detectors", 2),
    (_false_alarms, "detectors", 9),
    (_files, "references", 1),
    (_schemas, "topics", 9),
)
