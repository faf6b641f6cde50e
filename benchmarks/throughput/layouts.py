"""Records of one layout, read by the kernel and the plain way, in turns: decoding alone, and a whole replay.

`python -m benchmarks.throughput.layouts [TURNS]` prints the processor time of an event, medians. The events are those
of the replay benchmark: a model, a version, a time and 12 numbers of 17 digits, about 450 bytes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.throughput import replay
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.eventlog.base import Records
from streamer.events import Names

EVENTS = 50_000
TURNS = 5
DETECTORS = ("adwin", "ks_window")


def main(turns: int = TURNS) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(replay, "EVENTS", EVENTS):
        path = Path(folder) / "events.parquet"
        replay.write_recording(path)
        show("decode", in_turns(lambda: decoding(path), turns))
        show("replay", in_turns(lambda: lambda: replay.driftline(path, DETECTORS), turns))


def decoding(path: Path) -> Callable[[], object]:
    """A call that decodes all records, whose names are known."""
    codec, names = JsonCodec(JsonSettings()), Names.fresh()
    values = list(replay.values_of(path))
    records = Records.build("predictions", 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])
    return lambda: codec.decode(records, names)


def in_turns(work: Callable[[], Callable[[], object]], turns: int) -> dict[str, float]:
    """The µs of processor time of an event, by way."""
    spent: dict[str, list[float]] = defaultdict(list)
    calls = {}
    for way, has_layouts in (("the kernel", True), ("the plain way", False)):
        with patch.object(JsonCodec, "has_layouts", has_layouts):
            calls[way] = has_layouts, work()
            calls[way][1]()
    for _ in range(turns):
        for way, (has_layouts, call) in calls.items():
            with patch.object(JsonCodec, "has_layouts", has_layouts):
                before_s = time.process_time()
                call()
                spent[way].append((time.process_time() - before_s) / EVENTS * 1e6)
    return {way: float(np.median(each)) for way, each in spent.items()}


def show(what: str, found: dict[str, float]) -> None:
    ours, plain = found.values()
    print(
        f"{what}: {ours:.2f} us an event by the kernel, {plain:.2f} the plain way: {plain / ours:.2f} times", flush=True
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
