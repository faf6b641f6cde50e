"""The values of many events as columns.

Events with the same feature names in the same order share a *layout*. All values of a layout are converted at once if
they are numbers, else feature by feature. Only a feature that mixes texts with other types is converted value by value.
Each path gives the same result. New names get ids in record order, within an event in its own order.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, compress, cycle, islice
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I32, I64
from detectors.series.decimals import number_in, scale_of
from streamer.codecs.event import NAME_CHARS_MAX
from streamer.events import LAG_COLUMN, MISFIT, NUMBER, OTHER_CATEGORY, PREDICTION_COLUMN, TEXT_NUMBER, Limit, NameTable

Layout = tuple[str, ...]
Refused = tuple[Limit, int, str]  # the limit, the index of the event, and the rejected name
BOOLEANS: Final = {"true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}
T = TypeVar("T")

NAN = float("nan")
NO_COLUMN = -1
LAYOUTS_FEW = 64  # up to so many layouts, and ...
EVENTS_OF_LAYOUT = 16  # ... with so many events of each on average, the work for each layout is small
TAKEN = {
    name: f"features.{name}" for name in ("prediction", "error", LAG_COLUMN)
}  # features with reserved names are renamed


@dataclass(frozen=True, slots=True)
class ValueColumns:
    """The values of `n` events, `m` in all: see `EventBatch`."""

    start: I64  # [n + 1]
    column: I32  # [m]
    number: F64  # [m]
    category: I32  # [m]
    dropped: int
    refused: list[Refused]  # the first of each limit


def values_of(
    features: Sequence[dict[str, Any]], predictions: Sequence[Any], predicted: NDArray[np.bool_],
    columns: NameTable, categories: NameTable,
) -> ValueColumns:  # fmt: skip
    """The prediction of each event, where it has one, followed by its features."""
    keys: list[Layout] = list(map(tuple, features))
    # In order of first sight, so new columns get their ids in record order. Equal ones are rarely hashed.
    layouts = keys[:1] if keys.count(keys[0] if keys else ()) == len(keys) else list(dict.fromkeys(keys))
    if len(layouts) > max(LAYOUTS_FEW, len(features) // EVENTS_OF_LAYOUT):
        return _of_many_layouts(features, predictions, predicted, columns, categories)
    columns_of = [_column_ids(layout, columns) for layout in layouts]
    width = np.array([np.count_nonzero(ids >= 0) for ids in columns_of], np.int64)
    layout = _numbered(keys, layouts)
    start = np.zeros(len(features) + 1, np.int64)
    np.cumsum(predicted + width[layout], out=start[1:])
    column = np.full(start[-1], PREDICTION_COLUMN, np.int32)
    writer = _Writer(int(start[-1]), categories)
    dropped = 0
    refused: list[Refused] = []
    for names, ids, events in zip(layouts, columns_of, _groups(layout, len(layouts)), strict=True):
        rows = features if len(layouts) == 1 else [features[i] for i in events.tolist()]
        flat = list(chain.from_iterable(map(dict.values, rows)))
        kept = ids >= 0
        if not kept.all():
            dropped += len(events) * int(np.count_nonzero(~kept))
            refused += [] if refused else _first_rejected(names, ids, int(events[0]))
            flat = list(compress(flat, cycle(kept.tolist())))
        where = (start[events] + predicted[events])[:, None] + np.arange(np.count_nonzero(kept))
        column[where] = ids[kept]
        writer.put_rows(flat, where)
    writer.put_rows(chosen(predictions, predicted), start[:-1][predicted, None])
    refused += [(Limit.CATEGORIES, int(np.searchsorted(start, at, "right")) - 1, text) for at, text in writer.settle()]
    return ValueColumns(start, column, writer.number, writer.category, dropped, refused)


def _of_many_layouts(
    features: Sequence[dict[str, Any]], predictions: Sequence[Any], predicted: NDArray[np.bool_],
    columns: NameTable, categories: NameTable,
) -> ValueColumns:  # fmt: skip
    """The same where hardly two events share a layout: value by value, without work for each layout."""
    names: list[str] = list(chain.from_iterable(features))
    flat: Sequence[Any] = list(chain.from_iterable(map(dict.values, features)))
    of_name = dict(zip(dict.fromkeys(names), _column_ids(tuple(dict.fromkeys(names)), columns).tolist(), strict=True))
    ids = np.fromiter(map(of_name.__getitem__, names), np.int64, len(names))
    event = np.repeat(np.arange(len(features)), np.fromiter(map(len, features), np.int64, len(features)))
    kept = ids >= 0
    refused: list[Refused] = []
    if not kept.all():
        lost = (i for i in np.flatnonzero(~kept).tolist() if len(TAKEN.get(names[i], names[i])) <= NAME_CHARS_MAX)
        refused = [(Limit.COLUMNS, int(event[i]), TAKEN.get(names[i], names[i])) for i in islice(lost, 1)]
        flat, ids, event = list(compress(flat, kept.tolist())), ids[kept], event[kept]
    start = np.zeros(len(features) + 1, np.int64)
    np.cumsum(predicted + np.bincount(event, minlength=len(features)), out=start[1:])
    where = np.arange(len(flat)) + np.cumsum(predicted)[event]
    column = np.full(start[-1], PREDICTION_COLUMN, np.int32)
    column[where] = ids
    writer = _Writer(int(start[-1]), categories)
    writer.put_scattered(flat, where, ids)
    writer.put_rows(chosen(predictions, predicted), start[:-1][predicted, None])
    refused += [(Limit.CATEGORIES, int(np.searchsorted(start, at, "right")) - 1, text) for at, text in writer.settle()]
    return ValueColumns(start, column, writer.number, writer.category, int(np.count_nonzero(~kept)), refused)


def text_number(text: str) -> tuple[float, int] | None:
    """The number that a text reads as, and its category in an `EventBatch`; None for names."""
    number = number_in(text)
    return None if number is None else (number, TEXT_NUMBER - 1 - scale_of(text))


def _text_numbers(texts: Sequence[str]) -> tuple[F64, I32] | None:
    """The same of many texts, as columns; None if any of them is no number."""
    found = []
    for text in texts:
        one = text_number(text)
        if one is None:
            return None
        found.append(one)
    numbers, categories = zip(*found, strict=True)
    return np.array(numbers), np.array(categories, np.int32)


def chosen(items: Sequence[T], keep: NDArray[np.bool_]) -> Sequence[T]:
    """The items where `keep` is true."""
    return items if keep.all() else list(compress(items, keep.tolist()))


def as_numbers(values: Sequence[Any]) -> F64 | None:
    """The values as doubles if all are numbers, booleans or null (NaN), else None."""
    try:
        return np.asarray(array("d", values), np.float64)  # array() converts like float(), but refuses texts
    except (TypeError, OverflowError):
        pass
    try:
        return np.asarray(array("d", [NAN if value is None else value for value in values]), np.float64)
    except (TypeError, OverflowError):
        return None


def as_number(value: Any) -> float:
    """One value as a double: NaN for other types, and for integers beyond the range of doubles."""
    try:
        return float(value) if isinstance(value, float | int) else NAN
    except OverflowError:
        return NAN


def _numbered(keys: Sequence[Layout], layouts: Sequence[Layout]) -> I64:
    """The layout of each event as an index into `layouts`."""
    if len(layouts) == 1:
        return np.zeros(len(keys), np.int64)
    number_of = {layout: i for i, layout in enumerate(layouts)}
    return np.fromiter(map(number_of.__getitem__, keys), np.int64, len(keys))


def _groups(group: I64, groups: int) -> list[I64]:
    """The indices of the members of each group, in order."""
    ends = np.cumsum(np.bincount(group, minlength=groups))
    return np.split(np.argsort(group, kind="stable"), ends[:-1]) if groups else []


def _column_ids(keys: Layout, columns: NameTable) -> I64:
    """The columns of the features of a layout; `NO_COLUMN` where the table is full or the name is too long."""
    names = [TAKEN.get(key, key) for key in keys]
    return np.array([columns.id_of(n) if len(n) <= NAME_CHARS_MAX else NO_COLUMN for n in names], np.int64)


def _first_rejected(layout: Layout, ids: I64, event: int) -> list[Refused]:
    """The first feature of a layout that the full table of columns rejected, if any."""
    names = [TAKEN.get(key, key) for key in layout]
    lost = (name for name, i in zip(names, ids.tolist(), strict=True) if i < 0 and len(name) <= NAME_CHARS_MAX)
    return [(Limit.COLUMNS, event, name) for name in islice(lost, 1)]


class _Writer:
    """Writes values to their places among `m`; unwritten places are missing numbers."""

    def __init__(self, m: int, categories: NameTable) -> None:
        self.number = np.full(m, NAN)
        self.category = np.full(m, NUMBER, np.int32)
        self._categories = categories
        self._unknown: list[tuple[int, str]] = []  # places of texts without an id

    def put_rows(self, flat: Sequence[Any], where: I64) -> None:
        """Write the values of `n` events of one layout, event by event, to their places [n, features]."""
        width = where.shape[1]
        numbers = None if str in set(map(type, flat[:width])) else as_numbers(flat)
        if numbers is not None:
            self.number[where.ravel()] = numbers
            return
        for i in range(width):
            self._put_column(flat[i::width], where[:, i])

    def put_scattered(self, flat: Sequence[Any], where: I64, column: I64) -> None:
        """Write values [n] to their places [n]; `column` [n] groups those that are likely of one type."""
        numbers = as_numbers(flat)
        if numbers is not None:
            self.number[where] = numbers
            return
        for of_one in _groups(column, int(column.max()) + 1):
            if len(of_one):
                self._put_column([flat[i] for i in of_one.tolist()], where[of_one])

    def settle(self) -> list[tuple[int, str]]:
        """Give ids to new texts, in record order, and make infinite values missing.

        Returns the place and the text of the first that the full table rejected, if any.
        """
        table = self._categories
        lost: list[tuple[int, str]] = []
        for place, text in sorted(self._unknown):
            if text not in table.ids and (read := text_number(text)) is not None:
                self.number[place], self.category[place] = read
                continue
            known = table.id_of(text) if len(text) <= NAME_CHARS_MAX else -1
            self.category[place] = known if known >= 0 else OTHER_CATEGORY
            if known < 0 and not lost and len(text) <= NAME_CHARS_MAX:
                lost.append((place, text))
        self.number[np.isinf(self.number)] = NAN
        for text, number in BOOLEANS.items():
            if (word := table.ids.get(text, -1)) >= 0:
                self.number[self.category == word] = number
        return lost

    def _put_column(self, values: Sequence[Any], where: I64) -> None:
        numbers = None if type(values[0]) is str else as_numbers(values)
        if numbers is not None:
            self.number[where] = numbers
        elif set(map(type, values)) == {str} and self._put_texts(values, where):
            return
        else:
            for value, place in zip(values, where.tolist(), strict=True):
                self._put(value, place)

    def _put_texts(self, texts: Sequence[str], where: I64) -> bool:
        """Write texts that are all known, or all numbers; False where they are neither."""
        ids = [self._categories.ids.get(text, -1) for text in texts]
        if -1 not in ids:
            self.category[where] = ids
        elif max(ids) < 0 and (read := _text_numbers(texts)) is not None:
            self.number[where], self.category[where] = read
        else:
            return False
        return True

    def _put(self, value: Any, place: int) -> None:
        if isinstance(value, str):
            self._unknown.append((place, value))
        elif isinstance(value, float | int):
            self.number[place] = as_number(value)
        elif value is not None:
            self.category[place] = MISFIT
