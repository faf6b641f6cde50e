"""`driftline launch`: starts training runs for approved requests, and follows them."""

from __future__ import annotations

import click

from streamer.commands.console.options import config_option
from streamer.commands.console.signals import stop_on_signal

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
    from pathlib import Path

    from streamer.logs import log_to_stderr

    stop = stop_on_signal()
    log_to_stderr()

    from streamer.app import launch as app
    from streamer.config import load_config

    app.launch(load_config(config_file), config_file, Path(runs), stop)
