"""`driftline launch`: starts training runs for approved requests, and follows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.options import config_option
from streamer.commands.console.signals import stop_on_signal
from streamer.commands.service.companion import POLL_S, metrics_port_option, parent_option, serving, stop_with_parent

if TYPE_CHECKING:
    import threading

    from streamer.clock import Clock
    from streamer.config import Config
    from streamer.launch.base import LaunchRequest, Tools
    from streamer.launch.callbacks import Callbacks
    from streamer.launch.launcher import KeepReference, Launcher

PORT: Final = 9465

EXAMPLE = """\b
Example, in driftline.yaml:
    launch:
      "bus-*": {train: {airflow: {url: "http://airflow:8080", dag: retrain_bus, token_env: AIRFLOW_TOKEN}}}
      "*": {train: {command: ["python", "train.py"]}}
"""


@click.command(epilog=EXAMPLE)
@config_option("The configuration of the service.")
@click.option(
    "--runs",
    metavar="DIR",
    default="driftline-runs",
    show_default=True,
    help="The folder for runs of the target `command`, which must outlive this process.",
)
@metrics_port_option(PORT)
@parent_option
def launch(config_file: str, runs: str, metrics_port: int | None, parent_fd: int | None) -> None:
    """Start the training of approved requests, and report what comes of it, until a signal.

    For each request that needs no approval, or has it, the target of its model's pattern in `launch` starts one run,
    under the id of the request. The launcher reports `started` with the run and its link, follows the run, and reports
    `trained` or `failed`, unless the trainer does so itself. It cancels the runs of requests that are rejected,
    withdrawn or expired.

    With `callbacks` in the configuration, it also receives signed messages about runs.

    The topics are its only memory: after a crash, it goes on where they end. Runs do not depend on it. A second process
    takes over, and the first one ends with exit code 3 before it launches anything else.
    """
    from streamer.logs import log_to_stderr

    stop = stop_on_signal()
    log_to_stderr()
    stop_with_parent(parent_fd, stop)

    from streamer.config import load_config

    _launch(load_config(config_file), config_file, runs, PORT if metrics_port is None else metrics_port, stop)


def _launch(config: Config, config_file: str, runs: str, port: int, stop: threading.Event) -> None:
    """Launch until `stop` is set. Raises `UsageError` for unusable settings, and `BrokerError`."""
    from contextlib import closing
    from pathlib import Path

    from streamer.clock import SystemClock
    from streamer.eventlog.kafka.reader import KafkaReader
    from streamer.launch.base import Tools
    from streamer.launch.http import Http
    from streamer.launch.launcher import Launcher, log
    from streamer.launch.ledger import ControlTopic, Ledger
    from streamer.launch.settings import check_launch
    from streamer.telemetry.table import LAUNCH_TABLE

    clock, outputs, connection = SystemClock(), config.outputs, config.kafka.connection()
    tools = Tools(Http(), Path(runs), str(Path(config_file).absolute()))
    check_launch(config.launch, tools)
    with (
        serving(config, LAUNCH_TABLE, port, clock) as metrics,
        closing(ControlTopic(connection, outputs.control, config.launch_group)) as control,
        closing(KafkaReader(connection, [outputs.requests, outputs.decisions, outputs.control])) as reader,
    ):
        ledger = Ledger(outputs)
        launcher = Launcher(ledger, config.launch, tools, clock, control.append, keeps_references(config))
        with receiving(config, launcher, tools, clock) as callbacks:
            while not stop.is_set():
                for records in reader.poll(POLL_S):
                    ledger.add(records)
                    control.reached(records)
                metrics.alive()
                if metrics.health.is_ready:
                    if callbacks is not None:
                        callbacks.turn()
                    launcher.turn()
                    launcher.show(metrics)
                elif reader.at_end():
                    log.info("launching for %s; %d requests are open", ", ".join(config.launch), len(ledger.tasks))
                    metrics.ready(True)
        launcher.close()
    log.info("stopped; the runs go on")


@contextmanager
def receiving(config: Config, launcher: Launcher, tools: Tools, clock: Clock) -> Iterator[Callbacks | None]:
    """The receiver of callbacks, if one is configured."""
    if config.callbacks.secret_env is None:
        yield None
        return

    from streamer.launch.callbacks import Callbacks

    callbacks = Callbacks(config.callbacks, launcher, tools, clock)
    try:
        yield callbacks
    finally:
        callbacks.stop()


def keeps_references(config: Config) -> KeepReference | None:
    """What stores the reference of a challenger; None without a store."""
    if config.references.url is None:
        return None

    from streamer.errors import BrokerError, DriftlineError
    from streamer.launch.base import TargetDown, TargetRefused
    from streamer.training.read import store_reference

    def keep(request: LaunchRequest, version: str) -> None:
        try:
            store_reference(request.raw, version, config=config)
        except BrokerError as problem:
            raise TargetDown(str(problem)) from problem
        except DriftlineError as problem:
            raise TargetRefused(f"{problem} Version {version} keeps the baseline of its first values") from problem

    return keep
