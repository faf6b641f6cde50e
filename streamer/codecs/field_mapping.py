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
from streamer.codecs.event import Event, Identifier, Refused, json_type
from streamer.codecs.field_paths import FieldMap, Getter, Path, follow, getter, parse_path

Features = Callable[[dict[str, Any]], dict[str, Any] | None]

ABSENT = (None, UNSET)
SEGMENT = "segment"
IDENTIFIERS = ("model_id", "model_version", "prediction_id", "source")


class EventReader:
    """Reads an `Event` from a document; compiled once from a `FieldMap`."""

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

    def __call__(self, document: Any) -> Event:
        """The event; raises `Refused`."""
        if not isinstance(document, dict):
            raise Refused(Reason.NOT_AN_OBJECT, f"the value is {json_type(document)}; an object is expected")
        model_id, version, prediction_id, source = [_identifier(get(document), name) for name, get in self._identifiers]
        return Event(
            model_id,
            version,
            prediction_id,
            _event_time(self._event_time(document)),
            self._all_features(document),
            _prediction(self._prediction(document)),
            _label(self._label(document)),
            source,
        )

    def _all_features(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """The features, including the segment where it is mapped; a label alone has none."""
        features = self._features(document)
        if self._segment is None or (features is None and self._prediction(document) in ABSENT):
            return features
        segment = self._segment(document)
        return features if segment in ABSENT else {**(features or {}), SEGMENT: segment}


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
    return partial(_member_features, at=at, taken=frozenset(taken))


def _named_features(document: dict[str, Any], *, paths: Mapping[str, Path]) -> dict[str, Any] | None:
    """The features of a mapping. An absent one is a missing value, unless all are absent, as in labels."""
    found = {name: follow(document, path) for name, path in paths.items()}
    if all(value is UNSET for value in found.values()):
        return None
    return {name: None if value is UNSET else value for name, value in found.items()}


def _member_features(document: dict[str, Any], *, at: Path, taken: frozenset[str | int]) -> dict[str, Any] | None:
    """The members of the object at a path, without other mapped fields."""
    members = follow(document, at)
    if members in ABSENT:
        return None
    if not isinstance(members, dict):
        raise Refused(Reason.WRONG_TYPE, f"features are {json_type(members)}; an object is expected")
    if not taken:
        return members
    return {name: v for name, v in members.items() if name not in taken and not isinstance(v, dict | list)}


def _identifier(value: Any, field: str) -> Identifier:
    if isinstance(value, str):
        return value
    if value in ABSENT:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(Reason.WRONG_TYPE, f"{field} is {json_type(value)}; text or an integer is expected")
    return value


def _event_time(value: Any) -> str | int | float | None:
    if value in ABSENT:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused(Reason.BAD_EVENT_TIME, f"event_time is {json_type(value)}; RFC 3339 text or an epoch is expected")
    return value


def _prediction(value: Any) -> Any:
    return value if isinstance(value, str | dict | list) or value is UNSET else _finite(value)


def _label(value: Any) -> float | str | None:
    if isinstance(value, dict | list):
        raise Refused(Reason.WRONG_TYPE, f"label is {json_type(value)}; a number or text is expected")
    return value if isinstance(value, str) else _finite(value)


def _finite(value: Any) -> float | None:
    """A number or boolean as a double; None where it is missing, not finite, or beyond the range of doubles."""
    if value is None or value is UNSET:
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
