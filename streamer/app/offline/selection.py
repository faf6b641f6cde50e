"""The part of recordings that a replay folds: a span of event time, models, and columns; with injected changes.

It is chosen between the codecs and the fold, so it is the same for every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from detectors.arrays.types import Bools
from retrain.messages.patterns import matches
from streamer.app.offline.injection import Injection
from streamer.codecs.base import Codec, DeadLetters
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.events import PREDICTION_COLUMN, EventBatch, EventKind, Names

ALWAYS_MS: Final = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is folded. Everything, unless a part is named."""

    since_ms: int = ALWAYS_MS[0]  # first event time, inclusive; since 1970
    until_ms: int = ALWAYS_MS[1]  # last event time, exclusive
    models: Sequence[str] = ()  # patterns of models; (): all
    columns: Sequence[str] = ()  # patterns of features, and of `prediction`; (): all
    injections: Sequence[Injection] = ()  # changes that are made before the selection

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def of(self, codecs: Mapping[str, Codec]) -> Mapping[str, Codec]:
        """Codecs that give the chosen part of what these give."""
        return codecs if self.is_all else SelectedCodecs(self, codecs)


EVERYTHING: Final = Selection()


class SelectedCodecs(dict[str, Codec]):
    """Codecs by topic, each behind the selection."""

    def __init__(self, selection: Selection, codecs: Mapping[str, Codec]) -> None:
        super().__init__({topic: SelectedCodec(selection, codec) for topic, codec in codecs.items()})
        self._selection, self._codecs = selection, codecs

    def __missing__(self, topic: str) -> Codec:
        return self.setdefault(topic, SelectedCodec(self._selection, self._codecs[topic]))


class SelectedCodec:
    """A codec whose events are the chosen ones. Keeps a cache of names, which has no effect on results."""

    def __init__(self, selection: Selection, codec: Codec) -> None:
        self._selection, self._codec = selection, codec
        self._models = _Chosen(selection.models)
        self._columns = _Chosen(selection.columns)
        if (settings := getattr(codec, "settings", None)) is not None:
            self.settings = settings  # the pairing of halves reads it

    def decode(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `Codec`. What is not chosen leaves without a trace but its names."""
        batch, dead = self._codec.decode(records, names)
        for injection in self._selection.injections:
            batch = injection.applied(batch, names)
        time = batch.event_time_ms
        keep = (time >= self._selection.since_ms) & (time < self._selection.until_ms)
        if self._selection.models:
            keep &= self._models.among(names.models.names)[batch.model]
        if not keep.all():
            batch = batch.only(keep)
        return (self._with_columns(batch, names) if self._selection.columns else batch), dead

    def _with_columns(self, batch: EventBatch, names: Names) -> EventBatch:
        """The batch with the chosen columns; an event without any is a label, or none."""
        chosen = self._columns.among(names.columns.names)
        keep = chosen[batch.column]
        event = np.repeat(np.arange(len(batch)), np.diff(batch.start))[keep]
        start = np.concatenate([[0], np.cumsum(np.bincount(event, minlength=len(batch)))])
        batch = replace(
            batch, start=start, column=batch.column[keep], number=batch.number[keep], category=batch.category[keep]
        )
        has_error = chosen[PREDICTION_COLUMN] or any(matches("error", one) for one in self._selection.columns)
        if has_error:
            return batch
        kind = batch.kind & ~np.uint8(EventKind.LABEL)
        batch = replace(batch, kind=kind, prediction=np.full(len(batch), np.nan), label=np.full(len(batch), np.nan))
        return batch.only((kind > 0) & (np.diff(batch.start) > 0))


class _Chosen:
    """Which names of a growing table fit any of the patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = list(patterns)
        self._found = np.zeros(0, np.bool_)

    def among(self, names: Sequence[str]) -> Bools:
        """Whether each name fits [n]; names only ever join at the end."""
        new = names[len(self._found) :]
        if new:
            fits = [any(matches(name, one) for one in self._patterns) for name in new]
            self._found = np.append(self._found, np.array(fits, np.bool_))
        return self._found


def selection_of(
    since: str | None = None,
    until: str | None = None,
    models: Sequence[str] = (),
    columns: Sequence[str] = (),
    injections: Sequence[Injection] = (),
) -> Selection:
    """The selection of texts. Raises `UsageError` for what is no time, and for a span that is empty."""
    first, last = ALWAYS_MS
    first = first if since is None else time_ms(since, "--from")
    last = last if until is None else time_ms(until, "--until")
    if first >= last:
        raise UsageError(f"--from {since} is not before --until {until}, so no event is between them")
    return Selection(first, last, tuple(models), tuple(columns), tuple(injections))


def time_ms(text: str, option: str) -> int:
    """A time as RFC 3339, or a day, in ms since 1970; without a zone it is UTC. Raises `UsageError`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no time; write 2026-05-12, or 2026-05-12T08:00:00Z") from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
