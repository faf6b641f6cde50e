"""Streams whose change is known, folded as the service does, and what their alerts say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.evidence.laws import CHANGES, LAWS, changed, come
from benchmarks.evidence.shares import CATEGORIES, RATES
from benchmarks.evidence.truth import Off, Truth, drawn, of_category, of_number, of_rate
from detectors.reference import Reference
from detectors.registry import settings_of
from retrain.messages.alert import Alert, AlertState
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.contracts.alert_reader import read_alert
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records

SEEDS = 8  # streams of a law and change; each is a column of one model
BEFORE, AFTER = (1500, 1800), 1000  # values before a change, drawn between these; at least so many after it
TRAINED = 2000  # values of a training sample
ENOUGH = 500  # events after the onset with which an alert is ready
BEGUN_MS, APART_MS = 1_782_864_000_000, 10_000
NUMBERS, ONES, NAMES, GAPS = "numbers", "ones", "names", "gaps"


class Watch(NamedTuple):
    """A detector with its settings, and whether its columns have training data."""

    detector: str
    options: Mapping[str, float]
    kinds: Sequence[str]
    trained: bool = False


WATCHES: Mapping[str, Watch] = {
    "`shiryaev_roberts`": Watch("shiryaev_roberts", {"arl0": 1e6, "tolerance": 0.01}, (NUMBERS, ONES)),
    "`shiryaev_roberts`, trained": Watch("shiryaev_roberts", {"arl0": 1e6, "tolerance": 0.01}, (NUMBERS, ONES), True),
    "`adwin`": Watch("adwin", {}, (NUMBERS, ONES)),
    "`ks_window`": Watch("ks_window", {}, (NUMBERS, ONES)),
    "`ks_window`, trained": Watch("ks_window", {}, (NUMBERS, ONES), True),
    "`page_hinkley` of river": Watch("page_hinkley", {"delta": 0.25}, (NUMBERS,)),
    "`hddm_a` of river": Watch("hddm_a", {}, (ONES,)),
    "`category_rates`": Watch("category_rates", {}, (NAMES,)),
    "`category_window`": Watch("category_window", {}, (NAMES,)),
    "`rate`": Watch("rate", {}, (GAPS,)),
}


class Stream(NamedTuple):
    """The values of a column, as JSON has them, and where they change."""

    values: list[Any]
    start: int
    training: np.ndarray[Any, np.dtype[np.float64]]


class Case(NamedTuple):
    """A law and a change."""

    change: str
    law: str
    stream: Callable[[np.random.Generator], Stream]
    truth: Callable[[Alert, int, int], Truth]  # of an alert, by the places of the change and of the alert's event


@dataclass
class Errors:
    """What the alerts of some streams say, in one state."""

    before: list[Off] = field(default_factory=list)
    after: list[Off] = field(default_factory=list)
    effect: list[Off] = field(default_factory=list)
    shift: list[Off] = field(default_factory=list)
    onset: list[int] = field(default_factory=list)  # events late; negative: early

    def add(self, alert: Alert, start: int, truth: Truth) -> None:
        self.before.append(truth.of_location(truth.before, alert.before, alert.n_reference))
        self.after.append(truth.of_location(truth.after, alert.after, alert.n_current))
        self.effect.append(truth.of_effect(alert))
        shift = truth.of_shift(alert)
        self.shift += [shift] if shift is not None else []
        self.onset.append(alert.onset.offset - start)

    def join(self, other: Errors) -> None:
        for name, found in vars(other).items():
            getattr(self, name).extend(found)


class Seen(NamedTuple):
    """The alerts of one case, `SEEDS` streams."""

    change: str
    law: str
    seen: int  # streams with an alert of the change, and none before
    firing: Errors
    ready: Errors


def cases(kind: str) -> Iterator[Case]:
    """All laws and changes of a kind of value."""
    if kind == NUMBERS:
        for change in CHANGES:
            yield from (_number(change, law) for law in LAWS)
    elif kind == NAMES:
        yield from (_case("shares of categories", name, _names, of_category) for name in CATEGORIES)
    else:
        what = "share of ones" if kind == ONES else "share of missing values"
        yield from (_case(what, name, _ones if kind == ONES else _gaps, of_rate) for name in RATES)


def _number(change: str, law: str) -> Case:
    def stream(r: np.random.Generator) -> Stream:
        start, n = _length(r)
        values = LAWS[law].draw(r, n)
        values[start:] = changed(LAWS[law], CHANGES[change], values[start:], come(CHANGES[change], n - start))
        return Stream(values.tolist(), start, LAWS[law].draw(r, TRAINED))

    return Case(change, law, stream, lambda alert, start, until: of_number(law, change, alert, start, until))


def _case(
    change: str,
    name: str,
    stream: Callable[[str, np.random.Generator], Stream],
    truth: Callable[[str, Alert], Truth],
) -> Case:
    return Case(change, name, lambda r: stream(name, r), lambda alert, *_: truth(name, alert))


def _ones(name: str, r: np.random.Generator) -> Stream:
    start, n = _length(r)
    ones = (r.random(n) < np.where(np.arange(n) < start, *RATES[name])).astype(np.float64)
    return Stream(ones.tolist(), start, (r.random(TRAINED) < RATES[name][0]).astype(np.float64))


def _gaps(name: str, r: np.random.Generator) -> Stream:
    stream = _ones(name, r)
    return stream._replace(values=[None if one else 1.0 for one in stream.values])


def _names(name: str, r: np.random.Generator) -> Stream:
    start, n = _length(r)
    before, after = CATEGORIES[name]
    ids = np.concatenate([drawn(before, r, start), drawn(after, r, n - start)])
    return Stream([f"c{one:.0f}" for one in ids], start, ids)


def _length(r: np.random.Generator) -> tuple[int, int]:
    start = int(r.integers(*BEFORE))
    return start, start + AFTER


def watched(watch: Watch, case: Case, number: int, seeds: int = SEEDS) -> Seen:
    """Fold the streams of case `number` and compare the first alert of each change with the truth."""
    streams = [case.stream(np.random.default_rng([21, number, seed])) for seed in range(seeds)]
    alerts = _alerts(watch, {f"x{seed}": one for seed, one in enumerate(streams)})
    found = Seen(case.change, case.law, 0, Errors(), Errors())
    for (firing, ready), (_, start, _) in zip(alerts, streams, strict=True):
        if firing is None or firing.at.offset < start:
            continue
        found = found._replace(seen=found.seen + 1)
        found.firing.add(firing, start, case.truth(firing, start, firing.at.offset))
        if ready is not None and ready.ready_at is not None:
            found.ready.add(ready, start, case.truth(ready, start, ready.ready_at.offset))
    return found


def _alerts(watch: Watch, streams: Mapping[str, Stream]) -> list[tuple[Alert | None, Alert | None]]:
    """Of each column the first alert, firing and ready."""
    n = min(len(one.values) for one in streams.values())
    rows = zip(*(one.values[:n] for one in streams.values()), strict=True)
    events = [
        {"model_id": "m", "prediction_id": str(i), "event_time": BEGUN_MS + APART_MS * i, "prediction": 0.0}
        | {"features": dict(zip(streams, row, strict=True))}
        for i, row in enumerate(rows)
    ]
    recorded = Records.build("events", 0, [(i, -1, b"m", msgspec.json.encode(e), ()) for i, e in enumerate(events)])
    trained = {("m", "", x): Reference.of(one.training, TRAINED) for x, one in streams.items() if watch.trained}
    fold = DetectFold(
        DetectSettings(
            codecs={"events": JsonCodec(JsonSettings())},
            detectors={watch.detector: settings_of(watch.detector, **watch.options)},
            references=References(trained),
            min_events_after_onset=ENOUGH,
        )
    )
    alerts = [read_alert(one.value) for one in fold.step([recorded]) if one.topic.endswith(".alerts")]
    return [_first([one for one in alerts if one.column == x and one.detector == watch.detector]) for x in streams]


def _first(alerts: Sequence[Alert]) -> tuple[Alert | None, Alert | None]:
    if not alerts:
        return None, None
    name = alerts[0].alert_id
    return alerts[0], next((a for a in alerts if a.alert_id == name and a.state is AlertState.READY), None)
