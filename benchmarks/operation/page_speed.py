"""The speed of the page with 16,000 models of 12 columns, and a year of profiles for some of them.

`python -m benchmarks.operation.page_speed` starts a server as `driftline ui` does, over made-up topics in memory, asks
it for each view, and puts the table into `docs/page.md`. Other processes take turns on the processor: times by the wall
hold them, times of a core do not.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa

from benchmarks.page import written
from detectors.profile.layout import SLOTS
from detectors.profile.summary import DECILES
from retrain.messages.distribution import Distribution
from retrain.policy.settings import RetrainSettings
from streamer.audit.source import PROFILE, kinds_of
from streamer.clock import SystemClock
from streamer.contracts.profiles import ROWS_MAX, SCHEMA
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.page.access import Access
from streamer.page.desk import Desk
from streamer.page.follow import Follower, ReadStretch
from streamer.page.reader import Reader
from streamer.page.serve import listen, server_of
from streamer.page.server import Site
from streamer.page.store import Store
from streamer.testing.alerts import firing, ready

PAGE = Path(__file__).parents[2] / "docs" / "page.md"
MODELS = [
    f"{line}-{i:04}" for line in ("bus", "tram", "metro", "stop", "ferry", "rail", "taxi", "bike") for i in range(2000)
]
COLUMNS = [f"feature_{i:02}" for i in range(10)] + ["prediction", "error"]
DAYS, DAYS_OF_ALL, WITH_YEAR = 365, 5, 400  # of profiles; those of all models; models that have all of them
ALERTING = 8_000  # models with an incident, and most of them a request
ASKED, CLIENTS, FED, FED_S = 100, 200, 50, 12
FIRST_DAY = 20_454  # 2026-01-01 - 365 days and a half
MOVED = Distribution((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), 1000, 400, (300.0, 400.0, 500.0, 600.0))
TICKS = os.sysconf("SC_CLK_TCK")


def decided() -> list[tuple[str, bytes]]:
    """Alerts of half the fleet, and what the service makes of them."""
    topics, fold, found = OutputTopics(), DecideFold(RetrainSettings(storm_models_min=None)), list[tuple[str, bytes]]()
    kinds = kinds_of(topics)
    of = {"effect_unit": "ks_distance", "before": 412.0, "after": 530.0, "distribution": MOVED}
    for i, model in enumerate(MODELS[:: len(MODELS) // ALERTING]):
        column, effect = COLUMNS[i % 10], 0.2 + 0.7 * (i * 37 % 100) / 100
        fired = f"{i // 60}h {i % 60}m"
        later = f"{i // 60 + 3}h {i % 60}m"
        for alert in (
            firing(fired, model, column, effect=effect, **of),
            ready(later, fired, model, column, effect=effect, **of),
        ):
            value = msgspec.json.encode(alert)
            found.append(("alert", value))
            for out in fold.step([Records.build(topics.alerts, 0, [(len(found), -1, None, value, ())])]):
                if out.topic in kinds:
                    found.append((kinds[out.topic], out.value))
    return found


def batches(models: Sequence[str]) -> list[pa.RecordBatch]:
    """The messages of a day of these models, without their metadata."""
    names, rng, found = [(model, column) for model in models for column in COLUMNS], np.random.default_rng(1), []
    for first in range(0, len(names), ROWS_MAX):
        part = names[first : first + ROWS_MAX]
        n, middle = len(part), 400 + 10 * rng.random(min(ROWS_MAX, len(part)))
        shares = pa.array(np.full(n * DECILES, 25, np.uint8))
        none = pa.array([None] * (n * SLOTS), pa.string()).dictionary_encode()
        given: dict[str, Any] = {
            "model_id": [model for model, _ in part], "column": [column for _, column in part],
            "model_version": ["7"] * n, "segment": [""] * n, "topic": ["predictions"] * n, "is_number": [True] * n,
            "trained": [True] * n, "mean": middle, "compared": np.full(n, 10), "size": np.full(n, 80),
            "intervals": np.full(n, 1), "count": np.full(n, 720), "missing": np.full(n, 3), "faults": np.full(n, 0),
            "sd": np.full(n, 50.0), "psi": np.full(n, 0.02, np.float16), "ks": np.full(n, 0.02, np.float16),
            "cells": pa.FixedSizeListArray.from_arrays(shares, DECILES),
            "categories": pa.FixedSizeListArray.from_arrays(none, SLOTS),
            **{name: middle + at for name, at in (("p05", -80), ("p25", -30), ("p50", 0), ("p75", 30), ("p95", 80))},
        }  # fmt: skip
        found.append(
            pa.RecordBatch.from_arrays([_column(given[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
        )
    return found


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    return pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values).cast(kind)


def message(batch: pa.RecordBatch, day: int) -> bytes:
    about = {"unit": "detect-0", "interval": str(day), "length_s": "86400"}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema.with_metadata(about)) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


class Topics:
    """What the follower reads, and how long it takes: the time between two stretches is its own."""

    def __init__(self) -> None:
        self.rows, self.taken_s, self.lag_s = Counter[str](), Counter[str](), [0.0]
        self.progress: Any = None

    def __call__(self) -> Iterator[ReadStretch | None]:
        records, clock = decided(), SystemClock()
        for first in range(0, len(records), 20_000):
            yield from self._timed("records", records[first : first + 20_000], len(records[first : first + 20_000]))
        few, all_of = batches(MODELS[:WITH_YEAR]), batches(MODELS)
        for day in range(DAYS):
            for batch in all_of if day >= DAYS - DAYS_OF_ALL else few:
                yield from self._timed("profiles", [(PROFILE, message(batch, FIRST_DAY + day))], batch.num_rows)
        began_s = time.process_time()
        yield None
        self.taken_s["records"] += time.process_time() - began_s  # indexes and summaries
        fresh = [one for one in records if one[0] == "alert"][:: max(1, ALERTING // 1_000)]
        for i in range(int(FED_S / 0.2)):
            stretch = ReadStretch(fresh[i * FED // 5 % 900 :][: FED // 5])
            stretch.oldest_ms = stretch.newest_ms = int(clock.now_s() * 1000)
            yield stretch
            self.lag_s.append(self.progress.lag_s)
            time.sleep(0.2)
        while True:
            yield ReadStretch()
            time.sleep(0.5)

    def _timed(self, what: str, stretch: list[tuple[str, bytes]], rows: int) -> Iterator[ReadStretch]:
        given = ReadStretch(stretch)
        began_s = time.process_time()
        yield given
        self.taken_s[what] += time.process_time() - began_s
        self.rows[what] += rows


def serve() -> None:
    """The server. A line on its input ends it, after its figures are printed."""
    topics, store = Topics(), Store()
    follower = Follower(store, OutputTopics(), topics)
    topics.progress = follower.progress
    listener = listen("127.0.0.1", 0)
    access = Access("127.0.0.1", "ann")
    site = Site(Reader(store.path), follower.progress, access, "a made-up fleet", Desk(lambda *_: None, SystemClock()))
    server = server_of(site)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    follower.start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.readline()
    status = Path("/proc/self/status").read_text()
    print(msgspec.json.encode({
        "rows": topics.rows, "taken_s": topics.taken_s, "lag_s": max(topics.lag_s), "series": store.rows()["series"][0],
        "peak_mb": int(status.partition("VmHWM:")[2].split()[0]) / 1000, "disk_mb": store.path.stat().st_size / 1e6,
    }).decode(), flush=True)  # fmt: skip
    server.should_exit = True
    thread.join()
    follower.stop()
    store.close()


class Client:
    """Asks a server, and knows the processor time of its process."""

    def __init__(self, port: int, pid: int) -> None:
        self._port, self._stat = port, Path(f"/proc/{pid}/stat")

    def get(self, path: str) -> tuple[int, bytes, float]:
        """Status, body, and seconds."""
        began_s = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, answer.read(), time.perf_counter() - began_s
        connection.close()
        return found

    def cpu_s(self) -> float:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def measured(self, path: str) -> tuple[float, float, int]:
        """Seconds of 95 of 100 answers, seconds of a core for one, and bytes."""
        self.get(path)
        before_s, found = self.cpu_s(), [self.get(path) for _ in range(ASKED)]
        if {status for status, _, _ in found} != {200}:
            raise RuntimeError(f"{path} has no page")
        p95 = sorted(took for _, _, took in found)[int(0.95 * ASKED) - 1]
        return p95, (self.cpu_s() - before_s) / ASKED, len(found[0][1])

    def crowd(self, paths: Sequence[str]) -> tuple[int, float]:
        """How many of the clients at once got their page, and seconds to the last."""
        found: list[tuple[int, bytes, float]] = []
        threads = [threading.Thread(target=lambda path=path: found.append(self.get(path))) for path in paths]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return sum(status == 200 for status, _, _ in found), max(took for _, _, took in found)


def main() -> None:
    command = [sys.executable, "-m", "benchmarks.operation.page_speed", "serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    client = Client(int(process.stdout.readline() if process.stdout else ""), process.pid)
    while client.get("/readyz")[0] != 200:
        time.sleep(0.5)
    time.sleep(FED_S / 2)  # new records arrive while views are asked for
    request = msgspec.json.decode(client.get("/api/v1/requests")[1])["rows"][0]["request_id"]
    model = quote(MODELS[0])
    paths = {
        "`/fleet`, all cells": "/fleet", "`/model`, 12 columns": f"/model?name={model}",
        "`/column`, a year of days": f"/column?model={model}&column=feature_00", "`/incidents`": "/incidents",
        "`/requests`": "/requests", "`/request`": f"/request?id={request}", "`/explain`": f"/explain?id={request}",
        "`/search`": "/search?q=bus-001", "`/search`, near names alone": "/search?q=bsu-00011",
        "`/monitor`": "/monitor", "`/silences`": "/silences",
    }  # fmt: skip
    lines = []
    for name, path in paths.items():
        p95, cpu_s, size = client.measured(path)
        lines.append((name, f"{p95 * 1000:.0f} ms", f"{cpu_s * 1000:.0f} ms", f"{size / 1000:.0f} KB"))
        print(lines[-1], flush=True)
    answered, last_s = client.crowd([list(paths.values())[i % len(paths)] for i in range(CLIENTS)])
    load = os.getloadavg()[0]
    said, _ = process.communicate("end\n", timeout=60)
    found = msgspec.json.decode(said)
    rate = {what: found["rows"][what] / found["taken_s"][what] for what in found["rows"]}
    written("page views", ("view", "95 of 100 answers within", "of one core", "size"), lines, PAGE)
    written("page", ("figure", "measured"), [
        ("records rebuilt in a second of one core", f"{rate['records']:,.0f}, of {found['rows']['records']:,}"),
        ("rows of profiles in a second of one core", f"{rate['profiles']:,.0f}, of {found['rows']['profiles']:,}"),
        ("series, and days of the longest", f"{found['series']:,}, {DAYS}"),
        ("memory at most, and file", f"{found['peak_mb']:.0f} MB, {found['disk_mb']:,.0f} MB"),
        (f"{CLIENTS} clients at once", f"{answered} answered, the last after {last_s:.1f} s"),
        (f"lag of {FED} new alerts a second", f"{found['lag_s']:.1f} s at most"),
        ("load of the two cores", f"{load:.1f}"),
    ], PAGE)  # fmt: skip


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
