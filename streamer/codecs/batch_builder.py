"""Builds an `EventBatch` from events: validates each event and replaces names by ids.

All checks precede the first new id, so a rejected record leaves no trace in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I32, I64, Bools
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.class_labels import class_names, encode_labels
from streamer.codecs.event import NAME_CHARS_MAX, Refused
from streamer.codecs.event_columns import EventColumns, Rows, are_empty, join_ids
from streamer.codecs.times import Unit, lacks_zone, times_ms
from streamer.codecs.values import NAN, chosen, values_of
from streamer.eventlog.base import Records
from streamer.events import NUMBER, EventBatch, EventKind, Limit, Names, NameTable, Overflow, UntrackedEvents

Refusals = dict[int, Refused]  # by index of the record
EAST_MAX_MS: Final = 14 * 3_600_000  # the zone that is furthest ahead of UTC
HALF_HOUR_MS: Final = 1_800_000
Pair = tuple[str, str]  # a model and its version; "": none


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Limits of a single event: its time in relation to its record, and its number of values."""

    event_time_unit: Unit = "auto"
    skew_max_s: float = 3600
    values_max: int = 10_000
    zone: tzinfo = UTC  # of times without an offset


def build_batch(records: Records, rows: Rows, names: Names, bounds: TimeBounds, refused: Refusals) -> EventBatch:
    """The batch of these events. Adds records that can't be folded, because of any of their rows, to `refused`."""
    index, row, draft = rows.index, rows.row, EventColumns.of(rows.events)
    record_ms = records.timestamp_ms[index]
    time_ms = times_ms(rows.events.event_time, bounds.event_time_unit, record_ms, bounds.zone)
    time_ms = _from_the_east(rows.events.event_time, time_ms, record_ms, bounds)
    for bad, reason, detail in _faults(draft, rows, time_ms, record_ms, bounds):
        for i in np.flatnonzero(bad).tolist():
            refused.setdefault(int(index[i]), Refused(reason, rows.named(i, detail(i))))
    model, version = _name_ids(draft, rows, names, refused)
    away, strangers = _rejected_models(records, draft, rows, time_ms, names, refused)
    if refused:
        keep = np.fromiter((i not in refused for i in index.tolist()), bool, len(index))
        index, row, time_ms, model, version = (each[keep] for each in (index, row, time_ms, model, version))
        draft = draft.only(keep)
    batch = _batch(records, draft, index, time_ms, model, version, names, away)
    return replace(batch, row=row, strangers=strangers)


def dead_letters(refused: Refusals) -> DeadLetters:
    """The rejected records, in record order."""
    dead = DeadLetters()
    for i in sorted(refused):
        dead.add(i, refused[i].reason, refused[i].detail)
    return dead


def _faults(
    draft: EventColumns, rows: Rows, time_ms: I64, record_ms: I64, bounds: TimeBounds
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
        (time_ms < 0, Reason.BAD_EVENT_TIME, lambda i: _about_time(rows.events.event_time[i])),
        ((record_ms >= 0) & (ahead_ms > bounds.skew_max_s * 1000), Reason.TIME_TOO_FAR_AHEAD,
         lambda i: f"event_time is {ahead_ms[i] / 1000:.0f} s after the record; skew_max_s is {bounds.skew_max_s}"),
    ]  # fmt: skip


def _from_the_east(times: Sequence[Any], time_ms: I64, record_ms: I64, bounds: TimeBounds) -> I64:
    """The times, with local times of zones east of Greenwich moved back that come without a zone.

    An event can't be hours ahead of its record. One without a zone that is, by up to 14 hours, is taken for the local
    time of the first zone, by half hours, in which it is not ahead.
    """
    ahead_ms = time_ms - record_ms
    is_far = (record_ms >= 0) & (ahead_ms > bounds.skew_max_s * 1000) & (ahead_ms <= EAST_MAX_MS)
    if bounds.zone is not UTC or not is_far.any():
        return time_ms
    time_ms = time_ms.copy()
    for i in np.flatnonzero(is_far).tolist():
        text = times[i]
        if isinstance(text, str) and lacks_zone(text):
            time_ms[i] -= -(-ahead_ms[i] // HALF_HOUR_MS) * HALF_HOUR_MS
    return time_ms


def _about_time(time: Any) -> str:
    if time is None:
        return "the event has no event_time, and its record has no timestamp"
    said = f"event_time is {time!r:.60}"
    return f"{said}: neither RFC 3339, RFC 1123 nor an epoch time in the years 1970 to 9999"


def _name_ids(draft: EventColumns, rows: Rows, names: Names, refused: Refusals) -> tuple[I32, I32]:
    """Ids of the models and versions of all valid events; new names get theirs in record order."""
    model, version = _ids(names.models, draft.owner), _ids(names.versions, draft.version)
    unknown = np.flatnonzero((model < 0) | ((version < 0) & ~are_empty(draft.version)))
    unknown = unknown[np.array([i not in refused for i in rows.index[unknown].tolist()], bool)]
    if not len(unknown):
        return model, version
    pairs_of: dict[int, dict[Pair, int]] = {}  # record -> its new pairs, each with the first event that has it
    for i, record in zip(unknown.tolist(), rows.index[unknown].tolist(), strict=True):
        pairs_of.setdefault(record, {}).setdefault((draft.owner[i], draft.version[i]), i)
    faults: dict[tuple[Pair, ...], tuple[int, Refused] | None] = {}  # each new combination once, in record order
    for record, pairs in pairs_of.items():
        if (key := tuple(pairs)) not in faults:
            faults[key] = _admit(key, names)
        if fault := faults[key]:
            at, why = fault
            refused[record] = Refused(why.reason, rows.named(pairs[key[at]], why.detail))
    return _ids(names.models, draft.owner), _ids(names.versions, draft.version)


def _admit(pairs: Sequence[Pair], names: Names) -> tuple[int, Refused] | None:
    """Add models and their versions, if any, to the tables; or none of them, because of the pair at this index."""
    new: dict[tuple[bool, str], None] = {}  # whether it is a version, and the name
    room = [table.limit - len(table) for table in (names.models, names.versions)]
    for at, pair in enumerate(pairs):
        for is_version, (table, name) in enumerate(zip((names.models, names.versions), pair, strict=True)):
            if not name or name in table.ids or (bool(is_version), name) in new:
                continue
            if len(name) > NAME_CHARS_MAX:
                detail = f"a name of {len(name):,} characters, over {NAME_CHARS_MAX}: {name!r:.60}"
                return at, Refused(Reason.WRONG_TYPE, detail)
            if room[is_version] <= 0:
                detail = f"{name!r:.60} is rejected: the table holds {table.limit:,} names already"
                return at, Refused(Reason.TOO_MANY_MODELS, detail)
            room[is_version] -= 1
            new[bool(is_version), name] = None
    for is_version, name in new:
        (names.versions if is_version else names.models).id_of(name)
    return None


def _rejected_models(
    records: Records, draft: EventColumns, rows: Rows, time_ms: I64, names: Names, refused: Refusals
) -> tuple[list[Overflow], UntrackedEvents | None]:
    """The first event rejected by a full table of models or versions, if any, and the times of the lost records."""
    lost = sorted(i for i, one in refused.items() if one.reason is Reason.TOO_MANY_MODELS)
    if not lost:
        return [], None
    every = np.flatnonzero(np.isin(rows.index, lost))
    owners = [draft.owner[at] for at in every.tolist()]
    strangers = UntrackedEvents(join_ids(owners, [""] * len(every)), time_ms[every])
    first = lost[0]
    at = next(i for i in rows.of_record(first) if not _is_known(draft.owner[i], draft.version[i], names))
    model, version = draft.owner[at], draft.version[at]
    name = version if model in names.models.ids else model
    version = version if len(version) <= NAME_CHARS_MAX else ""
    return [Overflow(Limit.MODELS, name, model, version, int(records.offset[first]), int(time_ms[at]))], strangers


def _is_known(model: str, version: str, names: Names) -> bool:
    return model in names.models.ids and (not version or version in names.versions.ids)


def _ids(table: NameTable, texts: Sequence[str]) -> I32:
    """The ids of the texts; -1 for unknown ones."""
    return np.fromiter(map(table.ids.get, texts, repeat(-1)), np.int32, len(texts))


def _batch(
    records: Records, draft: EventColumns, index: I64, time_ms: I64, model: I32, version: I32, names: Names,
    away: list[Overflow],
) -> EventBatch:  # fmt: skip
    predictions = draft.prediction
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
        np.zeros(len(index), np.int32),
        _join_ids(draft),
        prediction,
        _labels(draft, names),
        values.start,
        values.column,
        values.number,
        values.category,
        values.dropped,
        tuple(away),
    )


def _join_ids(draft: EventColumns) -> NDArray[np.uint64]:
    out = np.zeros(len(draft.owner), np.uint64)
    joins = (draft.kind != EventKind.SOURCE) & ~are_empty(draft.prediction_id)
    if joins.any():
        out[joins] = join_ids(chosen(draft.owner, joins), chosen(draft.prediction_id, joins))
    return out


def _labels(draft: EventColumns, names: Names) -> F64:
    out = np.full(len(draft.owner), NAN)
    labelled = (draft.kind & EventKind.LABEL) != 0
    labels = chosen(draft.label, labelled)
    out[labelled] = encode_labels(labels)
    if names.classes is not None and len(names.classes) < names.categories.limit:
        names.classes |= class_names(labels)
    return out
