"""What the codec `json` has to say about a stretch, found the plain way: one record, one field, one value at a time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np

from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.eventlog.base import Records
from streamer.events import EventBatch, EventKind, Names

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z, the time of records unless a test says otherwise
ABSENT = object()


def records_of(values, timestamp_ms=NOON_MS, first_offset=100) -> Records:
    """A stretch of these values: bytes, None, or anything that json can write."""
    raw = [v if isinstance(v, bytes | None) else json.dumps(v).encode() for v in values]
    return Records.build("topic", 3, [(first_offset + i, timestamp_ms, b"key", v, ()) for i, v in enumerate(raw)])


def decode(*values, settings=None, names=None, timestamp_ms=NOON_MS) -> tuple[EventBatch, DeadLetters]:
    codec = JsonCodec(settings or JsonSettings())
    return codec.decode(records_of(values, timestamp_ms), names or Names.fresh())


def columns_of(batch: EventBatch) -> dict[str, list]:
    """A batch's arrays as lists, NaN as None, and `start` as the number of values of each event."""
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch) if isinstance(getattr(batch, f.name), np.ndarray)}
    arrays["start"] = np.diff(arrays["start"])
    return {name: [None if value != value else value for value in array.tolist()] for name, array in arrays.items()}


def tables_of(names: Names) -> list[list[str]]:
    return [names.models.names, names.versions.names, names.columns.names, names.categories.names]


@dataclass
class Oracle:
    """Decodes records one by one; collects the same columns as `columns_of`."""

    names: Names
    values_max: int = 10_000
    columns: dict[str, list] = field(default_factory=lambda: {f: [] for f in COLUMNS})
    reasons: dict[int, Reason] = field(default_factory=dict)
    dropped: int = 0

    def fold(self, records: Records) -> None:
        for i in range(len(records)):
            reason = self._record(records, i)
            if reason is not None:
                self.reasons[i] = reason

    def _record(self, records: Records, i: int) -> Reason | None:
        raw = records.value_of(i)
        if raw is None:
            return Reason.NULL_VALUE
        event = json.loads(raw)
        if not isinstance(event, dict):
            return Reason.NOT_AN_OBJECT
        for name in ("model_id", "model_version", "prediction_id", "source"):
            value = event.get(name)
            if isinstance(value, bool | float | list | dict):
                return Reason.WRONG_TYPE
            event[name] = "" if value is None else str(value)
        time = event.get("event_time")
        if isinstance(time, bool | list | dict):
            return Reason.BAD_EVENT_TIME
        features, label = event.get("features"), event.get("label")
        if not isinstance(features, dict | None) or isinstance(label, list | dict):
            return Reason.WRONG_TYPE
        return self._event(event, records, i, int(records.timestamp_ms[i]) if time is None else as_time(time))

    def _event(self, event: dict, records: Records, i: int, time_ms: int | None) -> Reason | None:
        features, label = event.get("features") or {}, event.get("label")
        prediction = event.get("prediction", ABSENT)
        of_source = not event["model_id"] and bool(event["source"])
        owner = f"source:{event['source']}" if of_source else event["model_id"]
        has_label = not of_source and (isinstance(label, str) or as_number(label) is not None)
        number = as_number(prediction)
        is_null = number is None and not isinstance(prediction, str | list | dict)
        predicted = prediction is not ABSENT and not of_source and (not is_null or bool(features))
        pairs = ([("prediction", prediction)] if predicted else []) + [
            (f"features.{name}" if name in ("prediction", "error") else name, v) for name, v in features.items()
        ]
        kind = (EventKind.SOURCE if of_source else EventKind.PREDICTION) if pairs else EventKind(0)
        kind |= EventKind.LABEL if has_label else EventKind(0)
        reason = self._fault(event, owner, kind, len(pairs), time_ms, records.timestamp_ms[i])
        if reason:
            return reason
        c = self.columns
        c["kind"].append(int(kind))
        c["model"].append(self.names.models.id_of(owner))
        c["version"].append(self.names.versions.id_of(event["model_version"]) if event["model_version"] else -1)
        c["event_time_ms"].append(time_ms)
        c["offset"].append(int(records.offset[i]))
        joins = event["prediction_id"] and not of_source
        c["join_id"].append(join_id(owner, event["prediction_id"]) if joins else 0)
        c["prediction"].append(number if predicted else None)
        c["label"].append(as_number(label) if has_label else None)
        c["start"].append(sum(self._value(name, value) for name, value in pairs))
        return None

    def _fault(self, event, owner, kind, size, time_ms, record_ms) -> Reason | None:
        if not owner:
            return Reason.MISSING_MODEL
        if not kind:
            return Reason.NOTHING_TO_WATCH
        if kind == EventKind.LABEL and not event["prediction_id"]:
            return Reason.MISSING_PREDICTION_ID
        if size > self.values_max:
            return Reason.TOO_MANY_COLUMNS
        if time_ms is None or not 0 <= time_ms < 253_402_300_800_000:
            return Reason.BAD_EVENT_TIME
        if record_ms >= 0 and time_ms > record_ms + 3_600_000:
            return Reason.TIME_TOO_FAR_AHEAD
        for table, name in ((self.names.models, owner), (self.names.versions, event["model_version"])):
            if name and name not in table.ids and len(table) >= table.limit:
                return Reason.TOO_MANY_MODELS
        return None

    def _value(self, name: str, value: Any) -> bool:
        column = self.names.columns.id_of(name)
        if column < 0:
            self.dropped += 1
            return False
        category = -1
        if isinstance(value, str):
            category = max(self.names.categories.id_of(value), 0)
        elif isinstance(value, list | dict):
            category = -2
        for key, entry in (("column", column), ("number", as_number(value)), ("category", category)):
            self.columns[key].append(entry)
        return True


COLUMNS = [
    f.name for f in fields(EventBatch) if f.name not in ("topic", "partition", "dropped", "turned_away", "strangers")
]


def as_number(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def as_time(value: Any) -> int | None:
    """Milliseconds since 1970 by the standard library; numbers by magnitude."""
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return None
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)) // TICK
    number = as_number(value)
    if number is None:
        return None
    return round(number if abs(number) >= 1e11 else number * 1000)


TICK = timedelta(milliseconds=1)


def join_id(model: str, prediction_id: str) -> int:
    """MurmurHash64A as published, one id at a time."""
    m, mask = 0xC6A4A7935BD1E995, (1 << 64) - 1
    data = prediction_id.encode()
    seed = int.from_bytes(blake2b(model.encode(), digest_size=8, key=bytes(8)).digest(), "little")
    h = seed ^ (len(data) * m & mask)
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * m & mask
        k = (k ^ k >> 47) * m & mask
        h = (h ^ k) * m & mask
    if len(data) % 8:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 47) * m & mask
    return h ^ h >> 47
