"""The codecs `json` and `json_schema`: a record is a JSON object with the fields of `event.py`, or with others by a
`FieldMap`; or a list of such objects.

Records of a layout that was seen before are read by a kernel (`tables/layout_decoder.py`). Each of the others takes one
call of the msgspec parser. Members that no field reads are skipped where the fields are the canonical ones, so they may
be of any type, and even of invalid UTF-8. `json_schema` is JSON behind the framing of a schema registry. The schema
itself is not needed: JSON names its members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np

from detectors.arrays.types import I64
from streamer.codecs import json_lenient as json_text
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.batch_builder import Refusals
from streamer.codecs.document_codec import DocumentCodec, RecordSettings, values_at
from streamer.codecs.event import Event, Refused
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.schemas.framing import frame_bytes, likeness, strip_frame
from streamer.codecs.tables.layout_decoder import LayoutDecoder
from streamer.codecs.tables.layout_learning import Learner
from streamer.eventlog.base import Records
from streamer.events import EventBatch, Names
from streamer.logs import log_of

log = log_of("codecs")


@dataclass(frozen=True, slots=True)
class JsonSettings(RecordSettings):
    """Format, fields and limits of the events of a topic. Some settings are of single formats."""


@dataclass(frozen=True, slots=True)
class JsonSchemaSettings(RecordSettings):
    """The settings of JSON behind the framing of a schema registry."""


class JsonCodec(DocumentCodec):
    """Decodes JSON. Keeps no state besides its settings and caches."""

    has_layouts: ClassVar[bool] = True  # False: to compare both ways

    def __init__(self, settings: RecordSettings) -> None:
        super().__init__(settings)
        self.gives_events = settings.fields == FieldMap() and settings.preset is None
        self._has_said_framing = False  # once for each process, so not part of the state
        self._any = msgspec.json.Decoder().decode
        self._decode = self._decoder()
        learner = Learner(settings.fields)
        is_fast = learner.is_able and settings.preset is None and self.has_layouts
        parts = (learner, settings, self._bounds, self._around, self._frame)
        self._layouts = LayoutDecoder(*parts) if is_fast else None

    def decode_block(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `DocumentCodec`."""
        plain = partial(super().decode_block, names=names)
        if self._layouts is None or self._places.are_looking:
            return plain(records)
        return self._layouts.decode(records, names, plain)

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

    def _frame(self, records: Records) -> I64 | int:  # noqa: ARG002 -- of other formats
        """The size of the frame of each value."""
        return 0

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

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        return map(self._decode, values_at(records, index, frame_bytes(records, index)))

    def _frame(self, records: Records) -> I64 | int:
        """See `JsonCodec`."""
        return frame_bytes(records, np.arange(len(records)))

    def _say_framing(self, topic: str, frame: str) -> None:
        """Framing is what this format is about."""


_OF_OTHERS = (Reason.NOT_JSON, Reason.NOT_UTF8)  # the faults of a record in another format
