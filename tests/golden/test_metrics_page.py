"""The page at /metrics, as Prometheus reads it."""

from __future__ import annotations

from streamer.clock import ManualClock
from streamer.telemetry.metrics import Metrics


def test_the_page_of_a_fresh_service(golden):
    """Names, help texts, labels and zeros of a service that has just started on one topic with one detector."""
    metrics = Metrics(ManualClock())
    metrics.expect(["bus.predictions"], ["adwin"])
    lines = metrics.expose().decode().splitlines(keepends=True)
    of_ours = [line for line in lines if "driftline_" in line and "build_info{" not in line]
    golden("metrics.txt", "".join(of_ours))
