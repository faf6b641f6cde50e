"""How far the read model is, and the metrics of the page: what the follower has read, and what the server answered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamer.clock import Clock, SystemClock
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.table import PAGE_TABLE

OTHER: Final = "other"  # the view of an address that is none


@dataclass(slots=True)
class Progress:
    """How far the read model is; written by the follower, read by all."""

    is_loaded: bool = False  # everything that was there at the start is in
    version: int = 0  # increases with each change that readers can see
    records: int = 0
    unreadable: int = 0
    cut: int = 0
    problem: str = ""  # why nothing is read at the moment; "" if it is
    newest_ms: int = 0  # when the newest record was written, since 1970; 0 where that is unknown
    lag_s: float = 0.0  # from the writing of the oldest record of the last change until readers could see it
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # table -> rows, and their bound


class PageMetrics:
    """The metrics of one server, from any thread."""

    def __init__(self, progress: Progress, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._progress = progress
        self._metrics = Metrics(self.clock, table=PAGE_TABLE)
        self._counted: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def answered(self, view: str, code: int, seconds: float) -> None:
        """Count an answer. `view` comes from a closed set."""
        self._metrics.add("driftline_ui_requests_total", 1, view, str(code))
        self._metrics.observe("driftline_ui_request_seconds", seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        with self._lock:
            progress, show = self._progress, self._metrics.set
            self._count(progress.records, "driftline_ui_records_total")
            self._count(progress.unreadable, "driftline_ui_left_out_total", "unreadable")
            self._count(progress.cut, "driftline_ui_left_out_total", "bound")
            self._metrics.ready(progress.is_loaded)
            show("driftline_ui_following", int(not progress.problem))
            show("driftline_ui_record_timestamp_seconds", progress.newest_ms / 1000)
            show("driftline_ui_lag_seconds", progress.lag_s)
            for table, (rows, rows_max) in progress.rows.items():
                show("driftline_ui_table_rows", rows, table)
                show("driftline_ui_table_rows_max", rows_max, table)
            return self._metrics.expose()

    def _count(self, n: int, name: str, *labels: str) -> None:
        self._metrics.add(name, n - self._counted.get((name, *labels), 0), *labels)
        self._counted[name, *labels] = n
