"""`driftline launch`: starts training runs for approved requests, and follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.options import config_option
from streamer.commands.console.signals import stop_on_signal

if TYPE_CHECKING:
    import threading

    from streamer.config import Config

POLL_S: Final = 0.2

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
def launch(config_file: str, runs: str) -> None:
    """Start the training of approved requests, and report what comes of it, until a signal.

    For each request that needs no approval, or has it, the target of its model's pattern in `launch` starts one run,
    under the id of the request. The launcher reports `started` with the run and its link, follows the run, and reports
    `trained` or `failed`, unless the trainer does so itself. It cancels the runs of requests that are rejected,
    withdrawn or expired.

    The topics are its only memory: after a crash, it goes on where they end. Runs do not depend on it.
    """
    from streamer.logs import log_to_stderr

    stop = stop_on_signal()
    log_to_stderr()

    from streamer.config import load_config

    _launch(load_config(config_file), config_file, runs, stop)


def _launch(config: Config, config_file: str, runs: str, stop: threading.Event) -> None:
    """Launch until `stop` is set. Raises `UsageError` for unusable settings, and `BrokerError`."""
    from pathlib import Path

    from streamer.clock import SystemClock
    from streamer.eventlog.kafka.reader import KafkaReader
    from streamer.launch.base import Tools
    from streamer.launch.http import Http
    from streamer.launch.launcher import Launcher, log
    from streamer.launch.ledger import ControlTopic, Ledger
    from streamer.launch.settings import check_launch

    clock, outputs, connection = SystemClock(), config.outputs, config.kafka.connection()
    tools = Tools(Http(), Path(runs), str(Path(config_file).absolute()))
    check_launch(config.launch, tools)
    control = ControlTopic(connection, outputs.control, clock)
    reader = KafkaReader(connection, [outputs.requests, outputs.decisions, outputs.control])
    ledger = Ledger(outputs)
    launcher = Launcher(ledger, config.launch, tools, clock, control.append)
    try:
        while not reader.at_end() and not stop.is_set():
            for records in reader.poll(POLL_S):
                ledger.add(records)
        log.info("launching for %s; %d requests are open", ", ".join(config.launch), len(ledger.tasks))
        while not stop.is_set():
            for records in reader.poll(POLL_S):
                ledger.add(records)
            launcher.turn()
        launcher.close()
    finally:
        reader.close()
        control.close()
    log.info("stopped; the runs go on")
