"""The memory of a worker under a steady load whose state does not grow.

`python -m benchmarks.operation.soak [MINUTES] [RECORDS_PER_S]` starts a broker and the service and prints the worker's
resident memory each minute, then its growth after the first five minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.operation.steady_load import PARTITIONS, TOPIC, SteadyLoad, write_config
from benchmarks.operation.watched_service import COMMAND, Service, service
from streamer.testing.kafka import Broker

MINUTES, RECORDS_PER_S = 20, 1_000
SETTLED_AFTER_MIN = 5
CHECKPOINT_S = 10
SAMPLE_S = 5.0


def main(minutes: float = MINUTES, records_per_s: float = RECORDS_PER_S) -> None:
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        broker.create_topics({TOPIC: PARTITIONS})
        config = write_config(broker, Path(folder), checkpoint_s=CHECKPOINT_S)
        subprocess.run([*COMMAND, "topics", "--create", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
        with service(config) as running:
            running.wait_for(lambda page: page.get("driftline_ready") == 1)
            load = SteadyLoad(broker.bootstrap, records_per_s)
            report(watched(running, minutes))
            load.stop()


def watched(running: Service, minutes: float) -> list[tuple[float, float]]:
    """(minute, MB resident) of the worker, each few seconds; a line is printed each minute."""
    began_s, samples, printed = time.monotonic(), list[tuple[float, float]](), -1
    while (minute := (time.monotonic() - began_s) / 60) < minutes:
        samples.append((minute, resident_mb(running.worker)))
        if int(minute) > printed:
            printed = int(minute)
            page = running.page()
            records, series = page.get(f'driftline_records_total{{topic="{TOPIC}"}}'), page.get("driftline_series")
            print(
                f"minute {printed:3}: {samples[-1][1]:.1f} MB, {records:,.0f} records, {series:,.0f} series", flush=True
            )
        time.sleep(SAMPLE_S)
    return samples


def report(samples: list[tuple[float, float]]) -> None:
    settled = np.array([each for each in samples if each[0] >= SETTLED_AFTER_MIN])
    if len(settled) > 1:
        slope, _ = np.polyfit(settled[:, 0], settled[:, 1], 1)
        first, last = settled[0, 1], settled[-1, 1]
        print(f"after minute {SETTLED_AFTER_MIN}: {first:.0f} to {last:.0f} MB, {slope * 60:+.0f} MB an hour")


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
