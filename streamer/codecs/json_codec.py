"""The codec `json`: one JSON object a record, of the fields in `canonical.py` or mapped onto them by a `FieldMap`.

Records go through one call of the msgspec parser each, in a tight loop; all other work is done on whole columns. What
the parser refuses is read again by the explaining path, which finds either an event or the reason why there is none.
Members that no field reads are skipped without a look, so they may be of any type, and even of broken UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import compress
from typing import get_args

import msgspec
import numpy as np

from detectors.arrays.types import I64
from streamer.codecs import json_lenient as json_text
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.batch_builder import Refusals, TimeBounds, assemble, dead_letters
from streamer.codecs.event import Event, Refused
from streamer.codecs.field_mapping import EventReader
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.times import Unit
from streamer.eventlog.base import Records
from streamer.events import EventBatch, Names


@dataclass(frozen=True, slots=True)
class JsonSettings:
    """What a topic's events look like, and what is too much. Raises ValueError with a sentence.

    Args:
        fields: where the fields of an event are.
        event_time_unit: of numbers: "s" or "ms" since 1970, or "auto" to tell by magnitude.
        skew_max_s: how far an event time may lie ahead of its record's own time.
        value_bytes_max: longer values are refused unread.
        values_max: most values (features and prediction) of one event.
    """

    fields: FieldMap = field(default_factory=FieldMap)
    event_time_unit: Unit = "auto"
    skew_max_s: float = 3600
    value_bytes_max: int = 1 << 20
    values_max: int = 10_000

    def __post_init__(self) -> None:
        if self.event_time_unit not in get_args(Unit):
            raise ValueError(
                f"event_time_unit is {self.event_time_unit!r}; it can be one of {', '.join(get_args(Unit))}"
            )
        if not self.skew_max_s >= 0:
            raise ValueError(f"skew_max_s is {self.skew_max_s}; it can't be less than 0")
        for name in ("value_bytes_max", "values_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class JsonCodec:
    """JSON to columns. Keeps nothing between calls but its settings."""

    def __init__(self, settings: JsonSettings) -> None:
        self.settings = settings
        self._bounds = TimeBounds(settings.event_time_unit, settings.skew_max_s, settings.values_max)
        self._event_of = EventReader(settings.fields)
        self._read = self._reader()

    def decode(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `Codec`."""
        refused: Refusals = {}
        index = self._readable(records, refused)
        index, events = self._parse(records, index, refused)
        return assemble(records, index, events, names, self._bounds, refused), dead_letters(refused)

    def _reader(self) -> Callable[[memoryview], Event]:
        if self.settings.fields == FieldMap():
            return msgspec.json.Decoder(Event).decode
        plain = msgspec.json.Decoder().decode
        return lambda value: self._event_of(plain(value))

    def _readable(self, records: Records, refused: Refusals) -> I64:
        """The records a parser may be given: not null, not too large, not too deep."""
        size = records.value[:, 1] - records.value[:, 0]
        null = records.value[:, 0] < 0
        large = ~null & (size > self.settings.value_bytes_max)
        for i in np.flatnonzero(null).tolist():
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
        return np.setdiff1d(np.arange(len(records)), list(refused), assume_unique=True)

    def _parse(self, records: Records, index: I64, refused: Refusals) -> tuple[I64, list[Event]]:
        """The events of these records, and the records they are of."""
        values = map(records.data.data.__getitem__, map(slice, *records.value[index].T.tolist()))
        parsed = map(self._read, values)
        events: list[Event] = []
        broken = []
        while len(events) < len(index):
            try:
                for event in parsed:  # and not extend(), which does not promise to keep what came before an error
                    events.append(event)
            except (ValueError, RecursionError, msgspec.MsgspecError, Refused):
                broken.append(len(events))
                events.append(Event())  # keeps the place
        for at in broken:
            i = int(index[at])
            try:
                events[at] = self._event_of(json_text.parse(records.value_of(i) or b""))
            except Refused as why:
                refused[i] = why
        if not broken:
            return index, events
        kept = [i not in refused for i in index.tolist()]
        return index[kept], list(compress(events, kept))
