"""What the codecs of all formats share: from records to documents, from documents to events, from events to a batch.

A format parses the value of a record to a document: plain dicts, lists, texts and numbers, as JSON has them. A fast
parser reads all values in a tight loop. A plain parser reads those again that the fast one rejects, and finds a
document or the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import msgspec
import numpy as np
from msgspec import UNSET

from detectors.arrays.types import I64
from streamer.codecs import json_lenient as json_text
from streamer.codecs.base import NO_ZONE, SKIPPED, DeadLetters, PairSettings, Reason
from streamer.codecs.batch_builder import Refusals, TimeBounds, build_batch, dead_letters
from streamer.codecs.event import Event, Refused, Spellings
from streamer.codecs.event_columns import Parsed, Rows
from streamer.codecs.field_columns import ColumnReader
from streamer.codecs.field_mapping import EventReader
from streamer.codecs.field_paths import FieldMap, ItemPlaces, Root
from streamer.codecs.schemas.framing import key_text, strip_frame
from streamer.codecs.times import Unit, lacks_zone, zone_of
from streamer.eventlog.base import Records
from streamer.eventlog.headers import KEY_HEADER, ORIGIN_HEADER
from streamer.events import EventBatch, Names, joined
from streamer.logs import log_of

if TYPE_CHECKING:
    from streamer.codecs.presets import Preset

EVENTS_AT_ONCE: Final = 4096
RECORDS_AT_ONCE: Final = 16  # at least
ROWS_EXPECTED: Final = 8.0  # of a record, before the first one

CANONICAL_FEATURES: Final = FieldMap().features

log = log_of("codecs")

Tombstones = Literal["skip_keyed", "dead_letter", "skip"]


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Fields and limits of the events of a topic. Raises ValueError for a value out of range.

    Args:
        fields: paths of the fields of an event.
        event_time_unit: unit of numeric times since 1970: "s", "ms", "us", "ns", or "auto" for a choice by magnitude.
        time_zone: time zone of texts without an offset, by its IANA name: "America/Vancouver".
        tombstones: what becomes of records without a value: "dead_letter", "skip", or "skip_keyed", those with a key.
        skew_max_s: longest time in s by which an event time may be ahead of its record.
        value_bytes_max: largest size of a record value; larger ones become dead letters.
        values_max: largest number of values (features and prediction) of one event.
        rows_max: largest number of events of one record.
        pairing: join of inputs and outputs that come in two records of one id; none: each record is an event.
        preset: tool whose records these are, as in kserve-v2; see formats.md. `fields` are read from what it makes.
    """

    fields: FieldMap = field(default_factory=FieldMap)
    event_time_unit: Unit = "auto"
    time_zone: str = "UTC"
    tombstones: Tombstones = "skip_keyed"
    skew_max_s: float = 3600
    value_bytes_max: int = 1 << 20
    values_max: int = 10_000
    rows_max: int = 10_000
    preset: str | None = None
    pairing: PairSettings | None = None

    def __post_init__(self) -> None:
        preset_of(self)
        if self.event_time_unit not in get_args(Unit):
            raise ValueError(
                f"event_time_unit is {self.event_time_unit!r}; it can be one of {', '.join(get_args(Unit))}"
            )
        if self.tombstones not in get_args(Tombstones):
            raise ValueError(f"tombstones is {self.tombstones!r}; it can be one of {', '.join(get_args(Tombstones))}")
        zone_of(self.time_zone)
        if not self.skew_max_s >= 0:
            raise ValueError(f"skew_max_s is {self.skew_max_s}; it can't be less than 0")
        for name in ("value_bytes_max", "values_max", "rows_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class DocumentCodec:
    """Decodes records of one format. Keeps no state besides its settings and caches."""

    errors: ClassVar[tuple[type[Exception], ...]] = (ValueError, RecursionError, msgspec.MsgspecError, Refused)
    gives_events: bool = False  # whether the fast parser makes events and no documents

    def __init__(self, settings: RecordSettings) -> None:
        self.settings = settings
        zone = zone_of(settings.time_zone)
        self._bounds = TimeBounds(settings.event_time_unit, settings.skew_max_s, settings.values_max, zone)
        self._said: set[str] = set()  # once for each process, so not part of the state
        self._event_of, self._columns_of = EventReader(settings.fields), ColumnReader(settings.fields)
        self._roots, self._key_is_json = settings.fields.roots(), settings.fields.key_steps()
        self._others, self._places = settings.fields.members(), ItemPlaces(settings.fields)
        self._spellings = Spellings(settings.fields.numbers) if settings.fields.numbers else None
        self._rows_of_record = ROWS_EXPECTED  # of late; it has no effect on results
        self._preset = preset_of(settings)

    def decode(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `Codec`. Records with many rows are decoded in blocks, so that their objects stay in caches."""
        block = max(int(EVENTS_AT_ONCE / self._rows_of_record), RECORDS_AT_ONCE)
        if len(records) <= block:
            batch, dead = self.decode_block(records, names)
            self._rows_of_record = max(len(batch) / max(len(records), 1), 1.0)
            return batch, dead
        dead, batches = DeadLetters(), []
        for first in range(0, len(records), block):
            batch, letters = self.decode_block(records.part(first, min(first + block, len(records))), names)
            batches.append(batch)
            dead.extend(letters, first)
        self._rows_of_record = max(sum(map(len, batches)) / len(records), 1.0)
        return joined(batches), dead

    def decode_block(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """The events of records that are decoded at once."""
        refused: Refusals = {}
        index = self._readable(records, refused)
        rows = self._rows(records, index, refused)
        if self._spellings is not None:
            rows = rows.spelt(self._spellings)
        first = rows.events.event_time[0] if len(rows.events) and self.settings.time_zone == "UTC" else None
        if isinstance(first, str) and lacks_zone(first):
            self._say(NO_ZONE, records.topic, first, records.topic)
        return build_batch(records, rows, names, self._bounds, refused), dead_letters(refused)

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """The documents of records, by the fast parser, which may raise `errors` at each."""
        raise NotImplementedError

    def plain(self, records: Records, i: int) -> Any:
        """The document of one record. Raises `Refused`."""
        raise NotImplementedError

    def opened(self, document: Any) -> Any:
        """The document that a text as a whole document holds, of producers that encode twice. Raises `Refused`."""
        return document

    def _canonical(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of a table, whose columns that are no other fields are its `features`, unless it has them."""
        if self.settings.fields.features != CANONICAL_FEATURES:
            return row
        return under_features(row, self._others)

    def _say(self, text: str, *about: str) -> None:
        """Log once for each process."""
        if text not in self._said:
            self._said.add(text)
            log.warning(text, *about)

    def _readable(self, records: Records, refused: Refusals) -> I64:
        """The records that are neither null nor too large."""
        size = records.value[:, 1] - records.value[:, 0]
        null = records.value[:, 0] < 0
        large = ~null & (size > self.settings.value_bytes_max)
        letters = {"dead_letter": null, "skip_keyed": null & (records.key[:, 0] < 0)}.get(self.settings.tombstones)
        for i in np.flatnonzero(letters).tolist() if letters is not None else ():
            refused[i] = Refused(Reason.NULL_VALUE, "the record has no value (a tombstone)")
        if self.settings.tombstones == "skip_keyed" and np.count_nonzero(null) > len(refused):
            self._say(SKIPPED, records.topic, records.topic)
        for i in np.flatnonzero(large).tolist():
            limit = self.settings.value_bytes_max
            refused[i] = Refused(
                Reason.TOO_LARGE, f"the value has {size[i]:,} bytes, more than value_bytes_max, {limit:,}"
            )
        return np.flatnonzero(~null & ~large)

    def _rows(self, records: Records, index: I64, refused: Refusals) -> Rows:
        """The events of the readable records."""
        found, broken = _collected(self.parsed(records, index), len(index), self.errors)
        if self._preset is not None:
            index, found, broken = *self._shaped(records, index, found, set(broken), refused), []
        if concern := self._places.concern(found):
            self._say("topic %s: %s", records.topic, concern)
        around = self._around(records)
        if not self.gives_events and not broken and (rows := self._plain_events(found, index, around)) is not None:
            return rows
        events: list[Parsed] = found
        again = broken if self.gives_events else range(len(found))
        missed = set(broken)
        for at in again:
            i = int(index[at])
            try:
                document = self.opened(self.plain(records, i) if at in missed else found[at])
                events[at] = self._event_of(document, *(part(i) for part in around))
            except Refused as why:
                refused[i], events[at] = why, Event()
        self._refuse_long(index, events, refused)
        if refused:
            kept = [i not in refused for i in index.tolist()]
            index, events = index[kept], list(compress(events, kept))
        return Rows.of(index, events)

    def _shaped(
        self, records: Records, index: I64, found: Sequence[Any], missed: set[int], refused: Refusals
    ) -> tuple[I64, list[Any]]:
        """The records that the preset finds events in, and the events."""
        kept: list[int] = []
        events: list[Any] = []
        for at, i in enumerate(index.tolist()):
            try:
                document = self.opened(self.plain(records, i) if at in missed else found[at])
                made = self.events_of(document, headers_of(records, i))
            except Refused as why:
                refused[i] = why
                continue
            if made != []:
                kept.append(i)
                events.append(made)
        return np.array(kept, np.int64), events

    def events_of(self, document: Any, headers: dict[str, str]) -> Any:
        """What the preset makes of a document, with features by name. Raises `Refused`."""
        assert self._preset is not None  # noqa: S101 - for the type checker
        try:
            made = self._preset.shape(document, headers)
            rows = made if isinstance(made, list) else [made]
            for i, row in enumerate(rows):
                if self._preset.reads == "flat":
                    rows[i] = row = self._canonical(row)
                names, features = self.settings.fields.names, row.get("features")
                if isinstance(features, list) or (isinstance(names, list) and _is_one_tensor(features)):
                    row["features"] = named_values(
                        [*(features.values() if isinstance(features, dict) else features)], names
                    )
        except Refused:
            raise
        except Exception as error:  # a document of any form must not end the process
            raise Refused(
                Reason.WRONG_TYPE, f"the value is not of the preset {self.settings.preset}: {type(error).__name__}"
            ) from None
        return rows if isinstance(made, list) else rows[0]

    def _plain_events(
        self, documents: Sequence[Any], index: I64, around: Sequence[Callable[[int], Any]]
    ) -> Rows | None:
        """The events of documents; None where one of them needs an explanation."""
        try:
            parts = ([part(i) for i in index.tolist()] for part in around)
            return self._columns_of(index, documents, *parts, rows_max=self.settings.rows_max)
        except Refused:  # of a key
            return None

    def _around(self, records: Records) -> list[Callable[[int], Any]]:
        """Readers of the key and the headers of a record, if any field needs them."""
        if not self._roots & {Root.KEY, Root.HEADERS}:
            return []
        return [partial(key_of, records, self._key_is_json), partial(headers_of, records)]

    def _refuse_long(self, index: I64, found: Sequence[Parsed], refused: Refusals) -> None:
        """Refuse the records with too many rows."""
        limit = self.settings.rows_max
        for i, one in zip(index.tolist(), found, strict=True) if list in set(map(type, found)) else ():
            if isinstance(one, list) and len(one) > limit:
                refused[i] = Refused(
                    Reason.TOO_MANY_ROWS, f"the record has {len(one):,} rows, more than rows_max, {limit:,}"
                )


def preset_of(settings: RecordSettings) -> Preset | None:
    """The preset of a topic, if any. Raises ValueError for an unknown one."""
    if settings.preset is None:
        return None
    from streamer.codecs.presets import PRESETS  # here, as a topic without a preset needs none of them

    if settings.preset not in PRESETS:
        raise ValueError(f"preset: {settings.preset!r} is unknown; it can be one of {', '.join(PRESETS)}")
    return PRESETS[settings.preset]


def named_values(values: list[Any], names: str | list[str] | None) -> dict[str, Any]:
    """Values by these names, or as `c0`, `c1`. Raises `Refused` where their numbers differ."""
    if not isinstance(names, list):
        return {f"c{i}": value for i, value in enumerate(values)}
    if len(names) != len(values):
        raise Refused(Reason.WRONG_TYPE, f"there are {len(values)} features and {len(names)} names for them")
    return dict(zip(names, values, strict=True))


def _is_one_tensor(features: Any) -> bool:
    """Whether features are the columns of one wide tensor, `x[0]`, `x[1]` and so on."""
    if not isinstance(features, dict) or len(features) < 2:
        return False
    stem = next(iter(features)).removesuffix("[0]")
    return all(name == f"{stem}[{i}]" for i, name in enumerate(features))


def under_features(row: dict[str, Any], others: Sequence[str]) -> dict[str, Any]:
    """A row of a table as an event: unless it has `features`, these are its members but `others`, lists and objects."""
    if "features" in row:
        return row
    mine = {name: row[name] for name in others if name in row}
    return {**mine, "features": {k: v for k, v in row.items() if k not in others and not isinstance(v, dict | list)}}


def values_at(records: Records, index: I64, skip: I64 | int = 0) -> Iterator[memoryview]:
    """The values of records, each without its first `skip` bytes."""
    start, end = records.value[index].T
    return map(records.data.data.__getitem__, map(slice, (start + skip).tolist(), end.tolist()))


def _collected(items: Iterable[Any], n: int, errors: tuple[type[Exception], ...]) -> tuple[list[Any], list[int]]:
    """The `n` items of an iterator that may raise at each; and the places where it did, which hold `UNSET`."""
    found: list[Any] = []
    broken = []
    while len(found) < n:
        try:
            for one in items:  # and not extend(), which does not promise to keep what came before an error
                found.append(one)
        except errors:
            broken.append(len(found))
            found.append(UNSET)  # keeps the place
    return found, broken


def key_of(records: Records, is_json: bool, i: int) -> Any:
    """The key of a record as text or as JSON; of a copy that has another one, the first. Raises `Refused`."""
    key = records.key_of(i)
    if ORIGIN_HEADER in (copied := dict(records.headers_with(ORIGIN_HEADER, i))):
        key = copied.get(KEY_HEADER)
    if key is None:
        return UNSET
    if is_json:
        return json_text.parse(strip_frame(key)[1])
    try:
        return key_text(key)
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOT_UTF8, f"byte {error.start} of the key is not UTF-8: {error.reason}") from None
    except ValueError as error:
        raise Refused(Reason.OTHER_FORMAT, f"the key is {error}") from None


def headers_of(records: Records, i: int) -> dict[str, str]:
    """The headers of a record as texts; of one name the last."""
    return {name: text.decode(errors="replace") for name, text in records.headers_of(i) if text is not None}
