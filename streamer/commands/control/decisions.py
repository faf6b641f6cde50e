"""`driftline approve`, `reject` and `promote`: the decisions of a person about a request."""

from __future__ import annotations

import click

from streamer.commands.console.control_options import ANSWERS, ControlOptions, request_options, send_control
from streamer.commands.console.lines import echo_line


@click.command(epilog=ANSWERS)
@request_options
def approve(options: ControlOptions, request_id: str) -> None:
    """Approve a retrain request, so that the trainer may start; or release a held storm or source."""
    echo_line(send_control("approve", options, request_id))


@click.command(epilog=ANSWERS)
@request_options
def reject(options: ControlOptions, request_id: str) -> None:
    """Reject a request: no training, or no promotion of the challenger. This ends the request.

    With the id of a held storm or source, none of its models is retrained.
    """
    echo_line(send_control("reject", options, request_id))


@click.command(epilog=ANSWERS)
@request_options
@click.option("--version", "model_version", default="", metavar="VERSION", help="The version that serves now.")
def promote(options: ControlOptions, request_id: str, model_version: str) -> None:
    """Report that the challenger serves from now on.

    Closes the incident. Further drift then shows whether the retrain helped.
    """
    echo_line(send_control("promote", options, request_id, model_version=model_version))
