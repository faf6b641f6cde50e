"""`driftline send`: recordings into Kafka, for trials and for tests of a whole pipeline."""

from __future__ import annotations

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import brokers_options, connection_of
from streamer.commands.console.progress import progress
from streamer.commands.console.signals import stop_on_signal

EPILOG = """\b
Examples:
    driftline send june.parquet --to trial.predictions --bootstrap localhost:9092
    driftline send june.parquet --to trial.predictions --bootstrap localhost:9092 --speed 60
"""


@click.command(epilog=EPILOG)
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@brokers_options("The configuration with the brokers.")
@click.option("--to", "topic", metavar="TOPIC", help="The topic of all records; the default is the recorded topic.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="FACTOR",
    help="Keep the gaps between record times, divided by FACTOR; 1 is the recorded pace. The default is not to wait.",
)
@click.option("--keep-times", is_flag=True, help="Keep the record times. Kafka may delete old records at once then.")
def send(
    recordings: tuple[str, ...],
    config_file: str | None,
    bootstrap: str | None,
    topic: str | None,
    speed: float | None,
    keep_times: bool,
) -> None:
    """Send recordings into Kafka, in their order. Keys, values and headers stay; keys choose the partitions.

    The topics must exist. Event times are inside the records and stay as they are. The command ends after the last
    record, or on Ctrl-C or SIGTERM, and prints how many records are in Kafka.
    """
    connection = connection_of(config_file, bootstrap)
    from streamer.app import send as app
    from streamer.clock import SystemClock

    stop = stop_on_signal()
    pace = None if speed is None else app.Pace(speed, SystemClock(), stop)
    with progress("send") as report:
        n = app.send(connection, recordings, topic, pace=pace, keeps_times=keep_times, stop=stop, progress=report)
    echo_line(f"{n:,} records are in Kafka", err=True)
