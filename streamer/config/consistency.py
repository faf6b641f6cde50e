"""Checks of the configuration that concern several settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from detectors.registry import DETECTORS, bank
from streamer.config.false_alarms import keeping
from streamer.config.models import Config
from streamer.config.problems import Problem, SettingPath, near
from streamer.config.yaml_file import Document
from streamer.detect.batch import TAKES

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
    for name in ("alerts", "incidents", "requests", "control", "watermarks", "decisions", "epochs"):
        topic = getattr(outputs, name)
        if topic in taken:
            yield ("outputs", name), f"is {topic!r}, which is {taken[topic]} already; every topic has one use"
        taken[topic] = f"outputs.{name}"
    for topic in config.topics:
        if outputs.dead_letter_suffix and (dead := outputs.dead_letters(topic)) in taken:
            yield ("topics", topic), f"its dead letters would go to {dead!r}, which is {taken[dead]}"


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


_RULES: Final[Sequence[tuple[Callable[[Config], _Found], str, int]]] = (
    # each rule, the section it rests on, and how deep a removed setting of that section disables it
    (_topic_names, "outputs", 1),
    (_distinct_topics, "outputs", 1),
    (_detectors, "detectors", 2),
    (_watch, "detectors", 2),
    (_false_alarms, "detectors", 9),
    (_files, "references", 1),
)
