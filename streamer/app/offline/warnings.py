"""Warnings at the end of a replay: input that is probably not read as meant, with what to set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec

from streamer.codecs.base import Reason
from streamer.codecs.field_paths import Envelope, FieldMap, follow, parse_path
from streamer.config import Config
from streamer.config.patterns import unmatched_in, unmatched_text
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import nested_columns, remedy_of_nested
from streamer.runtime.fold import Tally
from streamer.runtime.loop import Service
from streamer.telemetry.mapping_watch import counts_by_topic, fault_of, letters_in_recording, sentence_of

Span = tuple[datetime | None, datetime | None]  # the first and the last event time

NAMES_SHOWN: Final = 6
LABELS_JUDGED_MIN: Final = 10  # labels without a prediction; fewer are ordinary
NESTED_SHOWN: Final = 20
LETTERS_SHARE_MAX: Final = 0.01  # of dead letters, above which the mapping is wrong somewhere
# Causes of labels without a prediction.
PARTITIONS: Final = (
    "of models whose predictions are on another partition: give both the same key, and their topics equally many "
    "partitions, or set labels.repartition"
)
MODELS: Final = "of models without any prediction: compare model_id"
IDS: Final = "of models with predictions on their partition, but none of their prediction_id"
# Times of today that are read in a wrong unit lie outside; the clock of the machine would make replays differ.
FIRST_LIKELY_YEAR: Final = 2000
LAST_LIKELY_YEAR: Final = 2100


def warnings_of(config: Config, service: Service, sample: Mapping[str, Sequence[bytes]], span: Span) -> Iterator[str]:
    """All warnings about what a service has folded, in a fixed order; `sample` has the first events of each topic."""
    yield from _mapping_warnings(service)
    yield from _time_warnings(service, span)
    yield from _column_warnings(config, sample)
    yield from _label_warnings(service)
    yield from _nested_warnings(service)
    yield from _pair_warnings(service)
    yield from _pattern_warnings(config, service)


def _mapping_warnings(service: Service) -> Iterator[str]:
    """Topics of which nothing was understood, or much was not."""
    tally: Tally = Counter()
    for unit in service.units.values():
        if isinstance(unit.fold, DetectFold):
            tally.update(unit.fold.tally)
    topics = [key[1] for key in tally if key[0] == "records"]
    for topic, counts in counts_by_topic(tally, topics).items():
        if (fault := fault_of(counts)) is not None:
            yield sentence_of(topic, counts, fault)
        elif counts.unreadable > LETTERS_SHARE_MAX * counts.records:
            yield letters_in_recording(topic, counts)


def _time_warnings(service: Service, span: Span) -> Iterator[str]:
    """Signs that numeric event times are in another unit than they are read in."""
    how = "set event_time_unit of the topic, or write RFC 3339"
    first, last = span
    if first is not None and first.year < FIRST_LIKELY_YEAR:
        yield f"event times begin on {first:%Y-%m-%d}, so they are probably read in the wrong unit: {how}"
    elif last is not None and last.year > LAST_LIKELY_YEAR:
        yield f"event times end on {last:%Y-%m-%d}, so they are probably read in the wrong unit: {how}"
    bad = sum(
        n
        for unit in service.units.values()
        for (what, *which), n in unit.fold.tally.items()
        if what == "dead_letters" and which[-1:] == [Reason.BAD_EVENT_TIME.value]
    )
    if bad:
        yield f"{bad:,} dead letters have no event time that can be read (bad_event_time): {how}"


def _label_causes(folds: Sequence[DetectFold]) -> dict[str, int]:
    """Why labels have no prediction: sentences, each with how many labels that wait it is about."""
    predicted = {name for fold in folds for name in fold.models_with_predictions()}
    causes: Counter[str] = Counter()
    for fold in folds:
        names = fold.context.names.models.names
        for model, (n, is_here) in fold.labels.waiting_by_model.items():
            causes[IDS if is_here else PARTITIONS if names[model] in predicted else MODELS] += n
    return {cause: n for cause, n in causes.items() if n}


def _label_warnings(service: Service) -> Iterator[str]:
    """Labels that have no prediction, where these are most."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    counts = [fold.labels.counts for fold in folds]
    matched = sum(one["matched"] for one in counts)
    lost = sum(one["unmatched"] + one["early"] for one in counts)
    if lost >= LABELS_JUDGED_MIN and lost > matched:
        causes = sorted(_label_causes(folds).items(), key=lambda cause: (-cause[1], cause[0]))
        why = "".join(f"; {n:,} are {cause}" for cause, n in causes)
        yield (
            f"{lost:,} of {lost + matched:,} labels have no prediction of their model and prediction_id within "
            f"labels.timeout_s: compare the ids and the keys of both{why}"
        )


def _pair_warnings(service: Service) -> Iterator[str]:
    """Inputs and outputs that wait for their other half, where these are most."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    joined, alone = (sum(fold.tally["pairs", outcome] for fold in folds) for outcome in ("joined", "alone"))
    waiting = sum(len(fold.pairing) for fold in folds)
    if waiting and alone + waiting > joined:
        yield (
            f"{waiting:,} inputs or outputs at the end wait for their other half, and are not watched; {joined:,} "
            "pairs were found: if a topic holds one of both only, set its pairing to null, else compare the ids of both"
        )


def _pattern_warnings(config: Config, service: Service) -> Iterator[str]:
    """Patterns of settings that fit no model or column."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    if found := unmatched_in(config, [fold.context.names for fold in folds]):
        yield unmatched_text(found, "these recordings")


def _nested_warnings(service: Service) -> Iterator[str]:
    """Columns that hold objects or lists, once for each model and column, the first `NESTED_SHOWN`."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    found = dict.fromkeys(one for fold in folds if fold.tally["nested",] for one in nested_columns(fold))
    for model, column in islice(found, NESTED_SHOWN):
        yield f"column {column} of {model} holds objects or lists, which are not watched: {remedy_of_nested(column)}"
    if len(found) > NESTED_SHOWN:
        yield f"{len(found) - NESTED_SHOWN:,} more columns hold objects or lists; `driftline columns MODEL` shows them"


def _column_warnings(config: Config, sample: Mapping[str, Sequence[bytes]]) -> Iterator[str]:
    """Topics whose events hold columns, but none where the settings look for features."""
    for topic, values in sample.items():
        settings = config.topics.get(topic)
        if settings is not None and (settings.preset is not None or settings.format not in ("json", "json_schema")):
            continue
        fields: FieldMap = settings.fields if settings is not None else FieldMap()
        events = [event for value in values if isinstance(event := _parsed(value), dict)]
        if not isinstance(fields.features, str) or not fields.features.startswith("$.") or fields.rows:
            continue
        at = parse_path(fields.features, "features")
        if any(isinstance(follow(Envelope(event), at), dict) for event in events):
            continue
        read = {path[1] for path in fields.paths().values() if len(path) > 1 and path[0] == at[0]}
        flat = _unread(events, read, (bool, int, float, str))
        nested = [name for name in _unread(events, read, (dict,)) if _members_of(events, name)]
        path, columns = (
            ("$", flat) if flat else (f"$.{nested[0]}", _members_of(events, nested[0])) if nested else ("", [])
        )
        if columns:
            yield (
                f"{topic}: 0 of {len(columns)} columns are watched ({_names(columns)}), as no event has "
                f"{fields.features}: set fields.features of the topic to {path}"
            )


def _members_of(events: Sequence[dict[str, Any]], name: str) -> list[str]:
    """The members with values of one object of the events."""
    return _unread([event[name] for event in events if isinstance(event.get(name), dict)], (), (bool, int, float, str))


def _unread(events: Sequence[dict[str, Any]], read: Collection[Any], types: tuple[type, ...]) -> list[str]:
    """The members of these types that no field reads, in order of first sight."""
    found = (name for event in events for name, value in event.items() if isinstance(value, types))
    return [name for name in dict.fromkeys(found) if name not in read]


def _parsed(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None


def _names(columns: Sequence[str]) -> str:
    more = len(columns) - NAMES_SHOWN
    return ", ".join(columns[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
