"""Decodes records of JSON that fit a layout, and leaves the others to the plain way, which gives the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET

from detectors.arrays.types import F64, I32, I64, U8, U64, Bools
from streamer.codecs.base import DeadLetters
from streamer.codecs.batch_builder import TimeBounds
from streamer.codecs.class_labels import encode_texts
from streamer.codecs.document_codec import RecordSettings
from streamer.codecs.event import Refused
from streamer.codecs.event_columns import join_ids, join_ids_at, seeds_of
from streamer.codecs.field_paths import Envelope, FieldMap, Path, Root, getter
from streamer.codecs.tables.json_layout import CATEGORY, JOIN, LABEL, MODEL, TIME
from streamer.codecs.tables.layout_learning import AROUND, IDS, Layout, Learner
from streamer.codecs.times import END_MS, UNREADABLE, from_epochs, times_ms
from streamer.codecs.values import BOOLEANS, text_number
from streamer.eventlog.base import Records
from streamer.events import NUMBER, EventBatch, EventKind, Names, NameTable, joined

TIME_MIN: Final = "2026-01-01T00:00:00"  # the shortest time whose zone is looked for
BYTES_MIN: Final = 1 << 14  # less is decoded the plain way: each block takes some work
LAYOUTS_MAX: Final = 4  # of a topic at a time
PAUSE_MAX: Final = 63
MISSES_MAX: Final = 8  # blocks in a row that mostly do not fit, after which ...
REST: Final = 256  # ... so many blocks are decoded the plain way

Plain = Callable[[Records], tuple[EventBatch, DeadLetters]]
Around = Sequence[Callable[[int], Any]]  # readers of the key and the headers of a record, if any field needs them
AroundOf = Callable[[Records], Around]
FrameOf = Callable[[Records], I64 | int]  # the size of what precedes the JSON in each value


class LayoutDecoder:
    """Keeps layouts and counts as a cache: they have no effect on results."""

    def __init__(
        self, learner: Learner, settings: RecordSettings, bounds: TimeBounds, around: AroundOf, frame: FrameOf
    ) -> None:
        self._learner, self._bounds, self._around, self._frame = learner, bounds, around, frame
        self._value_bytes_max, self._rows_max = settings.value_bytes_max, settings.rows_max
        fields, paths = settings.fields, settings.fields.paths()
        self._constants = fields.constants()
        self._paths = {name: path for name, path in paths.items() if name in IDS and path[0] in AROUND}
        self._shares_id = fields.rows is not None and paths.get("prediction_id", (Root.ROW,))[0] is not Root.ROW
        self._layouts: list[Layout] = []
        self._pause = self._pauses = 0  # blocks until a layout is learnt again, and those of the latest pause
        self._misses = 0
        self._rest = 0  # blocks that are still left to the plain way

    def decode(self, records: Records, names: Names, plain: Plain) -> tuple[EventBatch, DeadLetters]:
        """See `Codec.decode`."""
        if self._rest or int((records.value[:, 1] - records.value[:, 0]).sum()) < BYTES_MIN:
            self._rest = max(self._rest - 1, 0)
            return plain(records)
        return self._decoded(records, names, plain)

    def _decoded(
        self, records: Records, names: Names, plain: Plain, *, is_rest: bool = False
    ) -> tuple[EventBatch, DeadLetters]:
        """The events of a block, or of the rest of one whose first records brought new names."""
        left, batches, places = np.ones(len(records), np.bool_), list[EventBatch](), list[I64]()
        reads = self._read(records)
        for found in reads:
            index, batch = self._batch(records, found, names) or (None, None)
            if batch is not None and index is not None:
                left[index] = False
                batches.append(batch)
                places.append(index)
        head = 0 if is_rest or not left.all() or not any(len(found.index) for found in reads) else len(records) // 16
        if head:
            batch, dead = plain(records.part(0, head))
            after, letters = self._decoded(records.part(head, len(records)), names, plain, is_rest=True)
            dead.extend(letters, head)
            return joined([batch, after]), dead
        self._count(len(records) - int(np.count_nonzero(left)), len(records))
        dead = DeadLetters()
        if left.all():
            return plain(records)
        if left.any():
            batch, letters = plain(records.only(left))
            at = np.flatnonzero(left)
            dead.index, dead.reason, dead.detail = at[letters.index].tolist(), letters.reason, letters.detail
            batches.append(batch)
            places.append(np.searchsorted(records.offset, batch.offset))
        if len(batches) == 1:
            return batches[0], dead
        return joined(batches).in_order(np.argsort(np.concatenate(places), kind="stable")), dead

    def _read(self, records: Records) -> list[_Reading]:
        """What each layout reads of the records that fit none before it. Learns at most one layout."""
        spans = records.value.copy()
        spans[:, 0] += self._frame(records)
        spans[(records.value[:, 0] < 0) | (records.value[:, 1] - records.value[:, 0] > self._value_bytes_max)] = -1
        found = [_Reading.of(layout, records, spans) for layout in self._layouts]
        left = np.flatnonzero(spans[:, 0] >= 0)
        if len(left) and len(self._layouts) < LAYOUTS_MAX:
            self._pause -= 1
            if self._pause < 0 and (learnt := self._learnt(records.data[slice(*spans[left[0]])].tobytes())) is not None:
                self._layouts.append(learnt)
                found.append(_Reading.of(learnt, records, spans))
        return found

    def _learnt(self, value: bytes) -> Layout | None:
        """The layout of a record, if it has a new one. Otherwise, a longer and longer pause follows."""
        learnt = self._learner.learn(value)
        if learnt is None or any(learnt.is_like(one) for one in self._layouts):
            self._pauses = min(2 * self._pauses + 1, PAUSE_MAX)
            self._pause = self._pauses
            return None
        self._pauses = 0
        return learnt

    def _count(self, fitting: int, n: int) -> None:
        """Rest for a while, and forget the layouts, where most records of several blocks did not fit."""
        self._misses = 0 if 2 * fitting >= n else self._misses + 1
        if self._misses == MISSES_MAX:
            self._misses, self._rest, self._layouts = 0, REST, []

    def _batch(self, records: Records, found: _Reading, names: Names) -> tuple[I64, EventBatch] | None:
        """The records of events of one layout, and these; without records that have a fault, or a new name."""
        layout, index, n = found.layout, found.index, len(found.index)
        width = len(layout.columns)
        column = np.fromiter(map(names.columns.ids.get, layout.columns, repeat(-1)), np.int32, width)
        has_new = (column < 0).any() or width > self._bounds.values_max
        if not n or has_new or ("label" in layout.texts and names.classes is not None):
            return None
        bad = found.width > self._rows_max
        time_ms = self._times(records, found, bad)
        ids = _Ids(self._constants, self._paths, self._around(records) if self._paths else (), found)
        model, version = ids.of(names.models, "model_id", bad), ids.of(names.versions, "model_version", bad)
        numbers = found.numbers
        number, category = numbers[:, :width].copy(), np.full((n, width), NUMBER, np.int32)
        _put_categories(found, names.categories, number, category, bad)
        kind = EventKind.PREDICTION if width else EventKind(0)
        kind |= EventKind.LABEL if "label" in layout.has else EventKind(0)
        batch = EventBatch(
            records.topic,
            records.partition,
            np.full(n, kind, np.uint8),
            model,
            version,
            time_ms,
            records.offset[index],
            found.row,
            ids.joins(self._shares_id, bad),
            _predictions(found),
            encode_texts(found.texts[LABEL]) if "label" in layout.texts else numbers[:, width].copy(),
            np.arange(n + 1) * width,
            np.tile(column, n),
            number.ravel(),
            category.ravel(),
        )
        if not bad.any():
            return index, batch
        keep = ~np.isin(index, index[bad])
        return (index[keep], batch.only(keep)) if keep.any() else None

    def _times(self, records: Records, found: _Reading, bad: Bools) -> I64:
        """The event times; notes those that are out of bounds, or a text that may lack a time zone."""
        record_ms, unit = records.timestamp_ms[found.index], self._bounds.event_time_unit
        if "event_time" in found.layout.texts:
            bad |= ~found.texts.have_zones(TIME)
            time_ms = times_ms(found.texts[TIME], unit, record_ms, self._bounds.zone)
        elif "event_time" in found.layout.has:
            time_ms = from_epochs(found.numbers[:, -1], unit)
        else:
            time_ms = np.where(record_ms < END_MS, record_ms, UNREADABLE)
        bad |= (time_ms < 0) | ((record_ms >= 0) & (time_ms - record_ms > self._bounds.skew_max_s * 1000))
        return time_ms


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a layout reads of records: `n` events."""

    layout: Layout
    index: I64  # [n] the record
    row: I32  # [n]
    width: I64  # [n] events of the record
    numbers: F64  # [n, columns + 2]
    texts: _Texts

    @classmethod
    def of(cls, layout: Layout, records: Records, spans: I64) -> _Reading:
        """The records that fit, at their spans [n, 2]; these become -1."""
        width, numbers, texts = layout.read(records.data, spans)
        spans[width > 0] = -1
        index = np.repeat(np.arange(len(spans)), width)
        row = np.arange(len(index)) - np.repeat(np.cumsum(width) - width, width)
        return cls(layout, index, row.astype(np.int32), width[index], numbers, _Texts(records.data, texts))


@dataclass(frozen=True, slots=True)
class _Ids:
    """Models, versions and prediction ids of events: constants, of the key or the headers, or read by a layout."""

    constants: dict[str, str]
    paths: dict[str, Path]  # of those in the key or the headers
    around: Around
    found: _Reading

    def of(self, table: NameTable, field: str, bad: Bools) -> I32:
        """The ids of the names of a field; -1: none. Notes the events with a name that is new."""
        ids = np.full(len(bad), -1, np.int32)
        if field in self.constants:
            ids[:] = table.ids.get(self.constants[field], -1)
        elif field in self.paths:
            ids[:] = _ids(table, self._texts_around(field))
        elif field in self.found.layout.has:
            ids[:] = _ids(table, self.found.texts.few(IDS[field]))  # one for all, or one each
        else:
            return ids
        bad |= ids < 0
        return ids

    def _texts_around(self, field: str) -> list[str]:
        """The texts of a field in the key or the headers; "" where the plain way is to say what is there."""
        known: dict[int, str] = {}
        read, root = getter(self.paths[field]), self.paths[field][0]
        part = self.around[AROUND.index(root)]
        for i in dict.fromkeys(self.found.index.tolist()):
            try:
                value = read(Envelope(UNSET, UNSET, *((part(i), UNSET) if root is Root.KEY else (UNSET, part(i)))))
            except Refused:
                value = ""
            known[i] = str(value) if type(value) in (str, int) else ""
        return list(map(known.__getitem__, self.found.index.tolist()))

    def joins(self, are_shared: bool, bad: Bools) -> U64:
        """The hashes of the prediction ids; 0 where there is none."""
        n, found = len(self.found.index), self.found
        if "prediction_id" in found.layout.has:
            if not are_shared and (places := found.texts.plain(JOIN)):
                return join_ids_at(*places, seeds_of(self._owners()))
            ids = found.texts[JOIN]
        elif "prediction_id" in self.paths:
            ids = self._texts_around("prediction_id")
            bad |= np.array([not one for one in ids])
        else:
            return np.zeros(n, np.uint64)
        if are_shared:
            pairs = zip(ids, found.row.tolist(), (found.width > 1).tolist(), strict=True)
            ids = [f"{one}/{row}" if one and is_one_of_several else one for one, row, is_one_of_several in pairs]
        return join_ids(self._owners(), ids)

    def _owners(self) -> list[str]:
        if "model_id" in self.constants:
            return [self.constants["model_id"]] * len(self.found.index)
        return self._texts_around("model_id") if "model_id" in self.paths else self.found.texts[MODEL]


class _Texts:
    """The texts of events, by their place in a layout."""

    def __init__(self, data: U8, spans: I64) -> None:
        self._data, self._spans = data, spans

    def __getitem__(self, place: int) -> list[str]:
        return _texts_of(self._lines(place)) if len(self._spans) else []

    def _lines(self, place: int) -> bytes:
        start, end = self._spans[:, place].T
        width = end - start + 1  # with the byte behind, which becomes a mark between texts that none of them has
        after = np.cumsum(width)
        found = self._data[np.repeat(start - after + width, width) + np.arange(after[-1])]
        found[after - 1] = ord("\n")
        return bytes(found[:-1].data)

    def plain(self, place: int) -> tuple[U8, I64, I64] | None:
        """The bytes, and where the texts begin and end in them; None where one of them has an escape."""
        return None if b"\\" in self._lines(place) else (self._data, *self._spans[:, place].T)

    def few(self, place: int) -> list[str]:
        """The texts; only the first one where all are the same."""
        start, end = self._spans[:, place].T
        size = int(end[0] - start[0])
        if (end - start == size).all():
            text = self._data[start[:, None] + np.arange(size)]
            if (text == text[0]).all():
                return _texts_of(text[0].tobytes())
        return self[place]

    def have_zones(self, place: int) -> Bools:
        """Which texts end as a time with a zone does."""
        end, size = self._spans[:, place, 1], self._spans[:, place, 1] - self._spans[:, place, 0]
        is_offset = (self._data[end - 6] == ord("+")) | (self._data[end - 6] == ord("-"))
        is_utc = (self._data[end - 1] | 32) == ord("z")
        return np.asarray(
            (is_utc | (is_offset & (self._data[end - 3] == ord(":")))) & (size >= len(TIME_MIN)), np.bool_
        )


def compile_layouts() -> None:
    """Compile what reading calls, or load it from numba's cache."""
    value = b'{"model_id":"m","event_time":1,"prediction":1}'
    if (layout := Learner(FieldMap()).learn(value)) is not None:
        layout.read(np.frombuffer(value, np.uint8), np.array([[0, len(value)]]))


def _put_categories(found: _Reading, table: NameTable, number: F64, category: I32, bad: Bools) -> None:
    """Write the columns that are texts; notes the events with a text that is new."""
    for i, of_text in enumerate(found.layout.categories):
        texts = found.texts[CATEGORY + i]
        ids = _ids(table, texts)
        for at in np.flatnonzero(ids < 0).tolist():
            if (read := text_number(texts[at])) is None:
                bad[at] = True
            else:
                number[at, of_text], ids[at] = read
        category[:, of_text] = ids
    if of_texts := list(found.layout.categories):
        number[np.isinf(number)] = np.nan
        for text, truth in BOOLEANS.items():
            if (word := table.ids.get(text, -1)) >= 0:
                for at in of_texts:
                    number[category[:, at] == word, at] = truth


def _predictions(found: _Reading) -> F64:
    if "prediction" not in found.layout.has:
        return np.full(len(found.index), np.nan)
    if "prediction" not in found.layout.texts:
        return found.numbers[:, 0].copy()
    numbers = encode_texts(found.texts[CATEGORY])
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _texts_of(lines: bytes) -> list[str]:
    """The texts in lines of JSON without quotes."""
    if b"\\" not in lines:
        return lines.decode().split("\n")
    return [msgspec.json.decode(b'"%b"' % one, type=str) for one in lines.split(b"\n")]


def _ids(table: NameTable, texts: list[str]) -> I32:
    """The ids of the texts; -1 for new ones."""
    return np.fromiter(map(table.ids.get, texts, repeat(-1)), np.int32, len(texts))
