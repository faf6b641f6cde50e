"""What the codec `json` has to say about a stretch, found the plain way: one record, one field, one value at a time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
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
    keys = [None if v is None else b"key" for v in raw]  # with one, a null value is a tombstone
    return Records.build("topic", 3, [(first_offset + i, timestamp_ms, keys[i], v, ()) for i, v in enumerate(raw)])


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
        value = json.loads(raw)
        rows = value if isinstance(value, list) else [value]
        if not rows:
            return Reason.NOT_AN_OBJECT
        wrong = [reason for reason in map(self._type_fault, rows) if reason]
        if wrong:
            return wrong[0]
        events = [self._event(row, int(records.timestamp_ms[i])) for row in rows]
        faults = [fault for fault in (self._fault(*event, records.timestamp_ms[i]) for event in events) if fault]
        if faults:
            return min(faults, key=FAULTS.index)
        if self._has_no_room([event for event, *_ in events]):
            return Reason.TOO_MANY_MODELS
        for row, event in enumerate(events):
            self._take(*event, row, int(records.offset[i]))
        return None

    def _type_fault(self, event: Any) -> Reason | None:
        if not isinstance(event, dict):
            return Reason.NOT_AN_OBJECT
        for name in ("model_id", "model_version", "prediction_id", "source"):
            if isinstance(event.get(name), bool | float | list | dict):
                return Reason.WRONG_TYPE
        if isinstance(event.get("event_time"), bool | list | dict):
            return Reason.BAD_EVENT_TIME
        if not isinstance(event.get("features"), dict | None) or isinstance(event.get("label"), list | dict):
            return Reason.WRONG_TYPE
        return None

    def _event(self, event: dict, record_ms: int) -> tuple[dict, EventKind, list, int | None]:
        """The event with texts for identifiers, its kind, its values by name, and its time."""
        for name in ("model_id", "model_version", "prediction_id", "source"):
            event[name] = "" if event.get(name) is None else str(event[name])
        time, features, label = event.get("event_time"), event.get("features") or {}, event.get("label")
        prediction = event.get("prediction", ABSENT)
        of_source = not event["model_id"] and bool(event["source"])
        event["owner"] = f"source:{event['source']}" if of_source else event["model_id"]
        has_label = not of_source and (isinstance(label, str) or as_number(label) is not None)
        number = as_number(prediction)
        is_null = number is None and not isinstance(prediction, str | list | dict)
        event["predicted"] = prediction is not ABSENT and not of_source and (not is_null or bool(features))
        features = dict(pair for name, value in features.items() for pair in opened(name, value))
        if isinstance(prediction, dict | list) and not of_source and prediction:
            features, event["predicted"] = {**dict(opened("prediction", prediction)), **features}, False
        pairs = ([("prediction", prediction)] if event["predicted"] else []) + [
            (f"features.{name}" if name in ("prediction", "error") else name, v) for name, v in features.items()
        ]
        kind = (EventKind.SOURCE if of_source else EventKind.PREDICTION) if pairs else EventKind(0)
        kind |= EventKind.LABEL if has_label else EventKind(0)
        return event, kind, pairs, record_ms if time is None else as_time(time)

    def _take(self, event: dict, kind: EventKind, pairs: list, time_ms: int, row: int, offset: int) -> None:
        c, owner = self.columns, event["owner"]
        c["kind"].append(int(kind))
        c["model"].append(self.names.models.id_of(owner))
        c["version"].append(self.names.versions.id_of(event["model_version"]) if event["model_version"] else -1)
        c["event_time_ms"].append(time_ms)
        c["offset"].append(offset)
        c["row"].append(row)
        joins = event["prediction_id"] and EventKind.SOURCE not in kind
        c["join_id"].append(join_id(owner, event["prediction_id"]) if joins else 0)
        c["prediction"].append(as_outcome(event.get("prediction")) if event["predicted"] else None)
        c["label"].append(as_outcome(event.get("label")) if EventKind.LABEL in kind else None)
        c["start"].append(sum(self._value(name, value) for name, value in pairs))

    def _has_no_room(self, events: list[dict]) -> bool:
        """Whether the tables are too full for the models and versions of a record."""
        for table, key in ((self.names.models, "owner"), (self.names.versions, "model_version")):
            new = {event[key] for event in events if event[key]} - table.ids.keys()
            if len(table) + len(new) > table.limit:
                return True
        return False

    def _fault(self, event: dict, kind: EventKind, pairs: list, time_ms: int | None, record_ms: int) -> Reason | None:
        if not event["owner"]:
            return Reason.MISSING_MODEL
        if not kind:
            return Reason.NOTHING_TO_WATCH
        if kind == EventKind.LABEL and not event["prediction_id"]:
            return Reason.MISSING_PREDICTION_ID
        if len(pairs) > self.values_max:
            return Reason.TOO_MANY_COLUMNS
        if time_ms is None or not 0 <= time_ms < 253_402_300_800_000:
            return Reason.BAD_EVENT_TIME
        if record_ms >= 0 and time_ms > record_ms + 3_600_000:
            return Reason.TIME_TOO_FAR_AHEAD
        return None

    def _value(self, name: str, value: Any) -> bool:
        column = self.names.columns.id_of(name)
        if column < 0:
            self.dropped += 1
            return False
        category, number = -1, as_number(value)
        if isinstance(value, str) and (read := as_text_number(value)):
            number, category = read
        elif isinstance(value, str):
            category = max(self.names.categories.id_of(value), 0)
            number = {"true": 1.0, "false": 0.0}.get(value.lower()) if category else None
        elif isinstance(value, list | dict):
            category = -2
        for key, entry in (("column", column), ("number", number), ("category", category)):
            self.columns[key].append(entry)
        return True


FAULTS = [
    Reason.MISSING_MODEL, Reason.NOTHING_TO_WATCH, Reason.MISSING_PREDICTION_ID, Reason.TOO_MANY_COLUMNS,
    Reason.BAD_EVENT_TIME, Reason.TIME_TOO_FAR_AHEAD,
]  # fmt: skip
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


def opened(name: str, value: Any) -> list[tuple[str, Any]]:
    """The columns of a value of these tests, whose lists are short and whose objects are flat."""
    if isinstance(value, dict) and value:
        return [(f"{name}.{key}", one) for key, one in value.items()]
    if isinstance(value, list) and value:
        return [(f"{name}[{i}]", one) for i, one in enumerate(value)]
    return [(name, value)]


def as_text_number(text: str) -> tuple[float, int] | None:
    """The number in a text and its code: -4 - decimals; -3 where digits are many, or there is an exponent."""
    mantissa, _, exponent = text.lower().partition("e")
    try:
        written = Decimal(text)
    except InvalidOperation:
        return None
    digits, _, decimals = mantissa.removeprefix("-").partition(".")
    if not text.isascii() or not digits.isdigit() or (digits[0] == "0" and len(digits) > 1):
        return None
    if len(digits) > 18 or len(decimals) > 18 or mantissa.endswith(".") or "_" in text or len(exponent) > 4:
        return None
    if not math.isfinite(float(written)):
        return None
    is_exact = "e" not in text.lower() and len(digits) + len(decimals) <= 14
    return float(text), -4 - len(decimals) if is_exact else -3


def as_outcome(value: Any) -> float | None:
    """A prediction or label as a number, also where it is a text of one."""
    if not isinstance(value, str):
        return as_number(value)
    read = as_text_number(value)
    return read[0] if read and "e" not in value.lower() else {"true": 1.0, "false": 0.0}.get(value.lower())


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
    size = abs(number)  # s before 1e11, then ms, us and ns, each up to the year 10000
    return round(number * (1000 if size < 1e11 else 1 if size < END_MS else 1e-3 if size < 1e3 * END_MS else 1e-6))


TICK = timedelta(milliseconds=1)
END_MS = 253_402_300_800_000  # the year 10000


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
