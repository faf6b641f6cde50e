"""Builds an `EventBatch` from events: validates each event and replaces names by ids.

All checks precede the first new id, so a rejected record leaves no trace in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I32, I64, Bools
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.class_labels import encode_labels
from streamer.codecs.event import NAME_CHARS_MAX, Event, Refused
from streamer.codecs.event_columns import EventColumns, are_empty
from streamer.codecs.join_ids import join_ids
from streamer.codecs.times import Unit, times_ms
from streamer.codecs.values import NAN, chosen, values_of
from streamer.eventlog.base import Records
from streamer.events import NUMBER, EventBatch, EventKind, Limit, Names, NameTable, Overflow, UntrackedEvents

Refusals = dict[int, Refused]  # by index of the record


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Limits of a single event: its time in relation to its record, and its number of values."""

    event_time_unit: Unit = "auto"
    skew_max_s: float = 3600
    values_max: int = 10_000


def build_batch(
    records: Records, index: I64, events: Sequence[Event], names: Names, bounds: TimeBounds, refused: Refusals
) -> EventBatch:
    """The batch of `events`, event `i` from record `index[i]`. Adds records that can't be folded to `refused`."""
    draft = EventColumns.of(events)
    record_ms = records.timestamp_ms[index]
    time_ms = times_ms([event.event_time for event in events], bounds.event_time_unit, record_ms)
    for bad, reason, detail in _faults(draft, time_ms, record_ms, bounds):
        for i in np.flatnonzero(bad).tolist():
            refused.setdefault(int(index[i]), Refused(reason, detail(i)))
    model, version = _name_ids(draft, index, names, refused)
    away, strangers = _rejected_models(records, draft, index, time_ms, names, refused)
    if refused:
        keep = np.fromiter((i not in refused for i in index.tolist()), bool, len(index))
        draft, index, time_ms, model, version = draft.only(keep), index[keep], time_ms[keep], model[keep], version[keep]
    return replace(_batch(records, draft, index, time_ms, model, version, names, away), strangers=strangers)


def dead_letters(refused: Refusals) -> DeadLetters:
    """The rejected records, in record order."""
    dead = DeadLetters()
    for i in sorted(refused):
        dead.add(i, refused[i].reason, refused[i].detail)
    return dead


def _faults(
    draft: EventColumns, time_ms: I64, record_ms: I64, bounds: TimeBounds
) -> list[tuple[Bools, Reason, Callable[[int], str]]]:
    """The faults of events, by decreasing weight: a mask, the reason, and the message for the event at an index."""
    is_label = draft.kind == EventKind.LABEL
    ahead_ms = time_ms - record_ms
    return [
        (are_empty(draft.owner), Reason.MISSING_MODEL, lambda _: "the event has neither a model_id nor a source"),
        (draft.kind == 0, Reason.NOTHING_TO_WATCH, lambda _: "the event has no feature, no prediction and no label"),
        (is_label & are_empty(draft.prediction_id), Reason.MISSING_PREDICTION_ID,
         lambda _: "the label has no prediction_id to join it by"),
        (draft.size > bounds.values_max, Reason.TOO_MANY_COLUMNS,
         lambda i: f"the event has {draft.size[i]:,} values, more than values_max, {bounds.values_max:,}"),
        (time_ms < 0, Reason.BAD_EVENT_TIME, lambda i: _about_time(draft.events[i])),
        ((record_ms >= 0) & (ahead_ms > bounds.skew_max_s * 1000), Reason.TIME_TOO_FAR_AHEAD,
         lambda i: f"event_time is {ahead_ms[i] / 1000:.0f} s after the record; skew_max_s is {bounds.skew_max_s}"),
    ]  # fmt: skip


def _about_time(event: Event) -> str:
    if event.event_time is None:
        return "the event has no event_time, and its record has no timestamp"
    return f"event_time is {event.event_time!r:.60}: neither RFC 3339 nor an epoch time in the years 1970 to 9999"


def _name_ids(draft: EventColumns, index: I64, names: Names, refused: Refusals) -> tuple[I32, I32]:
    """Ids of the models and versions of all valid events; new names get theirs in record order."""
    model, version = _ids(names.models, draft.owner), _ids(names.versions, draft.version)
    unknown = np.flatnonzero((model < 0) | ((version < 0) & ~are_empty(draft.version)))
    unknown = unknown[np.array([i not in refused for i in index[unknown].tolist()], bool)]
    if not len(unknown):
        return model, version
    pairs = [(draft.owner[i], draft.version[i]) for i in unknown.tolist()]
    faults = {pair: _admit(*pair, names) for pair in dict.fromkeys(pairs)}  # each new pair once, in record order
    for i, pair in zip(index[unknown].tolist(), pairs, strict=True):
        fault = faults[pair]
        if fault:
            refused[i] = fault
    return _ids(names.models, draft.owner), _ids(names.versions, draft.version)


def _admit(model: str, version: str, names: Names) -> Refused | None:
    """Add a model and its version, if any, to the tables, or return the reason why neither is added."""
    new = [(names.models, model)] + ([(names.versions, version)] if version else [])
    for table, name in new:
        if name in table.ids:
            continue
        if len(name) > NAME_CHARS_MAX:
            return Refused(
                Reason.WRONG_TYPE, f"a name of {len(name):,} characters, over {NAME_CHARS_MAX}: {name!r:.60}"
            )
        if len(table) >= table.limit:
            return Refused(
                Reason.TOO_MANY_MODELS, f"{name!r:.60} is rejected: the table holds {table.limit:,} names already"
            )
    for table, name in new:
        table.id_of(name)
    return None


def _rejected_models(
    records: Records, draft: EventColumns, index: I64, time_ms: I64, names: Names, refused: Refusals
) -> tuple[list[Overflow], UntrackedEvents | None]:
    """The first event rejected by a full table of models or versions, if any, and the times of all of these events."""
    lost = sorted(i for i, one in refused.items() if one.reason is Reason.TOO_MANY_MODELS)
    if not lost:
        return [], None
    every = np.searchsorted(index, lost)
    strangers = UntrackedEvents(join_ids([draft.owner[at] for at in every.tolist()], [""] * len(lost)), time_ms[every])
    first, at = lost[0], int(every[0])
    model, version = draft.owner[at], draft.version[at]
    name = version if model in names.models.ids else model
    version = version if len(version) <= NAME_CHARS_MAX else ""
    return [Overflow(Limit.MODELS, name, model, version, int(records.offset[first]), int(time_ms[at]))], strangers


def _ids(table: NameTable, texts: Sequence[str]) -> I32:
    """The ids of the texts; -1 for unknown ones."""
    return np.fromiter(map(table.ids.get, texts, repeat(-1)), np.int32, len(texts))


def _batch(
    records: Records, draft: EventColumns, index: I64, time_ms: I64, model: I32, version: I32, names: Names,
    away: list[Overflow],
) -> EventBatch:  # fmt: skip
    predictions = [event.prediction for event in draft.events]
    values = values_of(draft.features, predictions, draft.predicted, names.columns, names.categories)
    prediction = np.full(len(index), NAN)
    first = values.start[:-1][draft.predicted]
    prediction[draft.predicted] = values.number[first]
    if (values.category[first] != NUMBER).any():
        prediction[draft.predicted] = encode_labels(chosen(predictions, draft.predicted))
        prediction[np.isinf(prediction)] = NAN
    offset = records.offset[index]
    away += [
        Overflow(limit, name, draft.owner[i], draft.version[i], int(offset[i]), int(time_ms[i]))
        for limit, i, name in values.refused
    ]
    return EventBatch(
        records.topic,
        records.partition,
        draft.kind,
        model,
        version,
        time_ms,
        offset,
        _join_ids(draft),
        prediction,
        _labels(draft),
        values.start,
        values.column,
        values.number,
        values.category,
        values.dropped,
        tuple(away),
    )


def _join_ids(draft: EventColumns) -> NDArray[np.uint64]:
    out = np.zeros(len(draft.events), np.uint64)
    joins = (draft.kind != EventKind.SOURCE) & ~are_empty(draft.prediction_id)
    if joins.any():
        out[joins] = join_ids(chosen(draft.owner, joins), chosen(draft.prediction_id, joins))
    return out


def _labels(draft: EventColumns) -> F64:
    out = np.full(len(draft.events), NAN)
    labelled = (draft.kind & EventKind.LABEL) != 0
    out[labelled] = encode_labels([event.label for event in chosen(draft.events, labelled)])
    return out
