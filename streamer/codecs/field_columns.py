"""Reads the events of many documents field by field, each field of all documents at once.

It gives what `EventReader` gives of each document, or nothing where one of them needs an explanation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from types import NoneType
from typing import Any, Final

import numpy as np
from msgspec import UNSET, UnsetType

from detectors.arrays.types import I64
from streamer.codecs.event_columns import EventLists, Rows
from streamer.codecs.field_mapping import ABSENT, IDENTIFIERS, SEGMENT, finite
from streamer.codecs.field_paths import Envelope, FieldMap, Path, Root, follow, parse_path

_NO_FEATURES: Final = {NoneType, UnsetType}
_UNCHANGED: Final = {str, dict, list, UnsetType, NoneType}  # values of a prediction
_TIMES: Final = {str, int, float, NoneType}


class ColumnReader:
    """Compiled once from a `FieldMap`."""

    def __init__(self, fields: FieldMap) -> None:
        self._paths = fields.paths()
        self._constants = fields.constants()
        self._rows = fields.rows_path() if fields.rows is not None else None
        self._shares_id = self._rows is not None and self._paths.get("prediction_id", (Root.ROW,))[0] is not Root.ROW
        self._features: Path | Mapping[str, Path] | None = None
        self._taken: frozenset[Any] = frozenset()
        if isinstance(fields.features, str):
            at = self._features = parse_path(fields.features, "features")
            inside = [path for path in self._paths.values() if path[: len(at)] == at and len(path) > len(at)]
            self._taken = frozenset(path[len(at)] for path in inside)
        elif fields.features is not None:
            self._features = {name: parse_path(path, f"features.{name}") for name, path in fields.features.items()}
        inner = self._features.values() if isinstance(self._features, Mapping) else [self._features]
        every = (*self._paths.values(), *(path for path in inner if path is not None))
        self._needs_record = any(path[0] is Root.RECORD for path in every)
        self._has_segment = fields.segment is not None

    def __call__(self, index: I64, documents: Sequence[Any], *around: Sequence[Any], rows_max: int) -> Rows | None:
        """The events of documents of the records at `index`; None where one of them needs the plain path."""
        placed = _Placed.of(documents, self._rows, around, rows_max, self._needs_record)
        if placed is None:
            return None
        found = [self._identifiers(name, placed) for name in IDENTIFIERS]
        time = _without_unset(self._column("event_time", placed))
        features = self._all_features(placed)
        prediction, label = _predictions(self._column("prediction", placed)), _labels(self._column("label", placed))
        if not _are_plain(features or (), prediction):
            return None
        if any(one is None for one in (*found, features, label)) or not set(map(type, time)) <= _TIMES:
            return None
        if self._has_segment:
            features = self._with_segment(features or [], prediction, placed)
        model_id, version, prediction_id, source = found
        if self._shares_id and placed.width is not None:
            prediction_id = _numbered(prediction_id or [], placed.width)
        lists = EventLists(model_id, version, prediction_id, time, features, prediction, label, source)  # type: ignore[arg-type]
        return Rows.single(index, lists) if placed.width is None else Rows.several(index, placed.width, lists)

    def _column(self, name: str, placed: _Placed) -> Sequence[Any]:
        if name in self._constants:
            return [self._constants[name]] * placed.n
        path = self._paths.get(name)
        return [UNSET] * placed.n if path is None else placed.values(path)

    def _identifiers(self, name: str, placed: _Placed) -> Sequence[Any] | None:
        values = _without_unset(self._column(name, placed))
        return values if set(map(type, values)) <= {str, int, NoneType} else None

    def _all_features(self, placed: _Placed) -> Sequence[Any] | None:
        if self._features is None:
            return [None] * placed.n
        if isinstance(self._features, Mapping):
            return _named(self._features, placed)
        members = placed.values(self._features)
        if not set(map(type, members)) <= {dict, *_NO_FEATURES}:
            return None
        return _untaken(_without_unset(members), self._taken) if self._taken else _without_unset(members)

    def _with_segment(self, features: Sequence[Any], prediction: Sequence[Any], placed: _Placed) -> list[Any]:
        segments = self._column(SEGMENT, placed)
        return [
            one if segment in ABSENT or (one is None and said in ABSENT) else {**(one or {}), SEGMENT: segment}
            for one, said, segment in zip(features, prediction, segments, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Placed:
    """What paths lead into, for each of `n` events."""

    by_root: Mapping[Root, Sequence[Any]]
    n: int
    width: I64 | None  # events of each record; None: one each

    @classmethod
    def of(
        cls,
        documents: Sequence[Any],
        rows: Path | None,
        around: Sequence[Sequence[Any]],
        rows_max: int,
        needs_record: bool = True,
    ) -> _Placed | None:
        """The events of documents; None where one of them is neither an event nor a list of events."""
        roots = (Root.KEY, Root.HEADERS)
        kinds = set(map(type, documents))
        if rows is None and kinds <= {dict}:
            return cls({Root.RECORD: documents, **dict(zip(roots, around, strict=False))}, len(documents), None)
        lists = [follow(Envelope(document), rows) for document in documents] if rows else documents
        items = lists if rows or kinds == {list} else [one if type(one) is list else [one] for one in lists]
        width = np.fromiter((len(one) if type(one) is list else 0 for one in items), np.int64, len(items))
        if not (width > 0).all() or (width > rows_max).any():
            return None
        flat = list(chain.from_iterable(items))
        if rows is None and set(map(type, flat)) != {dict}:
            return None
        counts = width.tolist()
        shared = [list(chain.from_iterable(map(repeat, part, counts))) for part in around]
        by_root = {Root.RECORD: flat, **dict(zip(roots, shared, strict=False))}
        if rows is not None:
            whole = list(chain.from_iterable(map(repeat, documents, counts))) if needs_record else []
            by_root |= {Root.RECORD: whole, Root.ROW: flat}
        return cls(by_root, len(flat), width)

    def values(self, path: Path) -> Sequence[Any]:
        """The values at a path; `UNSET` where there is none."""
        root, *steps = path
        found = self.by_root[root]
        if not steps:
            return found
        if len(steps) == 1 and isinstance(name := steps[0], str):
            try:
                return list(map(itemgetter(name), found))  # where all have it, as typed producers do
            except (KeyError, TypeError):
                pass
            try:
                return list(map(dict.get, found, repeat(name), repeat(UNSET)))
            except TypeError:  # some are no objects
                pass
            return [one.get(name, UNSET) if type(one) is dict else UNSET for one in found]
        inner: Path = (Root.RECORD, *steps)
        return [follow(Envelope(one), inner) for one in found]


def _are_plain(features: Sequence[dict[str, Any] | None], prediction: Sequence[Any]) -> bool:
    """Whether no value is an object or a list, which may become columns."""
    kinds = set(map(type, chain.from_iterable(map(dict.values, filter(None, features))))).union(map(type, prediction))
    return not kinds & {dict, list}


def _numbered(ids: Sequence[Any], width: I64) -> list[Any]:
    """The ids that the rows of a record share, each with the number of its row."""
    rows = (np.arange(len(ids)) - np.repeat(np.cumsum(width) - width, width)).tolist()
    several = np.repeat(width > 1, width).tolist()
    return [
        f"{one}/{row}" if among and one not in (None, "") else one
        for one, row, among in zip(ids, rows, several, strict=True)
    ]


def _without_unset(values: Sequence[Any]) -> Sequence[Any]:
    kinds = set(map(type, values))
    if UnsetType not in kinds:
        return values
    return [None] * len(values) if len(kinds) == 1 else [None if value is UNSET else value for value in values]


def _named(paths: Mapping[str, Path], placed: _Placed) -> list[Any]:
    """The features of a mapping. An absent one is a missing value, unless all are absent, as in labels."""
    columns = [placed.values(path) for path in paths.values()]
    names = list(paths)
    if any(UnsetType in set(map(type, column)) for column in columns):
        rows = zip(*columns, strict=True)
        return [
            None
            if all(v is UNSET for v in row)
            else {n: None if v is UNSET else v for n, v in zip(names, row, strict=True)}
            for row in rows
        ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else [None] * placed.n


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
