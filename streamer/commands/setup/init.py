"""`driftline init`: a first configuration, from a look at the records."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import DEFAULT_CONFIG
from streamer.errors import NotUnderstoodError, UsageError

if TYPE_CHECKING:
    from streamer.app.recognition import Recognised, Sample

NO_BROKER = "localhost:9092"  # in a configuration that was made from files alone

EPILOG = """\b
Examples:
    driftline init --bootstrap localhost:9092 --topic bus.predictions --topic bus.labels
    driftline init june.jsonl --topic bus.predictions --out try.yaml
"""


@click.command(epilog=EPILOG)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--bootstrap", metavar="ADDR", help="The brokers, as host:port[,host:port].")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="NAME",
    help="A topic to look at, several times; with FILE, the topic of a file that names none.",
)
@click.option("--out", metavar="FILE", default=DEFAULT_CONFIG, show_default=True, help="The file to write; - to print.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: write what is unsure as comments. So does a script.")
def init(
    files: tuple[str, ...], bootstrap: str | None, topics: tuple[str, ...], out: str, force: bool, yes: bool
) -> None:
    """Look at records and write a commented configuration.

    Format, fields, times and keys are recognised in up to 1,000 records, or 1 MB, of each topic: the newest on the
    brokers, or the first in each FILE. Labels and features of several topics get the ids and models of the
    predictions. What was found is tried on them and printed. What is unsure stands in the file as a comment. The exit
    code is 6 if no record could be understood.
    """
    from streamer.app.initial import aligned, concerns, configuration, report
    from streamer.app.recognition import recognised
    from streamer.clock import SystemClock
    from streamer.config import load_config
    from streamer.logs import silenced

    _check(files, bootstrap, topics)
    if out != "-" and Path(out).exists() and not force:
        raise UsageError(f"{out} is there already; name another file with --out, or replace it with --force")
    now_ms = int(SystemClock().now_s() * 1000)
    samples = _samples(files, bootstrap, topics)
    with silenced():
        found = [recognised(sample, now_ms) for sample in samples]
        aligned(samples, found)
        if not yes and sys.stdin.isatty():
            _ask(samples, found)
    for line in (line for one in found for line in report(one)):
        echo_line(line, err=True)
    _write(out, configuration(bootstrap or NO_BROKER, found))
    if out != "-":
        with suppress(UsageError):  # a format may need a schema first
            for line in concerns(load_config(out), samples):
                echo_line(f"warning: {line}", err=True)
    if any(map(len, samples)) and not any(one.events for one in found):
        raise NotUnderstoodError("no record could be understood; see docs/formats.md for the mapping of fields")


def _check(files: tuple[str, ...], bootstrap: str | None, topics: tuple[str, ...]) -> None:
    if not files and bootstrap is None:
        raise click.UsageError("Name files, or brokers with --bootstrap and topics with --topic.")
    if bootstrap is not None and not files and not topics:
        raise click.UsageError("Name the topics to look at with --topic.")
    if files and len(topics) > 1:
        raise click.UsageError("With files, name one --topic at most.")


def _samples(files: tuple[str, ...], bootstrap: str | None, topics: tuple[str, ...]) -> list[Sample]:
    from streamer.app.initial import sample_of_files, sample_of_topics
    from streamer.eventlog.kafka.connection import KafkaConnection

    if files:
        return sample_of_files(files, topics[0] if topics else None)
    addresses = tuple(part.strip() for part in str(bootstrap).split(","))
    return sample_of_topics(KafkaConnection(bootstrap=addresses), topics)


def _ask(samples: Sequence[Sample], found: Sequence[Recognised]) -> None:
    """Ask for the names of models that nothing in the records names; topics of one model are asked for once."""
    from streamer.app.initial import constants
    from streamer.app.recognition import try_out

    for model, topics in constants(found).items():
        shown = ", ".join(one.topic for one in topics)
        name = click.prompt(f"{shown}: which model are these events of?", default=model, err=True)
        for one in topics:
            one.settings["fields"]["model_id"] = f"={name}"
            one.unsure = [text for text in one.unsure if not text.startswith("model_id:")]
    for sample, one in zip(samples, found, strict=True):
        try_out(sample, one)


def _write(out: str, text: str) -> None:
    if out == "-":
        for line in text.splitlines():
            echo_line(line)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} can't be written: {error.strerror}. Name another file with --out") from error
    echo_line(f"{out} is written; next: driftline check-config {out}, driftline doctor --config {out}", err=True)
