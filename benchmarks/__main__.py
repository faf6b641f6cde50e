"""`make bench`: how fast Driftline is on one core of this machine, as ratios to the plain way in the same run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks import replay


def main() -> None:
    """Run on one core and print a line a figure."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        print(f"writing {replay.EVENTS:,} events of {replay.MODELS} models with 12 numeric columns ...", flush=True)
        replay.write_recording(path)
        ours = replay.driftline(path)
        print(f"driftline replay, adwin and ks_window on every column   {ours:12,.0f} events/s", flush=True)
        theirs = replay.plain(path)
        print(f"json + river.drift.ADWIN + scipy.stats.ks_2samp         {theirs:12,.0f} events/s")
        print(f"ratio                                                   {ours / theirs:12,.0f}")


if __name__ == "__main__":
    main()
