"""Changes that a replay makes to events, to show whether and how soon they are seen.

    dep_delay: +15 @ 2026-05-12T08:00 in 5% of eta-*

A change is made between the codecs and the fold, so it is the same for every format. Which events a share takes depends
on their place in the log and the seed alone, so batch cuts never matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import numpy as np

from detectors.arrays.types import I64, Bools
from retrain.messages.alert import Alert
from retrain.messages.patterns import matches
from streamer.clock import seconds_of
from streamer.errors import UsageError
from streamer.events import NUMBER, PREDICTION_COLUMN, EventBatch, Names, time_of

EVENTS: Final = "(events)"  # the column of changes that are made to whole events
HOW: Final = "write COLUMN: CHANGE @ TIME in SHARE% of MODELS, as in 'dep_delay: +15 @ 2026-05-12T08:00 in 5% of eta-*'"
_FORM: Final = re.compile(
    r"(?P<column>.+?)\s*:\s*(?P<change>.+?)\s*@\s*(?P<time>\S+)(\s+in\s+(?P<share>[\d.]+)\s*%)?(\s+of\s+(?P<models>\S+))?"
)
_CHANGE: Final = re.compile(
    r"(?P<shift>[+-]\s*[\d.]+(e[+-]?\d+)?)|\*\s*(?P<scale>[\d.]+(e[+-]?\d+)?)|=\s*(?P<text>.+)|(?P<null>null)"
    r"|(?P<silence>silence)|delay\s+(?P<delay>\w+)|(?P<nothing>nothing)"
)
_MIX: Final = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64 (Steele et al., 2014)


@dataclass(frozen=True, slots=True)
class Injection:
    """One change of events. `kind` is shift, scale, text, null, silence, delay or nothing."""

    text: str  # as the user wrote it
    column: str  # its pattern; `(events)` of silence and delay
    kind: str
    amount: float  # of shift and scale; of delay, ms
    category: str  # of text
    since_ms: int  # first event time with the change; since 1970
    share: float  # of events that have it, in (0, 1]
    models: str  # pattern of the models that have it
    seed: int
    reached: set[str] = field(default_factory=set, compare=False)  # models with a changed event, so far

    def applied(self, batch: EventBatch, names: Names) -> EventBatch:
        """The batch with the change; a new category gets an id."""
        fits = np.array([matches(name, self.models) for name in names.models.names], np.bool_)
        chosen = (batch.event_time_ms >= self.since_ms) & fits[batch.model]
        if self.share < 1:
            chosen &= _draws(batch, self.seed) < self.share
        if not chosen.any():
            return batch
        self.reached.update(names.models.names[model] for model in np.unique(batch.model[chosen]))
        if self.kind == "nothing":
            return batch
        if self.kind == "silence":
            return batch.only(~chosen)
        if self.kind == "delay":
            return replace(batch, event_time_ms=batch.event_time_ms + np.where(chosen, int(self.amount), 0))
        return self._with_values(batch, chosen, names)

    def _with_values(self, batch: EventBatch, chosen: Bools, names: Names) -> EventBatch:
        columns = np.array([matches(name, self.column) for name in names.columns.names], np.bool_)
        at = np.repeat(chosen, np.diff(batch.start)) & columns[batch.column]
        number, category = batch.number.copy(), batch.category.copy()
        if self.kind in ("shift", "scale"):
            at &= category == NUMBER
            number[at] = self._moved(number[at])
        else:
            number[at] = np.nan
            category[at] = NUMBER if self.kind == "null" else names.categories.id_of(self.category)
        prediction = batch.prediction
        if columns[PREDICTION_COLUMN]:  # labels are compared with this copy of it
            moved = self._moved(prediction) if self.kind in ("shift", "scale") else np.full(len(batch), np.nan)
            prediction = np.where(chosen, moved, prediction)
        return replace(batch, number=number, category=category, prediction=prediction)

    def _moved(self, values: np.ndarray) -> np.ndarray:
        return values + self.amount if self.kind == "shift" else values * self.amount


def injections_of(texts: Sequence[str], seed: int = 0) -> tuple[Injection, ...]:
    """The changes that texts describe. Raises `UsageError` for any other text."""
    return tuple(_injection(text, seed + place) for place, text in enumerate(texts))


class Size(NamedTuple):
    """One size of the change that has several."""

    size: str  # as written; `nothing` is none
    at: int  # the place of that change among all
    texts: tuple[str, ...]  # all changes, that one with this size


def sizes_of(texts: Sequence[str]) -> list[Size]:
    """Each size of the change with several, as in `+1,+2`: first nothing, for comparison.

    Empty without such a change. Raises `UsageError` for two of them.
    """
    sizes: list[Size] = []
    for at, text in enumerate(texts):
        found = _FORM.fullmatch(text.strip())
        if found is None or "," not in found["change"] or found["change"].startswith("="):
            continue
        if sizes:
            raise UsageError(f"--inject {text!r}: only one change may have several sizes")
        head, tail = found.string[: found.start("change")], found.string[found.end("change") :]
        for size in ("nothing", *(part.strip() for part in found["change"].split(","))):
            sizes.append(Size(size, at, (*texts[:at], f"{head}{size}{tail}", *texts[at + 1 :])))
    return sizes


def _injection(text: str, seed: int) -> Injection:
    found = _FORM.fullmatch(text.strip())
    change = _CHANGE.fullmatch(found["change"]) if found else None
    if found is None or change is None or change.lastgroup is None:
        raise UsageError(f"--inject {text!r} can't be read: {HOW}")
    kinds = ("shift", "scale", "text", "null", "silence", "delay", "nothing")
    kind = next(name for name in kinds if change[name] is not None)
    if kind != "nothing" and (kind in ("silence", "delay")) != (found["column"] == EVENTS):
        raise UsageError(f"--inject {text!r}: silence and delay are of {EVENTS}, other changes of a column")
    try:
        share = float(found["share"] or 100) / 100
        number = change[kind].replace(" ", "")
        amount = (
            float(number) if kind in ("shift", "scale") else seconds_of(number) * 1000.0 if kind == "delay" else 0.0
        )
        at = datetime.fromisoformat(found["time"])
    except ValueError as problem:
        raise UsageError(f"--inject {text!r}: {problem}; {HOW}") from None
    if not 0 < share <= 1:
        raise UsageError(f"--inject {text!r}: the share is {share:.0%}; it must be above 0 % and at most 100 %")
    since = at if at.tzinfo else at.replace(tzinfo=time_of(0).tzinfo)
    return Injection(
        text, found["column"], kind, amount, change["text"] or "", round(since.timestamp() * 1000), share,
        found["models"] or "*", seed,
    )  # fmt: skip


def _draws(batch: EventBatch, seed: int) -> np.ndarray:
    """A number in [0, 1) for each event [n], by splitmix64 of its place in the log."""
    place: I64 = batch.offset * 1_000_003 + batch.row + (batch.partition << 40)
    x = (place.astype(np.uint64) + np.uint64(seed + 1)) * np.uint64(_MIX[0])
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MIX[1])
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MIX[2])
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) / float(1 << 53)


def seen(injections: Iterable[Injection], alerts: Iterable[bytes]) -> Iterator[list[str]]:
    """A table of what was seen of each change: its head, and a row for each model with an alert on the column.

    `alerts` are published ones, in order. An alert counts if it fired at the time of the change or later; the error of
    the onset is that of its newest state.
    """
    newest = newest_of(alerts)
    yield ["injected", "model", "column", "seen after", "onset error"]
    for one in injections:
        since, found = time_of(one.since_ms), found_of(one, newest)
        for (model, column), alert in found.items():
            error = alert.onset.event_time - since
            yield [one.text, model, column, span_text(alert.at.event_time - since), span_text(error, signed=True)]
        if not found:
            yield [one.text, one.models, one.column, "not seen", ""]


def newest_of(alerts: Iterable[bytes]) -> list[Alert]:
    """The alerts in the order in which they fired, each in its newest state."""
    newest: dict[str, Alert] = {}
    for value in alerts:
        alert = msgspec.json.decode(value, type=Alert)
        newest[alert.alert_id] = alert
    return list(newest.values())


def found_of(one: Injection, alerts: Iterable[Alert]) -> dict[tuple[str, str], Alert]:
    """The first alert that fired at the time of a change or later, by model and column that the change names."""
    since, found = time_of(one.since_ms), dict[tuple[str, str], Alert]()
    for alert in alerts:
        if alert.at.event_time >= since and matches(alert.model_id, one.models) and matches(alert.column, one.column):
            found.setdefault((alert.model_id, alert.column), alert)
    return found


def span_text(span: timedelta, signed: bool = False) -> str:
    """A span of time in its largest two units, as in 2d 4h."""
    seconds = abs(round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        n, seconds = divmod(seconds, size)
        parts += [f"{n} {unit}"] if n else []
    late = ("+" if span >= timedelta(0) else "-") if signed else ""
    return late + (" ".join(parts[:2]) or "0 s")
