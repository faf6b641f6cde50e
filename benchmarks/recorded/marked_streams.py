"""Recorded streams with marked changes, replayed: which changes are reported, how soon, and what beside them.

python -m benchmarks.recorded.marked_streams    writes the table into docs/detectors/measurements.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.page import written
from benchmarks.recorded.marked_data import Stream, streams
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config.models import default_detectors
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, LabelSettings
from streamer.eventlog.base import Records

DETECTORS = ("shiryaev_roberts", "adwin", "ks_window")
COLUMNS = ("group", "streams", "events", "changes", *(f"{name}: found, delay, elsewhere" for name in DETECTORS))


class Found(NamedTuple):
    """What one detector tells of a stream."""

    after: list[int]  # events from where a change begins to its first alert, of those that are found
    elsewhere: int


def reported(stream: Stream) -> dict[str, Found]:
    """What each detector tells of the stream's column."""
    detectors = default_detectors() | {name: settings_of(name) for name in DETECTORS[1:]}
    settings = DetectSettings({"e": JsonCodec(JsonSettings())}, detectors, labels=LabelSettings(error="zero_one"))
    lines = [json.dumps({"model_id": stream.model} | event).encode() for event in stream.events]
    records = Records.build("e", 0, [(i, -1, None, line, ()) for i, line in enumerate(lines)])
    alerts = [json.loads(one.value) for one in DetectFold(settings).step([records]) if one.topic == "driftline.alerts"]
    mine = [one for one in alerts if one["state"] == "firing" and one["column"] == stream.column]
    return {
        name: _found([one["at"]["offset"] for one in mine if one["detector"] == name], stream.changes)
        for name in DETECTORS
    }


def _found(at: list[int], changes: list[tuple[int, int]]) -> Found:
    first = [next((a - begins for a in at if begins <= a < ends), None) for begins, ends in changes]
    elsewhere = [a for a in at if not any(begins <= a < ends for begins, ends in changes)]
    return Found([after for after in first if after is not None], len(elsewhere))


def lines() -> Iterator[list[str]]:
    """A line a group of streams."""
    all_streams = list(streams())
    for group in dict.fromkeys(stream.group for stream in all_streams):
        mine = [stream for stream in all_streams if stream.group == group]
        found = [reported(stream) for stream in mine]
        cells = []
        for name in DETECTORS:
            after = [events for one in found for events in one[name].after]
            median = f", {np.median(after):.0f}" if after else ""
            cells.append(f"{len(after)}{median}, {sum(one[name].elsewhere for one in found)}")
        n = sum(len(stream.events) for stream in mine)
        yield [group, str(len(mine)), f"{n:,}", str(sum(len(stream.changes) for stream in mine)), *cells]


if __name__ == "__main__":
    written("marked streams", COLUMNS, lines())
