"""`driftline reject`: no."""

from __future__ import annotations

import click

from streamer.console.control_options import say, saying


@click.command()
@saying
def reject(config_file: str, request_id: str, actor: str, comment: str, at: str | None) -> None:
    """Reject a request: no training, or no promotion of what was trained. It ends there."""
    say("reject", config_file, request_id, at, actor=actor, comment=comment)
