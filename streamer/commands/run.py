"""`driftline run`: the service."""

from __future__ import annotations

import click

from streamer.commands.options import config_option
from streamer.commands.signals import stop_on_signal


@click.command()
@config_option("The configuration.")
def run(config_file: str) -> None:
    """Watch the configured topics until told to stop.

    SIGTERM and Ctrl-C finish the commit under way and end with exit code 0; Ctrl-C after that ends at once.
    """
    import logging

    from streamer import live
    from streamer.config import load_config

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = load_config(config_file)
    live.run(config, stop_on_signal(), 0, lambda: None)
