"""The codecs `json` and `json_schema`: a record is a JSON object with the fields of `event.py`, or with others by a
`FieldMap`; or a list of such objects.

Each record takes one call of the msgspec parser. Members that no field reads are skipped where the fields are the
canonical ones, so they may be of any type, and even of invalid UTF-8. `json_schema` is JSON behind the framing of a
schema registry. The schema itself is not needed: JSON names its members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, repeat
from typing import Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from detectors.arrays.types import F64, I32, I64
from streamer.codecs import json_lenient as json_text
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.batch_builder import Refusals, TimeBounds
from streamer.codecs.document_codec import DocumentCodec, RecordSettings, values_at
from streamer.codecs.event import Event, Refused
from streamer.codecs.event_columns import join_ids
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.schemas.framing import frame_bytes, likeness, strip_frame
from streamer.codecs.tables.json_layout import CATEGORY, JOIN, MODEL, TIME, VERSION, Layout, learn
from streamer.codecs.times import UNREADABLE, from_epochs, times_ms
from streamer.codecs.values import BOOLEANS
from streamer.eventlog.base import Records
from streamer.events import NUMBER, EventBatch, EventKind, Names, NameTable, joined
from streamer.logs import log_of

RECORDS_MIN: Final = 64  # fewer are decoded the plain way: each stretch takes some work
LAYOUTS_MAX: Final = 4  # of a topic at a time
STRETCHES_MAX: Final = 16  # of a block; shorter ones on average are not worth their work
MISSES_MAX: Final = 8  # blocks in a row that mostly do not fit, after which ...
REST: Final = 256  # ... so many blocks are decoded the plain way

log = log_of("codecs")


@dataclass(frozen=True, slots=True)
class JsonSettings(RecordSettings):
    """Format, fields and limits of the events of a topic. Some settings are of single formats."""


@dataclass(frozen=True, slots=True)
class JsonSchemaSettings(RecordSettings):
    """The settings of JSON behind the framing of a schema registry."""


class JsonCodec(DocumentCodec):
    """Decodes JSON. Keeps no state besides its settings and caches."""

    has_layouts: ClassVar[bool] = True  # whether values begin with their JSON

    def __init__(self, settings: RecordSettings) -> None:
        super().__init__(settings)
        self.gives_events = settings.fields == FieldMap() and settings.preset is None
        self._has_said_framing = False  # once for each process, so not part of the state
        self._any = msgspec.json.Decoder().decode
        self._decode = self._decoder()
        is_fast = self.gives_events and self.has_layouts
        self._layouts = LayoutDecoder(self._bounds, settings.value_bytes_max) if is_fast else None

    def decode_block(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `DocumentCodec`."""
        plain = partial(super().decode_block, names=names)
        return plain(records) if self._layouts is None else self._layouts.decode(records, names, plain)

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        return map(self._decode, values_at(records, index))

    def plain(self, records: Records, i: int) -> Any:
        """See `DocumentCodec`. Framing around JSON is taken off."""
        value = records.value_of(i) or b""
        try:
            return self._document(value)
        except Refused as why:
            frame, payload = strip_frame(value)
            if frame is not None and payload.lstrip()[:1] in (b"{", b"["):
                self._say_framing(records.topic, frame)
                return json_text.parse(payload)
            framing = likeness(value, records.headers_of(i)) if why.reason in _OF_OTHERS else None
            raise Refused(Reason.OTHER_FORMAT, framing) if framing else why from None

    def opened(self, document: Any) -> Any:
        """See `DocumentCodec`."""
        if isinstance(document, str) and document.lstrip()[:1] in ("{", "["):
            return json_text.parse(document.encode(errors="surrogatepass"))
        return document

    def _document(self, value: bytes) -> Any:
        try:
            return self._any(value)  # nested values are no error
        except self.errors:
            return json_text.parse(value)

    def _decoder(self) -> Callable[[Any], Any]:
        if self.gives_events:
            return msgspec.json.Decoder(Event | Annotated[list[Event], msgspec.Meta(min_length=1)]).decode
        return msgspec.json.Decoder().decode

    def _readable(self, records: Records, refused: Refusals) -> I64:
        """The records that are not null, too large or too deep."""
        index = super()._readable(records, refused)
        size = records.value[index, 1] - records.value[index, 0]
        for i in index[size > 2 * json_text.DEPTH_MAX].tolist():  # each level takes two bytes
            if json_text.is_too_deep(records.value_of(i) or b""):
                refused[i] = Refused(Reason.TOO_DEEP, f"the value is nested deeper than {json_text.DEPTH_MAX} levels")
        return np.setdiff1d(index, list(refused), assume_unique=True)

    def _say_framing(self, topic: str, frame: str) -> None:
        if not self._has_said_framing:
            self._has_said_framing = True
            log.warning("topic %s: values are JSON behind %s; set topics.%s.format to json_schema", topic, frame, topic)


class JsonSchemaCodec(JsonCodec):
    """Decodes JSON behind the framing of a schema registry, or with the id of its schema in a header."""

    has_layouts: ClassVar[bool] = False

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        return map(self._decode, values_at(records, index, frame_bytes(records, index)))

    def _say_framing(self, topic: str, frame: str) -> None:
        """Framing is what this format is about."""


Plain = Callable[[Records], tuple[EventBatch, DeadLetters]]


class LayoutDecoder:
    """Decodes stretches of records that fit a layout, and leaves the others to the plain way, which gives the same.

    The layouts and counts are a cache: they have no effect on results.
    """

    def __init__(self, bounds: TimeBounds, value_bytes_max: int) -> None:
        self._bounds = bounds
        self._value_bytes_max = value_bytes_max
        self._layouts: list[Layout] = []
        self._misses = 0
        self._rest = 0  # blocks that are still left to the plain way

    def decode(self, records: Records, names: Names, plain: Plain) -> tuple[EventBatch, DeadLetters]:
        """See `Codec.decode`."""
        if self._rest or len(records) < RECORDS_MIN:
            self._rest = max(self._rest - 1, 0)
            return plain(records)
        which, found = self._read(records)
        edges = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(records)]
        dead, batches, fitting = DeadLetters(), [], 0
        for first, last in pairwise(edges) if len(edges) <= STRETCHES_MAX + 1 else ():
            part, at = records.part(first, last), int(which[first])
            batch = None
            if at >= 0:
                numbers, texts = found[at]
                batch = self._batch(part, self._layouts[at], numbers[first:last], texts[first:last], names)
            if batch is None:
                batch, letters = plain(part)
                dead.extend(letters, first)
            else:
                fitting += len(part)
            batches.append(batch)
        self._count(fitting, len(records))
        return (joined(batches), dead) if batches else plain(records)

    def _read(self, records: Records) -> tuple[I64, list[tuple[F64, I64]]]:
        """The layout of each record, or -1; and what each layout has read. Learns at most one layout."""
        spans = records.value.copy()
        spans[spans[:, 1] - spans[:, 0] > self._value_bytes_max] = -1
        which, found = np.full(len(records), -1, np.int64), list[tuple[F64, I64]]()
        for at, layout in enumerate(self._layouts):
            _read_as(at, layout, records, spans, which, found)
        left = np.flatnonzero((which < 0) & (spans[:, 0] >= 0))
        if len(left) and len(self._layouts) < LAYOUTS_MAX:
            learnt = learn(records.value_of(int(left[0])) or b"")
            if learnt is not None:
                self._layouts.append(learnt)
                _read_as(len(found), learnt, records, spans, which, found)
        return which, found

    def _count(self, fitting: int, n: int) -> None:
        """Rest for a while, and forget the layouts, where most records of several blocks did not fit."""
        self._misses = 0 if 2 * fitting >= n else self._misses + 1
        if self._misses == MISSES_MAX:
            self._misses, self._rest, self._layouts = 0, REST, []

    def _batch(self, records: Records, layout: Layout, numbers: F64, texts: I64, names: Names) -> EventBatch | None:
        """The batch of records of one layout; None where one has a fault, or a name that is new."""
        n, width = len(records), len(layout.columns)
        column = np.fromiter(map(names.columns.ids.get, layout.columns, repeat(-1)), np.int32, width)
        text_of = _Texts(records, texts)
        owners = text_of[MODEL]
        model, version = _ids(names.models, owners), np.full(n, -1, np.int32)
        if has_version := "model_version" in layout.has:
            version[:] = _ids(names.versions, text_of.few(VERSION))  # one for all, or one each
        is_new = (column < 0).any() or (model < 0).any() or (has_version and (version < 0).any())
        time_ms = None if is_new or width > self._bounds.values_max else self._times(records, layout, numbers, text_of)
        if time_ms is None:
            return None
        number, category = numbers[:, :width].copy(), np.full((n, width), NUMBER, np.int32)
        for i, of_text in enumerate(layout.categories):
            category[:, of_text] = _ids(names.categories, text_of[CATEGORY + i])
            if (category[:, of_text] < 0).any():
                return None
        for text, truth in BOOLEANS.items() if layout.categories else ():
            if (word := names.categories.ids.get(text, -1)) >= 0:
                number[category == word] = truth
        nothing, is_joined = np.full(n, np.nan), "prediction_id" in layout.has
        kind = EventKind.PREDICTION | (EventKind.LABEL if "label" in layout.has else 0)
        return EventBatch(
            records.topic,
            records.partition,
            np.full(n, kind, np.uint8),
            model,
            version,
            time_ms,
            records.offset.copy(),
            np.zeros(n, np.int32),
            join_ids(owners, text_of[JOIN]) if is_joined else np.zeros(n, np.uint64),
            number[:, 0].copy() if "prediction" in layout.has else nothing,
            numbers[:, width].copy() if "label" in layout.has else nothing,
            np.arange(n + 1) * width,
            np.tile(column, n),
            number.ravel(),
            category.ravel(),
        )

    def _times(self, records: Records, layout: Layout, numbers: F64, text_of: _Texts) -> I64 | None:
        """The event times; None where one is out of its bounds, or a text that may lack a time zone."""
        record_ms, unit = records.timestamp_ms, self._bounds.event_time_unit
        if not layout.has_text_time:
            time_ms = from_epochs(numbers[:, -1], unit)
        elif text_of.have_zones(TIME):
            time_ms = times_ms(text_of[TIME], unit, record_ms, self._bounds.zone)
        else:
            return None
        is_ahead = (record_ms >= 0) & (time_ms - record_ms > self._bounds.skew_max_s * 1000)
        return None if (time_ms == UNREADABLE).any() or is_ahead.any() else time_ms


class _Texts:
    """The texts of records, by their place in a layout."""

    def __init__(self, records: Records, spans: I64) -> None:
        first, last = int(records.value[:, 0].min()), int(records.value[:, 1].max())
        self._data, self._text = records.data, records.data[first:last].tobytes().decode("latin-1")
        self._spans, self._first = spans, first

    def __getitem__(self, place: int) -> list[str]:
        start, end = (self._spans[:, place] - self._first).T
        return list(map(self._text.__getitem__, map(slice, start.tolist(), end.tolist())))

    def few(self, place: int) -> list[str]:
        """The texts; only the first one where all are the same."""
        start, end = self._spans[:, place].T
        size = int(end[0] - start[0])
        if (end - start == size).all():
            text = self._data[start[:, None] + np.arange(size)]
            if (text == text[0]).all():
                return [self._text[int(start[0]) - self._first : int(end[0]) - self._first]]
        return self[place]

    def have_zones(self, place: int) -> bool:
        """Whether all texts end as a time with a zone does."""
        end, size = self._spans[:, place, 1], self._spans[:, place, 1] - self._spans[:, place, 0]
        if (size < len("2026-01-01T00:00:00")).any():
            return False
        is_offset = (self._data[end - 6] == ord("+")) | (self._data[end - 6] == ord("-"))
        is_utc = (self._data[end - 1] | 32) == ord("z")
        return bool((is_utc | (is_offset & (self._data[end - 3] == ord(":")))).all())


def _read_as(at: int, layout: Layout, records: Records, spans: I64, which: I64, found: list[tuple[F64, I64]]) -> None:
    """Read the records that fit no layout yet as this one, number `at`, and note those that fit."""
    fits, numbers, texts = layout.read(records.data, np.where(which[:, None] < 0, spans, -1))
    which[fits] = at
    found.append((numbers, texts))


def _ids(table: NameTable, texts: list[str]) -> I32:
    """The ids of the texts; -1 for new ones."""
    return np.fromiter(map(table.ids.get, texts, repeat(-1)), np.int32, len(texts))


_OF_OTHERS = (Reason.NOT_JSON, Reason.NOT_UTF8)  # the faults of a record in another format
