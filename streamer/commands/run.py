"""`driftline run`: the service, as workers and their parent, or as one worker for a supervisor of your own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from streamer.console.options import config_option
from streamer.console.signals import signals_as_bytes, stop_on_signal

WORKERS_MAX: Final = 64
GRACE_S: Final = 60
GRACE_MAX_S: Final = 86_400
STDERR: Final = 2


@click.command()
@config_option("The configuration.")
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    metavar="N",
    help="So many worker processes, with the ordinals 0 to N-1.  [default: 1]",
)
@click.option(
    "--grace-s",
    type=click.IntRange(0, GRACE_MAX_S),
    metavar="SECONDS",
    default=GRACE_S,
    show_default=True,
    help="How long workers may take to finish before they are killed.",
)
@click.option(
    "--no-supervise",
    is_flag=True,
    help="Be a worker, for systemd, Kubernetes or another supervisor that starts it again.",
)
@click.option(
    "--worker",
    type=click.IntRange(0),
    metavar="K",
    help="The ordinal of this worker, with --no-supervise.  [default: 0]",
)
@click.option("--progress-fd", type=click.IntRange(0), hidden=True)
def run(
    config_file: str,
    workers: int | None,
    grace_s: int,
    no_supervise: bool,
    worker: int | None,
    progress_fd: int | None,
) -> None:
    """Watch the configured topics until told to stop.

    A small parent process starts a worker, which does the work, and starts it again when it ends without having been
    told to: at once if it had committed anything, else after a delay that grows to 30 s. It gives up after ten starts
    in a row that committed nothing, and at once when a new start can't help: exit codes 2 and 4, and 3 before anything
    was ever committed.

    SIGTERM and Ctrl-C let workers finish and commit, and end with exit code 0; Ctrl-C after that ends at once. Workers
    never outlive their parent, whatever ends it.

    Metrics of worker K are served at metrics.port + K, so with N workers that many ports are taken; with port 0, each
    takes a free one. A worker on its own (--no-supervise) serves them at metrics.port.
    """
    if no_supervise:
        if workers is not None:
            raise click.UsageError("--workers is for the parent; --no-supervise is one worker, named by --worker.")
        _work(config_file, worker or 0, progress_fd, grace_s)
    elif worker is not None or progress_fd is not None:
        raise click.UsageError("--worker is for one worker alone, with --no-supervise; the parent takes --workers.")
    else:
        raise click.exceptions.Exit(_supervise(config_file, workers or 1, grace_s))


def _supervise(config_file: str, workers: int, grace_s: int) -> int:
    from streamer.clock import SystemClock
    from streamer.supervision.stderr_writer import StderrWriter
    from streamer.supervision.supervisor import SIGNALS, Supervisor

    stderr = StderrWriter(STDERR)
    try:
        with signals_as_bytes(SIGNALS) as signals_fd:
            supervisor = Supervisor(
                lambda ordinal, fd: worker_command(config_file, ordinal, fd, grace_s),
                stderr,
                SystemClock(),
                workers=workers,
                grace_s=grace_s,
            )
            return supervisor.run(signals_fd)
    finally:
        stderr.close()


def worker_command(config_file: str, ordinal: int, progress_fd: int, grace_s: int) -> Sequence[str]:
    """The command line of one worker. It looks for modules where this process does."""
    # `python -m` looks in the working directory first, an installed `driftline` does not: there may lie other
    # packages of our names.
    safe_path = [] if str(Path.cwd()) in sys.path or "" in sys.path else ["-P"]
    return [
        *(sys.executable, *safe_path, "-m", "streamer.cli", "run", "--no-supervise"),
        *("--config", config_file, "--worker", str(ordinal)),
        *("--progress-fd", str(progress_fd), "--grace-s", str(grace_s)),
    ]


def _work(config_file: str, worker: int, progress_fd: int | None, grace_s: int) -> None:
    import logging

    from streamer.logs import log_to_stderr

    stop = stop_on_signal()
    log_to_stderr()
    progressed = _alone if progress_fd is None else _linked(progress_fd, stop, grace_s)

    from streamer.app import run as live
    from streamer.config import load_config
    from streamer.errors import InDoubtError

    config = load_config(config_file)
    if progress_fd is not None:
        config = config.with_metrics_port_of(worker)
    try:
        live.run(config, stop, worker=worker, progressed=progressed)
    except InDoubtError as error:
        click.echo(error.report(), err=True)
        logging.shutdown()
        os._exit(error.exit_code)  # the clients may have threads that never end


def _alone() -> None:
    """Nobody asks how far a worker is that has no parent."""


def _linked(progress_fd: int, stop: threading.Event, grace_s: int) -> Callable[[], None]:
    from streamer.clock import SystemClock
    from streamer.supervision.parent_link import ParentLink

    return ParentLink(progress_fd, stop, grace_s, SystemClock()).progressed
