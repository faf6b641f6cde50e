"""`driftline record`, `send` and `rekey`: topics to a file, recordings to topics, and topics to others by model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import brokers_options, config_option, connection_of
from streamer.commands.console.progress import progress
from streamer.commands.console.signals import stop_on_signal
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.app.rekey import Rekeyed
    from streamer.eventlog.kafka.connection import KafkaConnection

RECORD_EXAMPLE = """\b
Example:
    driftline record --bootstrap localhost:9092 bus.predictions --until-end --out june.parquet
"""
SEND_EXAMPLES = """\b
Examples:
    driftline send june.parquet --to trial.predictions --bootstrap localhost:9092
    driftline send june.parquet --to trial.predictions --bootstrap localhost:9092 --speed 60
"""
REKEY_EXAMPLE = """\b
Example:
    driftline rekey --config driftline.yaml
"""


@click.command(epilog=RECORD_EXAMPLE)
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

    The file keeps records byte for byte, with offsets, times and headers, in order of record time. It ends with
    --until-end, after --records, or on Ctrl-C or SIGTERM. The file is complete in each case. No consumer group changes.
    """
    connection, wanted = _what(config_file, bootstrap, topics)
    from streamer.app import record as app
    from streamer.clock import SystemClock

    stop = stop_on_signal()
    with progress("record") as report:
        n = app.record(
            connection,
            wanted,
            out,
            SystemClock(),
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


@click.command(epilog=SEND_EXAMPLES)
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
    from streamer.app import record as app
    from streamer.clock import SystemClock

    stop = stop_on_signal()
    pace = None if speed is None else app.Pace(speed, SystemClock(), stop)
    with progress("send") as report:
        n = app.send(connection, recordings, topic, pace=pace, keeps_times=keep_times, stop=stop, progress=report)
    echo_line(f"{n:,} records are in Kafka", err=True)


@click.command(epilog=REKEY_EXAMPLE)
@config_option("The configuration of the service; its section `rekey` names the topics.")
@click.option("--until-end", is_flag=True, help="Stop at the current ends of the topics.")
def rekey(config_file: str, until_end: bool) -> None:
    """Copy topics into event topics with the model as key, each record once.

    Records are read with the mapping of the event topic, and keep value, time and headers. What can't be read becomes
    a dead letter of its own topic. The command ends with --until-end, or on Ctrl-C or SIGTERM, and goes on from there
    when it is started again. Run one of it.
    """
    from streamer.app import rekey as app
    from streamer.clock import SystemClock
    from streamer.config import load_config

    config, stop = load_config(config_file), stop_on_signal()
    if config.copies:
        raise UsageError("labels.repartition is on, so `driftline run` copies these topics itself")
    with progress("rekey") as report:
        done = app.rekey(
            config, SystemClock(), until_end=until_end, stop=stop, progress=lambda done: report(done.records, None)
        )
    echo_line(rekeyed_text(done), err=True)


def rekeyed_text(done: Rekeyed) -> str:
    """What was copied, on one line."""
    from streamer.audit.reasons import many

    letters = done.unreadable.total()
    copies = done.copies - letters
    text = f"{many(done.records, 'record')} read, {copies:,} {'copy' if copies == 1 else 'copies'} written"
    if letters:
        by_reason = Counter[str]()
        for (_, reason), n in done.unreadable.items():
            by_reason[reason] += n
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in by_reason.most_common())
        text += f"; {many(letters, 'dead letter')} ({reasons})"
    if done.left_out:
        text += f"; {many(done.left_out, 'record')} without an event left out"
    return text
