"""Loads a `Config` from a file and the environment, or reports every problem of them.

All problems are found in one round. A check stops at its first problem in a section, and checks between sections need
valid ones. So each invalid setting is reported, taken out, and the rest is checked again, until it is valid.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from detectors.registry import DEFAULT
from streamer.checkpoints.scheduler import CheckpointSettings
from streamer.clock import seconds_of
from streamer.config.consistency import contradictions
from streamer.config.detector_names import resolve_detectors
from streamer.config.environment import override
from streamer.config.messages import problems_of
from streamer.config.models import Config
from streamer.config.problems import ConfigError, Problem, SettingPath
from streamer.config.schema import is_duration, names_at, schema_at, settings, types_of
from streamer.config.yaml_file import Document, read_document

DEFAULT_PATH: Final = "driftline.yaml"
NEEDED_TO_RUN: Final = ("kafka.bootstrap", "topics")

_HOW_TO: Final = {
    "kafka.bootstrap": "give the brokers, as in `kafka: {bootstrap: localhost:9092}`",
    "topics": "name the topics to read, as in `topics: {my.predictions: {codec: json}}`",
}


def load_config(path: str, *, needs: Sequence[str] = NEEDED_TO_RUN, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the file, apply variables and check the result. Settings in `needs` are required; a replay needs none.

    Relative paths are relative to the file itself. Raises `ConfigError` with every problem.
    """
    document = read_document(path)
    # First the default detectors, because a variable for one must not remove the others.
    untouched = resolve_detectors(document)
    override(document, environ)
    if document.data.get("false_alarms"):
        _leave_rates(document.data["detectors"], untouched)
    problems = document.problems + [_missing(document, name) for name in needs if not _given(document.data, name)]
    _drop_nulls(document.data, ())
    _convert_durations(document.data)
    _anchor_files(document)
    _anchor_checkpoints(document)
    config, found = _validated(document)
    if problems + found:
        raise ConfigError(problems + found)
    return config


def _leave_rates(detectors: dict[str, Any], untouched: Collection[str]) -> None:
    """Let `false_alarms` set the rates of the default detectors that the file leaves alone."""
    for name in untouched:
        if detectors[name].get("arl0") == DEFAULT[name].get("arl0"):
            detectors[name].pop("arl0", None)


def _given(data: Any, name: str) -> bool:
    for part in name.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data not in (None, {})


def _missing(document: Document, name: str) -> Problem:
    return document.problem(tuple(name.split(".")), f"is missing; {_HOW_TO[name]}")


def _drop_nulls(section: dict[str, Any], path: SettingPath) -> None:
    """Remove keys without a value, except where null has a meaning of its own."""
    for key in list(section):
        value = section[key]
        if isinstance(value, dict):
            _drop_nulls(value, (*path, key))
        elif value is None:
            schema = schema_at((*path, key))
            if schema is not None and "null" not in types_of(schema):
                del section[key]


def _anchor_checkpoints(document: Document) -> None:
    """Make a folder of checkpoints, also the default one, relative to the configuration. URLs stay unchanged."""
    section = document.data.setdefault("checkpoints", {})
    if isinstance(section, dict):
        where = section.setdefault("url", CheckpointSettings().url)
        if isinstance(where, str) and "://" not in where:
            section["url"] = str(Path(document.source).parent / where)


def _anchor_files(document: Document) -> None:
    """Make relative files relative to the configuration, so that it works from any working directory."""
    folder = Path(document.source).parent
    for setting in settings():
        *sections, last = setting.path
        at: Any = document.data
        for section in sections:
            at = at.get(section) if isinstance(at, dict) else None
        where = at.get(last) if setting.is_file and isinstance(at, dict) else None
        if isinstance(where, str) and "://" not in where:
            at[last] = str(folder / where)


def _convert_durations(section: dict[str, Any], path: SettingPath = ()) -> None:
    """Replace each duration with units by its seconds, in place. Other texts stay for the check of types."""
    for key, value in section.items():
        here = (*path, key)
        if isinstance(value, dict):
            _convert_durations(value, here)
        elif isinstance(value, str) and (schema := schema_at(here)) is not None and is_duration(schema):
            with suppress(ValueError):
                section[key] = seconds_of(value, least=0)


def _validated(document: Document) -> tuple[Config, list[Problem]]:
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
    if path[:1] == ("topics",) and path[2:] == ("codec",):
        path = path[:2]  # which settings a topic has depends on its codec
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
