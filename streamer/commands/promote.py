"""`driftline promote`: the challenger serves from now on."""

from __future__ import annotations

import click

from streamer.console.control_options import say, saying


@click.command()
@saying
@click.option("--version", "model_version", default="", metavar="VERSION", help="That which serves now.")
def promote(config_file: str, request_id: str, actor: str, comment: str, at: str | None, model_version: str) -> None:
    """Say that what was trained serves from now on. Closes the incident and watches whether it helped."""
    say("promote", config_file, request_id, at, actor=actor, comment=comment, model_version=model_version)
