"""Recorded streams with marked changes, as events: errors of models, a labelled stream, road sensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from detectors.arrays.types import F64, I64

DATA = Path(__file__).parents[2] / "examples" / "data"
HORIZON = 2000  # events after a change in which an alert finds it
TRAINED = 2000  # first events from which the model of a labelled stream is made
CHANGES = {"abrupto": (8000, 8000), "gradual": (7000, 8000)}  # of the error streams: from here to here
BEGUN_MS, MINUTE_MS = 1_767_571_200_000, 60_000


class Stream(NamedTuple):
    """The events of one model, and where one of its columns changes."""

    group: str
    model: str
    column: str
    events: list[dict[str, Any]]
    changes: list[tuple[int, int]]  # of each, in which events an alert finds it: from the first to before the last


def streams() -> Iterator[Stream]:
    """All of them."""
    yield from error_streams()
    yield from sine()
    yield from traffic()


def error_streams() -> Iterator[Stream]:
    """Whether a model that was trained once is wrong, on twelve streams whose concept changes once."""
    table = pq.read_table(DATA / "error_streams.parquet")
    names, errors = table["stream"].to_numpy(zero_copy_only=False), table["error"].to_numpy()
    for name in dict.fromkeys(names.tolist()):
        group = "abrupto" if "abrupto" in name else "gradual"
        begins, ends = CHANGES[group]
        events = _timed([{"prediction": 0, "label": int(error)} for error in errors[names == name]])
        yield Stream(f"errors of a frozen model, {group}", name, "error", events, [(begins, ends + HORIZON)])


def sine() -> Iterator[Stream]:
    """Two features and a class, whose concept changes three times; a Gaussian naive Bayes of the first 2,000 events."""
    table = pq.read_table(DATA / "sine_0123_abrupto.parquet")
    x = np.column_stack([table["x0"].to_numpy(), table["x1"].to_numpy()])
    y = table["y"].to_numpy().astype(np.int64)
    predicted = _naive_bayes(x, y)
    of = zip(x.tolist(), predicted.tolist(), y.tolist(), strict=True)
    events = _timed([{"features": {"x0": a, "x1": b}, "prediction": p, "label": c} for (a, b), p, c in of])
    changes = [(at, at + HORIZON) for at in (10_000, 20_000, 30_000)]
    yield Stream("sine, the error", "sine", "error", events, changes)
    for column in ("x0", "x1"):
        yield Stream("sine, its features", "sine", column, events, [(20_000, 30_000)])


def traffic() -> Iterator[Stream]:
    """Road sensors, in which anomalies of hours are marked, and series made without any."""
    marks = json.loads((DATA / "nab_traffic.json").read_text())
    table = pq.read_table(DATA / "nab_traffic.parquet").to_pydict()
    rows = zip(table["stream"], table["timestamp"], table["value"], strict=True)
    events: dict[str, list[dict[str, Any]]] = {}
    for name, at, value in rows:
        events.setdefault(name, []).append({"event_time": f"{at.isoformat()}Z", "features": {"value": value}})
    for name, windows in marks.items():
        group = "road sensors" if windows else "daily cycles and noise, made"
        yield Stream(group, name, "value", events[name], [(first, last + 1) for first, last in windows])


def _naive_bayes(x: F64, y: I64) -> I64:
    """The more likely class of each, by the first values."""
    fits = []
    for of_class in (x[:TRAINED][y[:TRAINED] == k] for k in (0, 1)):
        mean, spread = of_class.mean(axis=0), of_class.std(axis=0)
        fits.append((-0.5 * ((x - mean) / spread) ** 2 - np.log(spread)).sum(axis=1) + np.log(len(of_class)))
    return (fits[1] > fits[0]).astype(np.int64)


def _timed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"event_time": BEGUN_MS + MINUTE_MS * i} | event for i, event in enumerate(events)]
