"""`driftline replay`: the folds of the service over recorded topics, without a broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from streamer.commands.console.lines import echo_report
from streamer.commands.console.options import config_option
from streamer.commands.console.progress import progress
from streamer.errors import NotUnderstoodError, UsageError

if TYPE_CHECKING:
    from streamer.app.replay import Summary
    from streamer.contracts.topics import OutputTopics
    from streamer.eventlog.base import Output

PIPE_BROKEN = 141  # 128 + SIGPIPE, as shells count

EXAMPLE = """\b
Example:
    driftline replay june.parquet | jq 'select(.type == "request")'
"""


@click.command(epilog=EXAMPLE)
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@config_option("The configuration; without it, all topics hold canonical JSON events.", default=None)
@click.option("--topic", metavar="NAME", help="The topic of recordings that name none (JSON lines of events).")
@click.option("--requests-dir", metavar="DIR", help="Also write each retrain request to DIR/<request_id>.json.")
def replay(recordings: tuple[str, ...], config_file: str | None, topic: str | None, requests_dir: str | None) -> None:
    """Fold recorded topics as the service does.

    Recordings are Parquet (from `driftline record`), JSON lines of events, the output of `kcat -C -J`, or tables in
    Parquet or CSV, each row of which is an event with its columns as fields. Standard
    output holds one JSON object on each line, with `type` alert, incident, request, decision, profile or
    dead_letter. Progress and a summary go to standard error. If nothing was watched although there are records, the
    exit code is 6.
    """
    from streamer.app import replay as app
    from streamer.config import Config, load_config

    config = Config() if config_file is None else load_config(config_file, needs=())
    with quiet_pipe() as out, progress("replay") as report:
        publish = _publisher(out, config.outputs, None if requests_dir is None else _folder(requests_dir))

        def flush_and_report(done: int, total: int | None) -> None:
            out.flush()
            report(done, total)

        summary = app.replay(config, recordings, topic, publish, flush_and_report)
    echo_report(summary_text(summary))
    for warning in summary.warnings:
        echo_report(f"warning: {warning}")
    if summary.records and not summary.understood:
        raise NotUnderstoodError("nothing was watched; the warnings above name the settings")


@contextmanager
def quiet_pipe() -> Iterator[BinaryIO]:
    """Standard output as bytes. When its reader goes away (`| head`), the command ends silently."""
    out = sys.stdout.buffer
    try:
        yield out
        out.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end, which would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(PIPE_BROKEN) from None


def _publisher(out: BinaryIO, topics: OutputTopics, requests_dir: Path | None) -> Callable[[Output], None]:
    import json

    from streamer.commands.console.json_lines import OutputLines

    lines = OutputLines(topics)

    def publish(output: Output) -> None:
        line = lines.line_of(output)
        if line is not None:
            out.write(line)
        if requests_dir is not None and output.value is not None and lines.type_of(output) == "request":
            name = json.loads(output.value)["request_id"]
            (requests_dir / f"{name}.json").write_bytes(output.value + b"\n")

    return publish


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--requests-dir {path} can't be made: {error.strerror}. Name a folder.") from None
    return folder


def summary_text(summary: Summary) -> str:
    """The input and output of a replay in three lines."""
    span = ""
    if summary.first_event_time and summary.last_event_time:
        span = f", from {summary.first_event_time:%Y-%m-%d %H:%M} to {summary.last_event_time:%Y-%m-%d %H:%M} UTC"
    speed = f", {summary.records / summary.seconds:,.0f} records/s" if summary.seconds > 0 else ""
    ahead = f", {_many(summary.ahead, 'record')} dated too far ahead to move time" if summary.ahead else ""
    labels = f"\n{_labels_text(summary.labels)}" if sum(summary.labels.values()) else ""
    fates = summary.value_fates
    lost = "".join(f", {fates[name]:,} {name}" for name in ("missing", "faulty", "dropped") if fates.get(name))
    return "\n".join(
        (
            f"{_many(summary.records, 'record')} of {_many(summary.models, 'model')} "
            f"with {_many(summary.series, 'column')} in total{span}",
            f"{_many(summary.alarms, 'alarm')}, {_many(summary.alerts, 'alert')}, "
            f"{_many(summary.incidents, 'incident')}, {_many(summary.requests, 'retrain request')}, "
            f"{_many(summary.dead_letters, 'dead letter')}{ahead}",
            f"{_many(summary.values, 'value')} in {summary.seconds:.1f} s{speed}{lost}{labels}",
        )
    )


def _labels_text(labels: Mapping[str, int]) -> str:
    """What became of the labels, in one line."""
    parts = [f"{n:,} {fate}" for fate, n in labels.items() if n or fate == "matched"]
    return f"{_many(sum(labels.values()), 'label')}: {', '.join(parts)}"


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
