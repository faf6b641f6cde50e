"""Runs the command line in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from streamer.cli import main


def cli(*arguments: str) -> Result:
    """What `driftline ARGUMENTS` prints and how it ends; exceptions that nobody handles are raised here."""
    return CliRunner(catch_exceptions=False).invoke(main, arguments, prog_name="driftline")
