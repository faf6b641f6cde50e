"""`driftline approve`: yes, train."""

from __future__ import annotations

import click

from streamer.console.control_options import say, saying


@click.command()
@saying
def approve(config_file: str, request_id: str, actor: str, comment: str, at: str | None) -> None:
    """Approve of a retrain, so that the trainer may start."""
    say("approve", config_file, request_id, at, actor=actor, comment=comment)
