"""Loads a `Config` from a file and the environment, or reports every problem of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from detectors.registry import DEFAULT
from streamer.clock import seconds_of
from streamer.config.detector_names import resolve_detectors
from streamer.config.environment import override, put_settings
from streamer.config.models import Config
from streamer.config.problems import ConfigError, Problem, SettingPath
from streamer.config.schema import ANY_NAME, is_duration, schema_at, settings, types_of
from streamer.config.validation import validated
from streamer.config.yaml_file import Document, read_document
from streamer.runtime.checkpoints.scheduler import CheckpointSettings

DEFAULT_PATH: Final = "driftline.yaml"
NEEDED_TO_RUN: Final = ("kafka.bootstrap", "topics")

_HOW_TO: Final = {
    "kafka.bootstrap": "give the brokers, as in `kafka: {bootstrap: localhost:9092}`",
    "topics": "name the topics to read, as in `topics: {my.predictions: {format: json}}`",
}


def load_config(
    path: str | None,
    *,
    needs: Sequence[str] = NEEDED_TO_RUN,
    environ: Mapping[str, str] = os.environ,
    sets: Sequence[str] = (),
) -> Config:
    """Read the file, apply variables and check the result. Settings in `needs` are required; a replay needs none.

    Without a file, all settings have their defaults. `sets` are texts such as `retrain.cooldown_s=0`, which are put in
    last. Relative paths are relative to the file itself. Topics of `labels.repartition` give way to their copy. Raises
    `ConfigError` with every problem.
    """
    document = Document("driftline.yaml") if path is None else read_document(path)
    # First the default detectors, because a variable for one must not remove the others.
    untouched = resolve_detectors(document)
    override(document, environ)
    put_settings(document, sets)
    if document.data.get("false_alarms") is not None:
        _leave_rates(document.data["detectors"], untouched)
    problems = document.problems + [_missing(document, name) for name in needs if not _given(document.data, name)]
    _drop_nulls(document.data, ())
    _convert_durations(document.data)
    _anchor_files(document)
    _anchor_checkpoints(document)
    config, found = validated(document)
    if problems + found:
        raise ConfigError(problems + found)
    return config.with_copied_labels()


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
        for at in _sections_at(document.data, sections) if setting.is_file else ():
            if isinstance(where := at.get(last), str) and "://" not in where:
                at[last] = str(folder / where)


def _sections_at(data: Any, path: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The sections at a path, in which `ANY_NAME` stands for each key."""
    if not isinstance(data, dict):
        return
    if not path:
        yield data
        return
    for key in list(data) if path[0] == ANY_NAME else [path[0]]:
        yield from _sections_at(data.get(key), path[1:])


def _convert_durations(section: dict[str, Any], path: SettingPath = ()) -> None:
    """Replace each duration with units by its seconds, in place. Other texts stay for the check of types."""
    for key, value in section.items():
        here = (*path, key)
        if isinstance(value, dict):
            _convert_durations(value, here)
        elif isinstance(value, str) and (schema := schema_at(here)) is not None and is_duration(schema):
            with suppress(ValueError):
                section[key] = seconds_of(value, least=0)
