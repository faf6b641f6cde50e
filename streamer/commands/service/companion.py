"""What the processes beside the service have in common: metrics and health at a port, and an end at a signal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from streamer.clock import Clock
    from streamer.config import Config
    from streamer.telemetry.metrics import Metrics
    from streamer.telemetry.table import Spec

POLL_S: Final = 0.2
PORT_MAX: Final = 65_535
UI_PORT: Final = 8093
GRACE_S: Final = 10.0


def metrics_port_option(default: int) -> Callable[[Any], Any]:
    """`--metrics-port PORT`."""
    return click.option(
        "--metrics-port",
        type=click.IntRange(0, PORT_MAX),
        metavar="PORT",
        help=f"The port for metrics and health, at metrics.host; 0 takes a free one.  [default: {default}, or 0 if "
        "metrics.port is 0]",
    )


parent_option: Final = click.option("--parent-fd", type=click.IntRange(0), hidden=True)  # given by `driftline run`


def stop_with_parent(fd: int | None, stop: threading.Event) -> None:
    """Set `stop` when the parent at the other end of `fd` is gone; None: there is no parent."""
    if fd is not None:
        from streamer.clock import SystemClock
        from streamer.runtime.supervision.worker_process import ParentLink

        ParentLink(fd, stop, GRACE_S, SystemClock())


@contextmanager
def serving(config: Config, table: tuple[Spec, ...], port: int, clock: Clock) -> Iterator[Metrics]:
    """The metrics of a table at a port, and a watchdog over the loop. Raises `UsageError` for a port that is taken."""
    from streamer.logs import log_of
    from streamer.telemetry.health import Watchdog
    from streamer.telemetry.metrics import Metrics

    metrics = Metrics(clock, table=table)
    endpoint = metrics.serve(config.metrics.host, port if config.metrics.port else 0)
    watchdog = Watchdog(metrics.health.idle_s)
    log_of("telemetry").info("metrics at %s/metrics", endpoint.url)
    try:
        yield metrics
    finally:
        watchdog.stop()
        endpoint.stop()
