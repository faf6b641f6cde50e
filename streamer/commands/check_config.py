"""`driftline check-config`: is the configuration right, and what would it do?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from streamer.commands.options import config_option

if TYPE_CHECKING:
    from streamer.config import Config

EXAMPLE = """\b
The smallest configuration:
    kafka: {bootstrap: localhost:9092}
    topics: {my.predictions: {codec: json}}
"""


@click.command("check-config", epilog=EXAMPLE)
@config_option("The file to check.")
def check_config(config_file: str) -> None:
    """Say what a configuration does, or what is wrong with it.

    One line a problem, with file, line, setting and the name that was probably meant; exit code 2. No broker is needed.
    """
    from streamer.config import load_config

    click.echo(f"{config_file}: ok; {description(load_config(config_file))}")


def description(config: Config) -> str:
    """What a configuration does, on one line."""
    outputs = config.outputs
    reference = f"training data in {config.references.file}" if config.references.file else "each column's own past"
    return (
        f"reads {_listed(config.topics)} from {_listed(config.kafka.bootstrap)} as group {config.kafka.group}, "
        f"compares with {reference} by {_listed(config.detectors)}, "
        f"publishes to {_listed((outputs.alerts, outputs.incidents, outputs.requests, outputs.decisions))}"
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)
