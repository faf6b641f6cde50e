"""`driftline run`: the service, as workers with a parent process, or as one worker under another supervisor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.lines import echo_report
from streamer.commands.console.options import config_option
from streamer.commands.console.signals import signals_as_bytes, stop_on_signal
from streamer.commands.service.companion import PORT_MAX, UI_PORT

if TYPE_CHECKING:
    from streamer.runtime.supervision.worker_process import CommandOf

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
    help="The number of worker processes, with the ordinals 0 to N-1.  [default: 1]",
)
@click.option(
    "--grace-s",
    type=click.IntRange(0, GRACE_MAX_S),
    metavar="SECONDS",
    default=GRACE_S,
    show_default=True,
    help="The time for workers to finish before they are killed.",
)
@click.option(
    "--ui",
    type=click.IntRange(0, PORT_MAX),
    is_flag=False,
    flag_value=UI_PORT,
    metavar="[PORT]",
    help=f"Also serve the page on this machine, by `driftline ui`.  [default: no page; {UI_PORT} without PORT]",
)
@click.option("--launch", is_flag=True, help="Also start training runs, by `driftline launch` with its defaults.")
@click.option(
    "--no-supervise",
    is_flag=True,
    help="Run one worker, for systemd, Kubernetes or another supervisor that restarts it.",
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
    ui: int | None,
    launch: bool,
    no_supervise: bool,
    worker: int | None,
    progress_fd: int | None,
) -> None:
    """Monitor the configured topics until a signal.

    A small parent process starts the workers and restarts one that ends without a signal: at once if it had committed
    anything, else after a delay that grows to 30 s. It gives up after ten starts in a row without a commit, and at once
    when a restart can't help: at exit codes 2 and 4, and at 3 before the first commit.

    On SIGTERM or Ctrl-C, workers finish and commit, and the exit code is 0. A second Ctrl-C ends them at once. Workers
    never outlive their parent.

    Worker K serves metrics at metrics.port + K, so N workers take N ports; with port 0, each takes a free one. A worker
    on its own (--no-supervise) serves them at metrics.port.

    --ui and --launch are for one machine. These processes end with the workers, and restart when they fail.
    """
    beside = {} if ui is None else {"ui": ["--port", str(ui)]}
    beside |= {"launch": []} if launch else {}
    if no_supervise and beside:
        name = next(iter(beside))
        raise click.UsageError(f"--{name} is for the parent. With --no-supervise, run `driftline {name}`.")
    if no_supervise:
        if workers is not None:
            raise click.UsageError(
                "--workers is for the parent. With --no-supervise there is one worker; --worker sets its ordinal."
            )
        _work(config_file, worker or 0, progress_fd, grace_s)
    elif worker is not None or progress_fd is not None:
        raise click.UsageError("--worker needs --no-supervise. The parent takes --workers.")
    else:
        raise click.exceptions.Exit(_supervise(config_file, workers or 1, grace_s, beside))


def _supervise(config_file: str, workers: int, grace_s: int, beside: Mapping[str, Sequence[str]]) -> int:
    from streamer.clock import SystemClock
    from streamer.runtime.supervision.stderr_writer import StderrWriter
    from streamer.runtime.supervision.supervisor import SIGNALS, Supervisor

    stderr = StderrWriter(STDERR)
    try:
        with signals_as_bytes(SIGNALS) as signals_fd:
            supervisor = Supervisor(
                lambda ordinal, fd: worker_command(config_file, ordinal, fd, grace_s),
                stderr,
                SystemClock(),
                workers=workers,
                grace_s=grace_s,
                companions={name: companion_command(config_file, name, more) for name, more in beside.items()},
            )
            return supervisor.run(signals_fd)
    finally:
        stderr.close()


def worker_command(config_file: str, ordinal: int, progress_fd: int, grace_s: int) -> Sequence[str]:
    """The command line of one worker."""
    return [
        *(*_driftline(), "run", "--no-supervise"),
        *("--config", config_file, "--worker", str(ordinal)),
        *("--progress-fd", str(progress_fd), "--grace-s", str(grace_s)),
    ]


def companion_command(config_file: str, name: str, more: Sequence[str]) -> CommandOf:
    """The command line of a process beside the workers, by the number of its end of the socket."""
    return lambda _, fd: [*_driftline(), name, "--config", config_file, *more, "--parent-fd", str(fd)]


def _driftline() -> list[str]:
    """The command `driftline`, with the module path of this process."""
    # `python -m` looks in the working directory first, which may hold other packages of our names; an installed
    # `driftline` does not.
    safe_path = [] if str(Path.cwd()) in sys.path or "" in sys.path else ["-P"]
    return [sys.executable, *safe_path, "-m", "streamer.cli"]


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
        echo_report(error.report())
        logging.shutdown()
        os._exit(error.exit_code)  # the clients may have threads that never end


def _alone() -> None:
    """A worker without a parent reports no progress."""


def _linked(progress_fd: int, stop: threading.Event, grace_s: int) -> Callable[[], None]:
    from streamer.clock import SystemClock
    from streamer.runtime.supervision.worker_process import ParentLink

    return ParentLink(progress_fd, stop, grace_s, SystemClock()).progressed
