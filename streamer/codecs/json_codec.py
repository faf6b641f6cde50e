"""The codec `json`: a record is a JSON object with the fields of `event.py`, or with others by a `FieldMap`; or a list
of such objects.

Each record takes one call of the msgspec parser, in a tight loop; all other work is on whole columns. A slower, lenient
parser reads the rejected records again, and finds an event or the reason why there is none. Members that no field reads
are skipped, so they may be of any type, and even of invalid UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from msgspec import UNSET

from detectors.arrays.types import I64
from streamer.codecs import json_lenient as json_text
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.batch_builder import Refusals, TimeBounds, build_batch, dead_letters
from streamer.codecs.event import Event, Refused
from streamer.codecs.field_mapping import EventReader
from streamer.codecs.field_paths import FieldMap, Root
from streamer.codecs.rows import Parsed, Rows
from streamer.codecs.times import Unit, lacks_zone, zone_of
from streamer.eventlog.base import Records
from streamer.events import EventBatch, Names
from streamer.logs import log_of

Tombstones = Literal["dead_letter", "skip"]

log = log_of("codecs")


@dataclass(frozen=True, slots=True)
class JsonSettings:
    """Format and limits of the events of a topic. Raises ValueError for a value out of range.

    Args:
        fields: paths of the fields of an event.
        event_time_unit: unit of numeric times since 1970: "s", "ms", "us", "ns", or "auto" for a choice by magnitude.
        time_zone: time zone of texts without an offset, by its IANA name: "America/Vancouver".
        tombstones: what becomes of records without a value: "dead_letter", or "skip".
        skew_max_s: longest time in s by which an event time may be ahead of its record.
        value_bytes_max: largest size of a record value; larger ones become dead letters.
        values_max: largest number of values (features and prediction) of one event.
        rows_max: largest number of events of one record.
    """

    fields: FieldMap = field(default_factory=FieldMap)
    event_time_unit: Unit = "auto"
    time_zone: str = "UTC"
    tombstones: Tombstones = "dead_letter"
    skew_max_s: float = 3600
    value_bytes_max: int = 1 << 20
    values_max: int = 10_000
    rows_max: int = 10_000

    def __post_init__(self) -> None:
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


class JsonCodec:
    """Decodes JSON. Keeps no state besides its settings."""

    def __init__(self, settings: JsonSettings) -> None:
        self.settings = settings
        zone = zone_of(settings.time_zone)
        self._bounds = TimeBounds(settings.event_time_unit, settings.skew_max_s, settings.values_max, zone)
        self._has_said_zone = False  # once for each process, so not part of the state
        self._event_of = EventReader(settings.fields)
        self._roots, self._key_is_json = settings.fields.roots(), settings.fields.key_steps()
        self._read = self._reader()

    def decode(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `Codec`."""
        refused: Refusals = {}
        index = self._readable(records, refused)
        rows = self._parse(records, index, refused)
        self._say_zone(records.topic, rows.events)
        return build_batch(records, rows, names, self._bounds, refused), dead_letters(refused)

    def _say_zone(self, topic: str, events: Sequence[Event]) -> None:
        """Log once that times have no time zone, and which one is assumed."""
        first = events[0].event_time if events and not self._has_said_zone else None
        if isinstance(first, str) and self.settings.time_zone == "UTC" and lacks_zone(first):
            self._has_said_zone = True
            log.warning(
                "topic %s: event_time is %.60r, which has no time zone, and is taken for UTC. If it is local time, set "
                "topics.%s.time_zone, as in Europe/Paris",
                topic, first, topic,
            )  # fmt: skip

    def _reader(self) -> Callable[..., Parsed]:
        if self.settings.fields == FieldMap():
            return msgspec.json.Decoder(Event | Annotated[list[Event], msgspec.Meta(min_length=1)]).decode
        plain = msgspec.json.Decoder().decode
        return lambda value, *around: self._event_of(plain(value), *around)

    def _readable(self, records: Records, refused: Refusals) -> I64:
        """The records that are not null, too large or too deep."""
        size = records.value[:, 1] - records.value[:, 0]
        null = records.value[:, 0] < 0
        large = ~null & (size > self.settings.value_bytes_max)
        for i in np.flatnonzero(null).tolist() if self.settings.tombstones == "dead_letter" else ():
            refused[i] = Refused(Reason.NULL_VALUE, "the record has no value (a tombstone)")
        for i in np.flatnonzero(large).tolist():
            limit = self.settings.value_bytes_max
            refused[i] = Refused(
                Reason.TOO_LARGE, f"the value has {size[i]:,} bytes, more than value_bytes_max, {limit:,}"
            )
        for i in np.flatnonzero(
            ~null & ~large & (size > 2 * json_text.DEPTH_MAX)
        ).tolist():  # each level takes two bytes
            if json_text.is_too_deep(records.value_of(i) or b""):
                refused[i] = Refused(Reason.TOO_DEEP, f"the value is nested deeper than {json_text.DEPTH_MAX} levels")
        return np.setdiff1d(np.flatnonzero(~null), list(refused), assume_unique=True)

    def _parse(self, records: Records, index: I64, refused: Refusals) -> Rows:
        """The events of the readable records."""
        values = map(records.data.data.__getitem__, map(slice, *records.value[index].T.tolist()))
        around = [map(part, index.tolist()) for part in self._around(records)]
        parsed = map(self._read, values, *around)
        found: list[Parsed] = []
        broken = []
        while len(found) < len(index):
            try:
                for one in parsed:  # and not extend(), which does not promise to keep what came before an error
                    found.append(one)
            except (ValueError, RecursionError, msgspec.MsgspecError, Refused):
                broken.append(len(found))
                found.append(Event())  # keeps the place
        for at in broken:
            i = int(index[at])
            try:
                document = json_text.parse(records.value_of(i) or b"")
                found[at] = self._event_of(document, *(part(i) for part in self._around(records)))
            except Refused as why:
                refused[i] = why
        self._refuse_long(index, found, refused)
        if refused:
            kept = [i not in refused for i in index.tolist()]
            index, found = index[kept], list(compress(found, kept))
        return Rows.of(index, found)

    def _around(self, records: Records) -> list[Callable[[int], Any]]:
        """Readers of the key and the headers of a record, if any field needs them."""
        if not self._roots & {Root.KEY, Root.HEADERS}:
            return []
        return [partial(_key_of, records, self._key_is_json), partial(_headers_of, records)]

    def _refuse_long(self, index: I64, found: Sequence[Parsed], refused: Refusals) -> None:
        """Refuse the records with too many rows."""
        limit = self.settings.rows_max
        for i, one in zip(index.tolist(), found, strict=True) if list in set(map(type, found)) else ():
            if isinstance(one, list) and len(one) > limit:
                refused[i] = Refused(
                    Reason.TOO_MANY_ROWS, f"the record has {len(one):,} rows, more than rows_max, {limit:,}"
                )


def _key_of(records: Records, is_json: bool, i: int) -> Any:
    """The key of a record as text or as JSON. Raises `Refused`."""
    key = records.key_of(i)
    if key is None:
        return UNSET
    if is_json:
        return json_text.parse(key)
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOT_UTF8, f"byte {error.start} of the key is not UTF-8: {error.reason}") from None


def _headers_of(records: Records, i: int) -> dict[str, str]:
    """The headers of a record as texts; of one name the last."""
    return {name: text.decode(errors="replace") for name, text in records.headers_of(i) if text is not None}
