"""Learns layouts of JSON: a fast way from records to columns, without an object for each record.

Producers send one shape over and over: the same members in the same order, with the same bytes between their values. A
layout is learnt from one record, by the fields that are read. A kernel then reads the others (`json_layout.py`). A
record that does not fit is decoded the plain way, by the codec. So the batch is the same, bit for bit;
`test_json_layout.py` holds both ways against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64, U8
from streamer.codecs.event import Unnesting
from streamer.codecs.field_mapping import SEGMENT
from streamer.codecs.field_paths import FieldMap, Path, Root, Select, follow_step, parse_path
from streamer.codecs.json_lenient import QUOTE, Place, tokens_of
from streamer.codecs.tables import json_layout as kernel
from streamer.codecs.values import TAKEN

IDS: Final = {"model_id": kernel.MODEL, "model_version": kernel.VERSION, "prediction_id": kernel.JOIN}
NUMBERS_AND_TEXTS: Final = (int, float, str)
DEPTH_MAX: Final = 32
AROUND: Final = (Root.KEY, Root.HEADERS)


@dataclass(frozen=True, slots=True)
class Layout:
    """The values of a record in order, of its rows only those of the first; and the bytes around them."""

    literal: U8  # the bytes before each value, behind the last, and from a row's last value to the next row's first
    edges: I64  # [values + 3] of these in `literal`
    kind: NDArray[np.int8]  # [values]
    place: I64  # [values] among the numbers (columns, label, time) or the texts of an event
    rows: tuple[int, int]  # the values of a row, from the first to before the last; -1: a record is one event
    columns: tuple[str, ...]  # names, in order; the prediction goes first
    categories: tuple[int, ...]  # the columns that are texts
    has: frozenset[str]  # the fields of an event that stand in the record
    texts: frozenset[str]  # those of the fields event_time, prediction and label that are texts

    def read(self, data: U8, spans: I64) -> tuple[I64, F64, I64]:
        """Read records [n] at their spans [n, 2] in `data`; those that start at -1 fit nothing.

        Returns the number of events of each, 0 where it does not fit; of all these events the numbers
        [events, columns + 2] and the spans of the texts [events, texts, 2].
        """
        events = self._events_max(spans)
        numbers = np.full((events, len(self.columns) + 2), np.nan)
        texts = np.zeros((events, kernel.CATEGORY + len(self.categories), 2), np.int64)
        word, width = np.zeros(1, np.uint64), np.zeros(len(spans), np.int64)
        parts = (
            self.literal,
            self.edges,
            self.kind,
            self.place,
            *self.rows,
            kernel.FIVES,
            kernel.TENS,
            word,
            word.view(np.float64),
        )
        kernel.read_records(data, spans, *parts, numbers, texts, width)
        found = int(width.sum())
        return width, numbers[:found], texts[:found]

    def is_like(self, other: Layout) -> bool:
        """Whether the bytes and kinds of both are the same."""
        return all(np.array_equal(getattr(self, one), getattr(other, one)) for one in ("literal", "edges", "kind"))

    def _events_max(self, spans: I64) -> int:
        """Not less than the number of events of records."""
        first, last = self.rows
        size = (spans[:, 1] - spans[:, 0])[spans[:, 0] >= 0]
        if first < 0:
            return len(size)
        least = int(self.edges[last] - self.edges[first + 1] + self.edges[-1] - self.edges[-2]) + last - first
        return int((size // least + 1).sum())


class _UnfitError(Exception):
    """The record gives no layout."""


class Learner:
    """Learns layouts for the fields of a topic."""

    def __init__(self, fields: FieldMap) -> None:
        self.paths = fields.paths()
        self.rows = None if fields.rows is None else fields.rows_path()
        self.names = fields.names
        self.unnest = Unnesting(fields.depth, fields.lists)
        self.features: Path | None = None
        self.named: dict[str, Path] = {}
        self.taken: frozenset[Any] = frozenset()
        if isinstance(fields.features, str):
            at = self.features = parse_path(fields.features, "features")
            inside = [path for path in self.paths.values() if path[: len(at)] == at and len(path) > len(at)]
            self.taken = frozenset(path[len(at)] for path in inside)
        elif fields.features is not None:
            self.named = {name: parse_path(path, f"features.{name}") for name, path in fields.features.items()}
        self.is_named = "model_id" in fields.constants() or self._is_around("model_id")
        self.has_id = self._is_around("prediction_id")
        inner = [path for name, path in self.paths.items() if name not in IDS]
        inner += [*self.named.values(), *([self.features] if self.features else [])]
        # Only ids may stand in the key and in headers, where `LayoutDecoder` reads them.
        self.is_able = not fields.numbers and all(path[0] in (Root.RECORD, Root.ROW) for path in inner)

    def _is_around(self, field: str) -> bool:
        return field in self.paths and self.paths[field][0] in AROUND

    def learn(self, value: bytes) -> Layout | None:
        """The layout of a record; None if it is no event of plain values with a model and something to watch."""
        try:
            document = msgspec.json.decode(value)
            return _Lesson(self, document).layout(value) if isinstance(document, dict | list) else None
        except (ValueError, RecursionError, _UnfitError):
            return None


class _Lesson:
    """One record, and what is read of it. Raises `_UnfitError`."""

    def __init__(self, learner: Learner, document: Any) -> None:
        self._of, self._document = learner, document
        self._fixed: set[Place] = set()  # of values whose change would change what the record means
        self._roles: dict[Place, tuple[int, int]] = {}  # of a value that is read: its kind, and where it goes
        self._list: Place | None = None  # of the rows
        self._segment: Place | None = None
        self._has_features = False  # beside the segment
        self._bases: dict[Root, Place] = {Root.RECORD: ()}
        rows: Any = document
        if learner.rows is not None:
            self._list, rows = self._at(learner.rows)
            self._bases[Root.ROW] = (*self._list, 0)
        elif isinstance(document, list):
            self._list, self._bases = (), {Root.RECORD: (0,)}
        if self._list is not None and not (isinstance(rows, list) and rows):
            raise _UnfitError

    def layout(self, value: bytes) -> Layout:
        """The layout of the record."""
        has, texts = set[str](), set[str]()
        for name, to in IDS.items():
            place, found = self._plain(name)
            if found is not None:
                has.add(name)
                self._take(place, found, kernel.DIGITS, to, to, (int, str))
        if not (self._of.is_named or "model_id" in has):
            raise _UnfitError
        place, source = self._plain("source")
        if source is not None:  # the model goes before
            self._take(place, source, kernel.DIGITS, kernel.UNREAD, kernel.UNREAD, (int, str))
        columns, predicted = self._columns()
        categories = list[int]()
        for i, at in enumerate(columns.values()):
            kind = (
                kernel.PLAIN if at == self._segment or (i < predicted and not self._has_features) else kernel.NULLABLE
            )
            kinds = NUMBERS_AND_TEXTS if kind == kernel.PLAIN else (*NUMBERS_AND_TEXTS, bool, NoneType)
            to_text = kernel.CATEGORY + len(categories)
            if at is not None and self._take(at, self._value(at), kind, i, to_text, kinds):
                categories.append(i)
        texts |= {"prediction"} if predicted and 0 in categories else set()
        has |= {"prediction"} if predicted else set()
        for name, to, text in (("label", len(columns), kernel.LABEL), ("event_time", len(columns) + 1, kernel.TIME)):
            place, found = self._plain(name)
            if found is not None:
                has.add(name)
                texts |= {name} if self._take(place, found, kernel.PLAIN, to, text, NUMBERS_AND_TEXTS) else set()
        if not (columns or ("label" in has and ("prediction_id" in has or self._of.has_id))):
            raise _UnfitError
        named = tuple(name if i < predicted else TAKEN.get(name, name) for i, name in enumerate(columns))
        return self._drawn(value, named, tuple(categories), frozenset(has), frozenset(texts))

    def _columns(self) -> tuple[dict[str, Place | None], bool]:
        """The columns and their places, if any; and whether the first one is the prediction."""
        features = self._features()
        segment, of_segment = self._plain(SEGMENT)
        at, prediction = self._plain("prediction")
        if of_segment is not None:
            if SEGMENT in features or not (features or prediction is not None):
                raise _UnfitError
            features[SEGMENT] = self._segment = segment
        features = self._of.unnest.features(features)
        if isinstance(prediction, dict | list):
            outputs = self._of.unnest.prediction(self._tree(at, prediction))
            if not outputs:
                raise _UnfitError
            features, prediction, at = outputs | features, None, ()
        self._has_features = len(features) > (of_segment is not None)
        if any(isinstance(place, dict | list) for place in features.values()):
            raise _UnfitError  # not opened
        is_null = prediction is None and at in self._fixed  # a missing value, beside features
        if prediction is None and not (is_null and self._has_features):
            return features, False
        self._fixed.discard(at)
        renamed = {TAKEN.get(name, name): place for name, place in features.items()}
        if len(renamed) < len(features):
            raise _UnfitError
        return {"prediction": at, **renamed}, True

    def _features(self) -> dict[str, Any]:
        """The features, with the places of their values for these; None: the record lacks it."""
        if self._of.named:
            found = {name: self._at(path) for name, path in self._of.named.items()}
            if all(value is UNSET for _, value in found.values()):
                return {}
            return {name: None if one is UNSET else self._tree(place, one) for name, (place, one) in found.items()}
        if self._of.features is None:
            return {}
        place, members = self._at(self._of.features)
        if members is None or members is UNSET:
            self._fixed.add(place)
            return {}
        names, taken = self._of.names, self._of.taken
        if isinstance(members, list):
            if not isinstance(names, list) or taken or not len(set(names)) == len(names) == len(members):
                raise _UnfitError
            return {name: self._tree((*place, i), members[i]) for i, name in enumerate(names)}
        if not isinstance(members, dict):
            raise _UnfitError
        return {
            name: self._tree((*place, name), value)
            for name, value in members.items()
            if name not in taken and not (taken and isinstance(value, dict | list))
        }

    def _tree(self, place: Place, value: Any) -> Any:
        """A value whose numbers, texts and words are their places."""
        if isinstance(value, dict):
            return {name: self._tree((*place, name), one) for name, one in value.items()}
        return [self._tree((*place, i), one) for i, one in enumerate(value)] if isinstance(value, list) else place

    def _plain(self, field: str) -> tuple[Place, Any]:
        """The place and the value of a field; None where it is absent, or not in the value of the record."""
        path = self._of.paths.get(field)
        if path is None or path[0] in AROUND:
            return (), None
        place, value = self._at(path)
        if value is None:
            self._fixed.add(place)
        return place, None if value is UNSET else value

    def _at(self, path: Path) -> tuple[Place, Any]:
        """The place that a path leads to, and the value there; `UNSET` if there is none."""
        root, *steps = path
        place = self._bases[root]
        value = self._value(place)
        for step in steps:
            if isinstance(step, Select):
                place, value = self._selected(place, value, step)
            else:
                place, value = (*place, step), follow_step(value, step)
        in_list = self._list is not None and Root.ROW in self._bases and root is Root.RECORD
        if in_list and value is not UNSET and place[: len(self._list or ())] == (self._list or ())[: len(place)]:
            raise _UnfitError  # it contains the rows, or leads into them
        if isinstance(value, str) and steps[-1:] == ["data"]:
            raise _UnfitError  # it may be CSV or base64
        return place, value

    def _selected(self, place: Place, items: Any, step: Select) -> tuple[Place, Any]:
        """The item of a list whose member is the text of a step. Other texts there would choose another one."""
        for i, one in enumerate(items if isinstance(items, list) else ()):
            if isinstance(one, dict):
                self._fixed.add((*place, i, step.name))
        value = follow_step(items, step)
        at = next((i for i, one in enumerate(items) if one is value), 0) if value is not UNSET else 0
        return (*place, at), value

    def _value(self, place: Place) -> Any:
        value = self._document
        for step in place:
            value = follow_step(value, step)
        return value

    def _take(self, place: Place, value: Any, kind: int, to: int, to_text: int, kinds: tuple[type, ...]) -> bool:
        """Note that a value of one of these kinds is read; whether it is a text."""
        if type(value) not in kinds or place in self._roles or place in self._fixed:
            raise _UnfitError
        is_text = isinstance(value, str)
        self._roles[place] = (kernel.TEXT, to_text) if is_text else (kind, to)
        return is_text

    def _drawn(
        self, value: bytes, columns: tuple[str, ...], categories: tuple[int, ...], has: frozenset[str],
        texts: frozenset[str],
    ) -> Layout:  # fmt: skip
        """The layout, from the bytes of the record and the roles of its values."""
        tokens = list(tokens_of(value, DEPTH_MAX))
        opened = [one.place for one in tokens if one.first not in b"}]"]
        values = [one for one in tokens if one.first not in b"{}[]" and one.place not in self._fixed]
        if self._list is not None:
            first_item = (*self._list, 0)
            values = [one for one in values if not self._is_of_row(one.place) or _begins(one.place, first_item)]
        rows = [i for i, one in enumerate(values) if self._is_of_row(one.place)]
        if len(set(opened)) < len(opened) or (self._list is not None and not rows) or self._fixed & self._roles.keys():
            raise _UnfitError  # a member that is there twice, rows without values, or a value that is also read
        starts = [*(one.start + (one.first == QUOTE) for one in values), len(value)]
        ends = [0, *(one.end - (one.first == QUOTE) for one in values)]
        literals = [value[end:start] for end, start in zip(ends, starts, strict=True)]
        first, last = (rows[0], rows[-1] + 1) if rows else (-1, -1)
        again = b""
        if rows:
            heads = [one for one in tokens if one.place[:-1] == self._list and one.place and one.first not in b"}]"]
            tails = [one for one in tokens if one.place[:-1] == self._list and one.place and one.first not in b"{["]
            comma = b", " if b'": ' in value else b","
            between = value[tails[0].end : heads[1].start] if len(heads) > 1 else comma
            close = value[ends[last] : tails[0].end]
            literals[last] = close + value[tails[-1].end : starts[last]]
            again = close + between + value[heads[0].start : starts[first]]
        kinds = [
            self._roles.get(one.place, (kernel.TEXT if one.first == QUOTE else kernel.NULLABLE, kernel.UNREAD))
            for one in values
        ]
        kind, place = np.array(kinds, np.int64).reshape(-1, 2).T
        return Layout(
            np.frombuffer(b"".join([*literals, again]), np.uint8),
            np.cumsum([0, *map(len, literals), len(again)]),
            kind.astype(np.int8),
            place.copy(),
            (first, last),
            columns,
            categories,
            has,
            texts,
        )

    def _is_of_row(self, place: Place) -> bool:
        return self._list is not None and len(place) > len(self._list) and _begins(place, self._list)


def _begins(place: Place, with_: Place) -> bool:
    return place[: len(with_)] == with_
