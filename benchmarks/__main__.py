"""`make bench`: how fast Driftline is on one core of this machine, as ratios to the plain way in the same run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.throughput import banks, formats, replay, waiting_labels

TWO = "adwin and ks_window on every column"
WATCHED = {
    TWO: ("adwin", "ks_window", "rate"),
    "shiryaev_roberts, as by default": (),
    "all three": ("shiryaev_roberts", "adwin", "ks_window", "rate"),
}


def main() -> None:
    """Run on one core and print a line a figure."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        print(f"writing {replay.EVENTS:,} events of {replay.MODELS} models with 12 numeric columns ...", flush=True)
        replay.write_recording(path)
        # In turns, the best of three: compiling falls to a first run, and what else the machine does to all of them.
        rounds = [[replay.driftline(path, detectors) for detectors in WATCHED.values()] for _ in range(3)]
        ours = dict(zip(WATCHED, map(max, zip(*rounds, strict=True)), strict=True))
        for reported, events_per_s in ours.items():
            print(f"{f'driftline replay, {reported}':55} {events_per_s:12,.0f} events/s", flush=True)
        theirs = replay.plain(path)
        print(f"json + river.drift.ADWIN + scipy.stats.ks_2samp         {theirs:12,.0f} events/s")
        print(f"ratio                                                   {ours[TWO] / theirs:12,.0f}")
    print_banks()
    print_waiting()
    formats.print_costs()


def print_banks() -> None:
    """What a value costs in each detector, and in the libraries that do the same one series at a time."""
    few, some, many = banks.SERIES
    print(
        f"\nns a value, of so many series in random order {few:9,} {some:9,} {many:9,} as events    bytes a series",
        flush=True,
    )
    for cost in banks.costs():
        print(f"{cost.name:46}{_ns((*cost.seconds, cost.as_events))} {cost.size:17,}", flush=True)
    print(f"{'river.drift.ADWIN':46}{_ns([banks.river_adwin(series) for series in banks.SERIES])}")
    print(f"{'scipy.stats.ks_2samp at every value':46}{_ns([banks.scipy_ks()])}")


def _ns(seconds: list[float] | tuple[float, ...]) -> str:
    return " ".join(f"{s * 1e9:9,.1f}" for s in seconds)


def print_waiting() -> None:
    """The join of labels with the predictions that wait for them."""
    waiting = waiting_labels.measure()
    memory = waiting.bytes / waiting_labels.OPEN
    print(f"\n{waiting.labels_per_s:,.0f} labels/s meet their prediction, with {waiting_labels.OPEN:,} that wait in")
    print(f"{waiting.bytes / 1e6:,.0f} MB at most, {memory:.0f} bytes each")


if __name__ == "__main__":
    main()
