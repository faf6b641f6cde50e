"""`driftline record`, `send` and `rekey`: topics to a file, recordings to topics, and topics to others by model."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import brokers_options, config_option, connection_of
from streamer.commands.console.progress import progress
from streamer.commands.console.signals import stop_on_signal
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.app.offline.record_filter import RecordFilter
    from streamer.app.rekey import Rekeyed
    from streamer.eventlog.kafka.connection import KafkaConnection
    from streamer.eventlog.recordings.recording import RecordingFolder, RecordingWriter

RECORD_EXAMPLE = """\b
Examples:
    driftline record --bootstrap localhost:9092 bus.predictions --until-end --out june.parquet
    driftline record --config driftline.yaml --out june/ --rotate 500MB
    driftline record --config driftline.yaml --out june.parquet --redact rider.id=hash --redact rider.email=drop
"""
SALT_VARIABLE: Final = "DRIFTLINE_SALT"
SIZES: Final = {"KB": 1000, "MB": 1000**2, "GB": 1000**3}
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
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    help="The Parquet file to write; it appears when it is complete. A folder, written with / at its end, gets parts, "
    "and the command goes on after them when it is started again. Both may be URLs, as in s3://bucket/june/.",
)
@click.option("--rotate", metavar="SIZE", help="The size of a part of a folder, as in 500MB.  [default: 1GB]")
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
@click.option("--keys", metavar="PATTERN", multiple=True, help="Record these keys only, as in bus-*.")
@click.option(
    "--sample",
    "share",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Record this share of the keys, as in .05: always the same ones, in all topics.",
)
@click.option(
    "--redact",
    "redactions",
    metavar="FIELD=HOW",
    multiple=True,
    help="Hash or drop a field of JSON values, keys ($key) or headers ($headers.NAME), as in rider.email=drop, "
    "$.trips[*].rider=hash. Hashes need a secret in the environment variable DRIFTLINE_SALT.",
)
def record(
    topics: tuple[str, ...], config_file: str | None, bootstrap: str | None, out: str, rotate: str | None,
    until_end: bool, records_max: int | None, start: Literal["earliest", "latest"], keys: tuple[str, ...],
    share: float | None, redactions: tuple[str, ...],
) -> None:  # fmt: skip
    """Record topics to a Parquet file, or to a folder of them.

    The file keeps records byte for byte, with offsets, times and headers, in order of record time. It ends with
    --until-end, after --records, or on Ctrl-C or SIGTERM. The file is complete in each case. No consumer group changes.

    After a crash, a folder lacks the part that was being written. The next start records it again, so no record is
    missing or there twice. `driftline replay june/` folds a folder.

    Equal ids have equal hashes, so labels still find their predictions. With --redact, a value that is no JSON is
    replaced as a whole, and counted.
    """
    connection, wanted = _what(config_file, bootstrap, topics)
    from streamer.app import record as app
    from streamer.clock import SystemClock
    from streamer.eventlog.recordings.places import shown

    target, chosen = _target(out, rotate), _filter(keys, share, redactions)
    extent = app.Extent(start, until_end, records_max)
    stop = stop_on_signal()
    with progress("record") as report:
        n = app.record(
            connection, wanted, target, SystemClock(), extent=extent, chosen=chosen, stop=stop, progress=report
        )
    echo_line(f"{shown(out)}: {n:,} records of {', '.join(wanted)}", err=True)
    if chosen.keyless:
        echo_line(f"{chosen.keyless:,} records have no key, so --keys and --sample leave them out", err=True)
    if chosen.unreadable:
        echo_line(f"{chosen.unreadable:,} values or keys are no JSON and were replaced as a whole", err=True)


def _target(out: str, rotate: str | None) -> RecordingWriter | RecordingFolder:
    """Where records go. Raises `UsageError`."""
    from streamer.eventlog.recordings.places import bare, is_folder
    from streamer.eventlog.recordings.recording import RecordingFolder, RecordingWriter

    has_parts = bare(out).endswith("/") or is_folder(out)
    if rotate is not None and not has_parts:
        raise UsageError(f"--rotate makes parts in a folder; write --out {Path(out).with_suffix('')}/")
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB)", (rotate or "1GB").strip(), re.IGNORECASE)
    if size is None:
        raise UsageError(f"--rotate {rotate!r}: write a size, as in 500MB or 2GB")
    part_bytes = round(float(size[1]) * SIZES[size[2].upper()])
    return RecordingFolder(out, part_bytes) if has_parts else RecordingWriter(out)


def _filter(keys: tuple[str, ...], share: float | None, redactions: tuple[str, ...]) -> RecordFilter:
    """What is kept of the records. Raises `UsageError`."""
    from streamer.app.offline.record_filter import RecordFilter, Redaction

    parsed = [Redaction.parse(one) for one in redactions]
    salt = os.environ.get(SALT_VARIABLE, "")
    if not salt and any(one.how == "hash" for one in parsed):
        raise UsageError(
            f"Hashes need a secret, else ids can be guessed from them: set {SALT_VARIABLE}, and keep it for recordings "
            "whose hashes are to agree."
        )
    return RecordFilter(keys, share, parsed, salt.encode())


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
