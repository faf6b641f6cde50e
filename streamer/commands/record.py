"""`driftline record`: topics to a Parquet file, for replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import brokers_options, connection_of
from streamer.commands.console.progress import progress
from streamer.commands.console.signals import stop_on_signal

if TYPE_CHECKING:
    from streamer.eventlog.kafka.connection import KafkaConnection

EXAMPLE = """\b
Example:
    driftline record --bootstrap localhost:9092 bus.predictions --until-end --out june.parquet
"""


@click.command(epilog=EXAMPLE)
@click.argument("topics", metavar="[TOPIC]...", nargs=-1)
@brokers_options("The configuration with the brokers, and with the topics unless TOPIC names them.")
@click.option("--out", metavar="FILE", required=True, help="The Parquet file to write; it appears when it is complete.")
@click.option("--until-end", is_flag=True, help="Stop at the current ends of the topics.")
@click.option("--records", "records_max", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option(
    "--from",
    "start",
    type=click.Choice(["earliest", "latest"]),
    default="earliest",
    show_default=True,
    help="The offset to begin at.",
)
def record(
    topics: tuple[str, ...],
    config_file: str | None,
    bootstrap: str | None,
    out: str,
    until_end: bool,
    records_max: int | None,
    start: Literal["earliest", "latest"],
) -> None:
    """Record topics to a Parquet file.

    The file keeps records byte for byte, with offsets, times and headers. The command ends with --until-end, after
    --records, or on Ctrl-C or SIGTERM. The file is complete in each case. No consumer group changes.
    """
    connection, wanted = _what(config_file, bootstrap, topics)
    from streamer.app import record as app

    stop = stop_on_signal()
    with progress("record") as report:
        n = app.record(
            connection,
            wanted,
            out,
            start=start,
            until_end=until_end,
            records_max=records_max,
            stop=stop,
            progress=report,
        )
    echo_line(f"{out}: {n:,} records of {', '.join(wanted)}", err=True)


def _what(
    config_file: str | None, bootstrap: str | None, topics: tuple[str, ...]
) -> tuple[KafkaConnection, tuple[str, ...]]:
    """The connection and the topics from the options."""
    if bootstrap is not None and not topics:
        raise click.UsageError("Name at least one topic to record.")
    connection = connection_of(config_file, bootstrap)
    if topics:
        return connection, topics
    from streamer.config import load_config

    return connection, tuple(load_config(str(config_file)).topics)
