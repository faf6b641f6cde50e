"""Patterns of a configuration that fit no name: a misspelt one has no effect, and nothing else would show it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from retrain.messages.patterns import matches
from streamer.config.models import Config
from streamer.config.problems import SettingPath, dotted, near
from streamer.detect.references.table import load_references
from streamer.errors import UsageError
from streamer.events import LAG_COLUMN, Names

SHOWN: Final = 5  # patterns that a message names
SOURCE: Final = "source:"  # begins the name of a source in a table of models
JOINT_COLUMN: Final = "joint"


class Pattern(NamedTuple):
    """A pattern of the configuration, and what it selects."""

    path: SettingPath
    pattern: str
    selects: str  # model, column, or list: a column with items


def patterns_of(config: Config) -> Iterator[Pattern]:
    """All patterns of a configuration."""
    for model, columns in config.watch.items():
        yield Pattern(("watch", model), model, "model")
        yield from (Pattern(("watch", model, column), column, "column") for column in columns)
    yield from (Pattern(("cast", column), column, "column") for column in config.cast)
    yield from (Pattern(("segments", model), model, "model") for model in config.segments)
    yield from (Pattern(("labels", "errors", model), model, "model") for model in config.labels.errors)
    for source, settings in config.sources.items():
        yield from (Pattern(("sources", source, "models", i), one, "model") for i, one in enumerate(settings.models))
    yield from (
        Pattern(("retrain", "approval_by_model", one), one, "model") for one in config.retrain.approval_by_model
    )
    for model, rules in config.retrain.rules_by_model.items():
        path = "retrain", "rules_by_model", model
        yield Pattern(path, model, "model")
        yield from (Pattern((*path, "importance", column), column, "column") for column in rules.importance)
    for topic, of_topic in config.topics.items():
        yield from (Pattern(("topics", topic, "fields", "lists", one), one, "list") for one in of_topic.fields.lists)
        yield from (
            Pattern(("topics", topic, "fields", "numbers", one), one, "column") for one in of_topic.fields.numbers
        )


def unmatched_in(config: Config, tables: Iterable[Names]) -> list[str]:
    """The patterns that fit none of the models and columns in tables of units, each in words."""
    models, columns = set[str](), set[str]()
    for names in tables:
        models |= {name for name in names.models.names if not name.startswith(SOURCE)}
        columns |= {*names.columns.names}
    return unmatched(config, models, columns)


def unmatched_by_references(config: Config) -> list[str]:
    """The patterns that fit nothing in the training data, each in words; none where there are no such data."""
    where = config.references.file
    if where is None or "://" in where:
        return []
    with suppress(UsageError):
        known = load_references(where, 2).by_series
        columns = {column for _, _, column in known} | {*Names.fresh().columns.names, LAG_COLUMN, JOINT_COLUMN}
        return unmatched(config, {model for model, _, _ in known}, columns)
    return []


def unmatched(config: Config, models: Collection[str], columns: Collection[str]) -> list[str]:
    """The patterns that fit none of these names, each in words. Without models, there is nothing to say."""
    if not models:
        return []
    known = {"model": sorted(models), "column": sorted(columns)}
    known["list"] = sorted({name[: name.rfind("[")] for name in columns if name.endswith("]")})
    found = []
    for path, pattern, selects in patterns_of(config):
        if not any(matches(name, pattern) for name in known[selects]):
            noun = "list" if selects == "list" else selects
            guess = near(pattern, known[selects])
            found.append(f"{dotted(path)} fits no {noun}{f'; did you mean {guess}?' if guess else ''}")
    return found


def unmatched_text(found: Collection[str], where: str) -> str:
    """Such patterns as one sentence; `where` is what was looked at."""
    shown = [*found][:SHOWN]
    more = f", and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    noun = "pattern" if len(found) == 1 else "patterns"
    return f"{len(found)} {noun} of the settings had no effect on {where}: {', '.join(shown)}{more}"
