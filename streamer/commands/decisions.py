"""`driftline approve`, `reject` and `promote`: the decisions of a person about a request."""

from __future__ import annotations

import click

from streamer.commands.console.control_options import request_options, send_control


@click.command()
@request_options
def approve(config_file: str, request_id: str, actor: str, comment: str, at: str | None) -> None:
    """Approve a retrain request, so that the trainer may start."""
    send_control("approve", config_file, request_id, at, actor=actor, comment=comment)


@click.command()
@request_options
def reject(config_file: str, request_id: str, actor: str, comment: str, at: str | None) -> None:
    """Reject a request: no training, or no promotion of the challenger. This ends the request."""
    send_control("reject", config_file, request_id, at, actor=actor, comment=comment)


@click.command()
@request_options
@click.option("--version", "model_version", default="", metavar="VERSION", help="The version that serves now.")
def promote(config_file: str, request_id: str, actor: str, comment: str, at: str | None, model_version: str) -> None:
    """Report that the challenger serves from now on.

    Closes the incident. Further drift then shows whether the retrain helped.
    """
    send_control("promote", config_file, request_id, at, actor=actor, comment=comment, model_version=model_version)
