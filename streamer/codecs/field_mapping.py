"""Reads events from parsed JSON documents field by field, with an explanation for each invalid one.

It follows a `FieldMap`. With the canonical map, it reads the documents that the fast parser rejects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from streamer.codecs.base import Reason
from streamer.codecs.event import Event, Identifier, Refused, Unnesting, json_type
from streamer.codecs.event_columns import Parsed
from streamer.codecs.field_paths import Envelope, FieldMap, Getter, Path, Root, follow, getter, parse_path
from streamer.codecs.json_lenient import parse
from streamer.codecs.times import Milliseconds

Features = Callable[[Envelope], dict[str, Any] | None]

ABSENT = (None, UNSET)
LONG_MAX = 2**63  # of whole numbers among the floats that are ids
PAIRS = (("name", "value"), ("key", "value"))  # members of the items of a list of features
SEGMENT = "segment"
IDENTIFIERS = ("model_id", "model_version", "prediction_id", "source")


class EventReader:
    """Reads the event, or the rows of events, of a record; compiled once from a `FieldMap`."""

    def __init__(self, fields: FieldMap) -> None:
        paths = fields.paths()
        get: dict[str, Getter] = dict.fromkeys((*IDENTIFIERS, "event_time", "prediction", "label", SEGMENT), _absent)
        get |= {name: getter(path) for name, path in paths.items()}
        get |= {name: partial(_constant, text) for name, text in fields.constants().items()}
        self._identifiers = [(name, get[name]) for name in IDENTIFIERS]
        self._event_time = get["event_time"]
        self._features = _features_reader(fields, paths)
        self._prediction = get["prediction"]
        self._label = get["label"]
        self._segment = get[SEGMENT] if fields.segment else None
        self._unnest = Unnesting(fields.depth, fields.lists)
        self._rows = fields.rows_path() if fields.rows else None
        self._shares_id = self._rows is not None and paths.get("prediction_id", (Root.ROW,))[0] is not Root.ROW

    def __call__(self, document: Any, key: Any = UNSET, headers: Any = UNSET) -> Parsed:
        """The event of a parsed value, or its rows; raises `Refused`."""
        if self._rows is not None:
            items = follow(Envelope(document), self._rows)
            return self._all([Envelope(document, item, key, headers) for item in _list_of(items)])
        if isinstance(document, list):
            return self._all([Envelope(item, UNSET, key, headers) for item in _list_of(document)])
        return self._event(Envelope(document, UNSET, key, headers))

    def _all(self, rows: list[Envelope]) -> list[Event]:
        events = []
        for i, row in enumerate(rows):
            try:
                event = self._event(row)
            except Refused as why:
                raise Refused(why.reason, f"row {i}: {why.detail}") from None
            if self._shares_id and len(rows) > 1 and event.prediction_id not in (None, ""):
                event.prediction_id = f"{event.prediction_id}/{i}"
            events.append(event)
        return events

    def _event(self, event: Envelope) -> Event:
        if self._rows is None and not isinstance(event.record, dict):
            raise Refused(Reason.NOT_AN_OBJECT, f"the value is {json_type(event.record)}; an object is expected")
        model_id, version, prediction_id, source = [_identifier(get(event), name) for name, get in self._identifiers]
        time = _event_time(self._event_time(event))
        features, prediction = self._all_features(event), _prediction(self._prediction(event))
        if features is not None:
            features = self._unnest.features(features)
        is_of_source = model_id in (None, "") and source not in (None, "")
        if (
            isinstance(prediction, dict | list)
            and not is_of_source
            and (outputs := self._unnest.prediction(prediction))
        ):
            features, prediction = outputs | (features or {}), UNSET
        return Event(
            model_id,
            version,
            prediction_id,
            time,
            features,
            prediction,
            _label(self._label(event)),
            source,
        )

    def _all_features(self, event: Envelope) -> dict[str, Any] | None:
        """The features, including the segment where it is mapped; a label alone has none."""
        features = self._features(event)
        if self._segment is None or (features is None and self._prediction(event) in ABSENT):
            return features
        segment = self._segment(event)
        return features if segment in ABSENT else {**(features or {}), SEGMENT: segment}


def _list_of(items: Any) -> list[Any]:
    """The rows of a record. Raises `Refused` where there are none."""
    if items is UNSET:
        raise Refused(Reason.WRONG_TYPE, "the record has nothing at the path of rows; a list is expected")
    if not isinstance(items, list):
        raise Refused(Reason.WRONG_TYPE, f"rows are {json_type(items)}; a list is expected")
    if not items:
        raise Refused(Reason.NOT_AN_OBJECT, "the value is a list without events")
    return items


def _constant(text: str, _: Any) -> str:
    return text


def _absent(_: Any) -> UnsetType:
    return UNSET


def _features_reader(fields: FieldMap, mapped: Mapping[str, Path]) -> Features:
    if fields.features is None:
        return lambda _: None
    if not isinstance(fields.features, str):
        paths = {name: parse_path(path, f"features.{name}") for name, path in fields.features.items()}
        return partial(_named_features, paths=paths)
    at = parse_path(fields.features, "features")
    taken = {path[len(at)] for path in mapped.values() if path[: len(at)] == at and len(path) > len(at)}
    return partial(_member_features, at=at, taken=frozenset(taken), names=_names_reader(fields))


def _names_reader(fields: FieldMap) -> Getter:
    """The names of features that are a list of values."""
    if isinstance(fields.names, list):
        names = list(fields.names)
        return lambda _: names
    return _absent if fields.names is None else partial(follow, path=parse_path(fields.names, "names"))


def _named_features(event: Envelope, *, paths: Mapping[str, Path]) -> dict[str, Any] | None:
    """The features of a mapping. An absent one is a missing value, unless all are absent, as in labels."""
    found = {name: follow(event, path) for name, path in paths.items()}
    if all(value is UNSET for value in found.values()):
        return None
    return {name: None if value is UNSET else value for name, value in found.items()}


def _member_features(event: Envelope, *, at: Path, taken: frozenset[Any], names: Getter) -> dict[str, Any] | None:
    """The members of the object at a path, without other mapped fields; or the values of a list, by `names`."""
    members = follow(event, at)
    if members in ABSENT:
        return None
    if isinstance(members, str):
        members = _parsed(members)
    if isinstance(members, list):
        known = names(event)
        members = _by_pairs(members) if known is UNSET else _by_name(known, members)
    if not isinstance(members, dict):
        raise Refused(Reason.WRONG_TYPE, f"features are {json_type(members)}; an object is expected")
    if not taken:
        return members
    return {name: v for name, v in members.items() if name not in taken and not isinstance(v, dict | list)}


def _parsed(text: str) -> Any:
    """The object or list that a text holds as JSON; any other text as it is."""
    try:
        return parse(text.encode()) if text.lstrip()[:1] in ("{", "[") else text
    except (Refused, UnicodeEncodeError):
        return text


def _by_pairs(items: list[Any]) -> dict[str, Any]:
    """The features of `[{"name": "age", "value": 34}]` or `[["age", 34]]`. Raises `Refused` for any other list."""
    for name, value in PAIRS:
        if items and all(isinstance(one, dict) and isinstance(one.get(name), str) and value in one for one in items):
            return {one[name]: one[value] for one in items}
    if items and all(isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) for one in items):
        return dict(items)
    raise Refused(
        Reason.WRONG_TYPE, "features are a list; an object is expected. If these are values, name them by fields.names"
    )


def _by_name(names: Any, values: list[Any]) -> dict[str, Any]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(Reason.WRONG_TYPE, f"names of features are {json_type(names)}; a list of texts is expected")
    if len(names) != len(values):
        raise Refused(Reason.WRONG_TYPE, f"there are {len(values)} features and {len(names)} names for them")
    return dict(zip(names, values, strict=True))


def _identifier(value: Any, field: str) -> Identifier:
    if isinstance(value, str):
        return value
    if value in ABSENT:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < LONG_MAX:
        return int(value)  # of columns that pandas made floats
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(Reason.WRONG_TYPE, f"{field} is {json_type(value)}; text or an integer is expected")
    return value


def _event_time(value: Any) -> str | int | float | None:
    if value in ABSENT:
        return None
    if isinstance(value, dict) and (found := _written_out(value)) is not None:
        return found
    if isinstance(value, list) and (text := _by_parts(value)) is not None:
        return text
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused(Reason.BAD_EVENT_TIME, f"event_time is {json_type(value)}; RFC 3339 text or an epoch is expected")
    return value


def _by_parts(parts: list[Any]) -> str | None:
    """The time in `[2026, 3, 2, 6, 0, 15, 250000000]`, as Jackson writes a LocalDateTime; None for any other list."""
    if not 5 <= len(parts) <= 7 or any(type(one) is not int or not 0 <= one < 1_000_000_000 for one in parts):
        return None
    year, month, day, hour, minute, second, nanos = [*parts, 0, 0][:7]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}"


def _written_out(time: dict[str, Any]) -> str | Milliseconds | None:
    """The time in `{seconds, nanos}` (Protobuf), `{epochSecond, nano}` (Java) or `{$date}` (MongoDB); else None."""
    if "$date" in time:
        date = time["$date"]
        date = date.get("$numberLong") if isinstance(date, dict) else date
        return date if isinstance(date, str) and not date.isdecimal() else _milliseconds(date, 0)
    for seconds, nanos in (("seconds", "nanos"), ("epochSecond", "nano")):
        if seconds in time:
            return _milliseconds(time[seconds], time.get(nanos) or 0, 1000)
    return None


def _milliseconds(value: Any, nanos: Any, each: int = 1) -> Milliseconds | None:
    """`value` in units of `each` ms, as a number or as text, and nanoseconds."""
    try:
        return Milliseconds(int(value) * each + int(nanos) // 1_000_000)
    except (TypeError, ValueError, OverflowError):
        return None


def _prediction(value: Any) -> Any:
    return value if isinstance(value, str | dict | list) or value is UNSET else finite(value)


def _label(value: Any) -> float | str | None:
    if isinstance(value, dict | list):
        raise Refused(Reason.WRONG_TYPE, f"label is {json_type(value)}; a number or text is expected")
    return value if isinstance(value, str) else finite(value)


def finite(value: Any) -> float | None:
    """A number or boolean as a double; None where it is missing, not finite, or beyond the range of doubles."""
    if value is None or value is UNSET:
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except (OverflowError, TypeError):  # of binary formats: bytes
        return None
