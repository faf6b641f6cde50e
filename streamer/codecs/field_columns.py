"""Reads the events of many documents field by field, each field of all documents at once.

It gives what `EventReader` gives of each document, or nothing where one of them needs an explanation or has rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import NoneType
from typing import Any, Final

from msgspec import UNSET, UnsetType

from streamer.codecs.event_columns import EventLists
from streamer.codecs.field_mapping import ABSENT, IDENTIFIERS, SEGMENT, finite
from streamer.codecs.field_paths import Envelope, FieldMap, Path, Root, follow, parse_path

Around = Sequence[Sequence[Any]]  # keys and headers of the records, or nothing

_NO_FEATURES: Final = {NoneType, UnsetType}
_UNCHANGED: Final = {str, dict, list, UnsetType, NoneType}  # values of a prediction


class ColumnReader:
    """Compiled once from a `FieldMap`."""

    def __init__(self, fields: FieldMap) -> None:
        self._has_rows = fields.rows is not None or fields.names is not None
        self._paths = fields.paths()
        self._constants = fields.constants()
        self._features: Path | Mapping[str, Path] | None = None
        self._taken: frozenset[Any] = frozenset()
        if isinstance(fields.features, str):
            at = self._features = parse_path(fields.features, "features")
            inside = [path for path in self._paths.values() if path[: len(at)] == at and len(path) > len(at)]
            self._taken = frozenset(path[len(at)] for path in inside)
        elif fields.features is not None:
            self._features = {name: parse_path(path, f"features.{name}") for name, path in fields.features.items()}
        self._has_segment = fields.segment is not None

    def __call__(self, documents: Sequence[Any], *around: Sequence[Any]) -> EventLists | None:
        """The fields of documents; None where one of them is no plain event."""
        if self._has_rows or set(map(type, documents)) - {dict}:
            return None
        found = [self._identifiers(name, documents, around) for name in IDENTIFIERS]
        time = _without_unset(self._column("event_time", documents, around))
        features = self._all_features(documents, around)
        prediction = _predictions(self._column("prediction", documents, around))
        label = _labels(self._column("label", documents, around))
        if any(one is None for one in (*found, features, label)) or not set(map(type, time)) <= _TIMES:
            return None
        if self._has_segment:
            features = self._with_segment(features or [], prediction, documents, around)
        model_id, version, prediction_id, source = found
        return EventLists(model_id, version, prediction_id, time, features, prediction, label, source)  # type: ignore[arg-type]

    def _column(self, name: str, documents: Sequence[Any], around: Around) -> Sequence[Any]:
        if name in self._constants:
            return [self._constants[name]] * len(documents)
        path = self._paths.get(name)
        return [UNSET] * len(documents) if path is None else _values(path, documents, around)

    def _identifiers(self, name: str, documents: Sequence[Any], around: Around) -> Sequence[Any] | None:
        values = _without_unset(self._column(name, documents, around))
        return values if set(map(type, values)) <= {str, int, NoneType} else None

    def _all_features(self, documents: Sequence[Any], around: Around) -> Sequence[Any] | None:
        if self._features is None:
            return [None] * len(documents)
        if isinstance(self._features, Mapping):
            return _named(self._features, documents, around)
        members = _values(self._features, documents, around)
        if not set(map(type, members)) <= {dict, *_NO_FEATURES}:
            return None
        return _untaken(_without_unset(members), self._taken) if self._taken else _without_unset(members)

    def _with_segment(
        self, features: Sequence[Any], prediction: Sequence[Any], documents: Sequence[Any], around: Around
    ) -> list[Any]:
        segments = self._column(SEGMENT, documents, around)
        return [
            one if segment in ABSENT or (one is None and said in ABSENT) else {**(one or {}), SEGMENT: segment}
            for one, said, segment in zip(features, prediction, segments, strict=True)
        ]


_TIMES: Final = {str, int, float, NoneType}


def _values(path: Path, documents: Sequence[Any], around: Around) -> Sequence[Any]:
    root, *steps = path
    if root is Root.RECORD and len(steps) == 1 and isinstance(name := steps[0], str):
        return [document.get(name, UNSET) for document in documents]
    if root is Root.RECORD:
        return documents if not steps else [follow(Envelope(document), path) for document in documents]
    keys, headers = around
    return [follow(Envelope(None, UNSET, k, h), path) for k, h in zip(keys, headers, strict=True)]


def _without_unset(values: Sequence[Any]) -> Sequence[Any]:
    if UnsetType not in set(map(type, values)):
        return values
    return [None if value is UNSET else value for value in values]


def _named(paths: Mapping[str, Path], documents: Sequence[Any], around: Around) -> list[Any]:
    """The features of a mapping. An absent one is a missing value, unless all are absent, as in labels."""
    columns = [_values(path, documents, around) for path in paths.values()]
    names = list(paths)
    if any(UnsetType in set(map(type, column)) for column in columns):
        rows = zip(*columns, strict=True)
        return [
            None
            if all(v is UNSET for v in row)
            else {n: None if v is UNSET else v for n, v in zip(names, row, strict=True)}
            for row in rows
        ]
    return (
        [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else [None] * len(documents)
    )


def _untaken(members: Sequence[Any], taken: Collection[Any]) -> list[Any]:
    """The members of flat records that are no other fields, nested objects or lists."""
    return [
        None if one is None else {k: v for k, v in one.items() if k not in taken and type(v) not in (dict, list)}
        for one in members
    ]


def _predictions(values: Sequence[Any]) -> Sequence[Any]:
    if set(map(type, values)) == {float} and all(map(math.isfinite, values)):
        return values
    return [value if type(value) in _UNCHANGED else finite(value) for value in values]


def _labels(values: Sequence[Any]) -> Sequence[Any] | None:
    kinds = set(map(type, values))
    if kinds & {dict, list}:
        return None
    if kinds <= _NO_FEATURES:
        return [None] * len(values)
    return [value if type(value) is str else finite(value) for value in values]
