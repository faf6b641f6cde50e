"""`driftline replay`: the folds of the service over recorded topics, without a broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from streamer.commands.console.lines import echo_report, write_file
from streamer.commands.console.options import arranged, config_option, offline_of, offline_options
from streamer.commands.console.progress import compilation_shown, progress
from streamer.errors import NotUnderstoodError, UsageError

if TYPE_CHECKING:
    from streamer.app.replay import Summary
    from streamer.config import Config
    from streamer.contracts.topics import OutputTopics
    from streamer.eventlog.base import Output

FATES = ("watched", "missing", "faulty", "dropped")  # of values; each value has one
PIPE_BROKEN = 141  # 128 + SIGPIPE, as shells count

EXAMPLE = """\b
Examples:
    driftline replay june.parquet | jq 'select(.type == "request")'
    driftline replay flights.csv --time sched_dep --model eta --prediction eta_min --label delay_min --report june.html
"""


@click.command(epilog=EXAMPLE)
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@config_option("The configuration; without it, all topics hold canonical JSON events.", default=None)
@click.option("--topic", metavar="NAME", help="The topic of recordings that name none: JSON lines of events, tables.")
@offline_options
@click.option("--requests-dir", metavar="DIR", help="Also write each retrain request to DIR/<request_id>.json.")
@click.option("--report", "report_file", metavar="FILE", help="Also write the report of `driftline report` to FILE.")
def replay(
    recordings: tuple[str, ...], config_file: str | None, topic: str | None, requests_dir: str | None,
    report_file: str | None, **options: Any,
) -> None:  # fmt: skip
    """Fold recorded topics as the service does.

    Recordings are Parquet (from `driftline record`), JSON lines of events, the output of `kcat -C -J`, or tables: files
    of Parquet, Arrow or CSV, or folders of them. Each row of a table is an event. Its columns are named by the options
    here, or by the fields of its topic in the configuration. Standard output holds one JSON object on each line, with
    `type` alert, incident, request, decision, profile or dead_letter. Progress and a summary go to standard error. If
    nothing was watched although there are records, the exit code is 6.
    """
    from streamer.app import replay as app
    from streamer.app.offline.injection import seen
    from streamer.commands.console.text_table import table

    config, selection = offline_of(recordings, config_file, topic, options)
    tables = arranged(recordings, options)
    kept: list[tuple[str, bytes]] = []
    with quiet_pipe() as out, progress("replay") as report, compilation_shown():
        folder = None if requests_dir is None else _folder(requests_dir)
        publish = _publisher(out, config.outputs, folder, kept if report_file or selection.injections else None)

        def flush_and_report(done: int, total: int | None) -> None:
            out.flush()
            report(done, total)

        summary = app.replay(config, tables, topic, publish, flush_and_report, selection)
    echo_report(summary_text(summary))
    if selection.injections:
        for row in table(list(seen(selection.injections, (value for kind, value in kept if kind == "alert")))):
            echo_report(row)
    for warning in summary.warnings:
        echo_report(f"warning: {warning}")
    if summary.records and not summary.understood:
        raise NotUnderstoodError("nothing was watched; the warnings above name the settings")
    if report_file is not None:
        _write_report(report_file, config, kept)


def _write_report(path: str, config: Config, kept: Sequence[tuple[str, bytes]]) -> None:
    """The report of what a replay published, unless that is nothing."""
    from streamer.page.report import write_report

    if not kept:
        echo_report(f"{path}: no alert, so there is nothing to report and no file is written")
        return
    html, _ = write_report(lambda: iter(kept), config.outputs, "Drift report", config.retrain)
    write_file(path, html.encode())
    echo_report(f"{path}: {len(html.encode()) / 1000:,.0f} kB")


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


def _publisher(
    out: BinaryIO, topics: OutputTopics, requests_dir: Path | None, kept: list[tuple[str, bytes]] | None
) -> Callable[[Output], None]:
    import json

    from streamer.audit.source import KINDS
    from streamer.commands.console.json_lines import OutputLines

    lines = OutputLines(topics)

    def publish(output: Output) -> None:
        line = lines.line_of(output)
        if line is not None:
            out.write(line)
        if kept is not None and output.value is not None and (kind := lines.type_of(output)) in KINDS:
            kept.append((str(kind), output.value))
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
    """The input and output of a replay in a few lines."""
    span = ""
    if summary.first_event_time and summary.last_event_time:
        span = f", from {summary.first_event_time:%Y-%m-%d %H:%M} to {summary.last_event_time:%Y-%m-%d %H:%M} UTC"
    speed = f" ({summary.records / summary.seconds:,.0f} records/s)" if summary.seconds > 0 else ""
    ahead = f", {_many(summary.ahead, 'record')} dated too far ahead to move time" if summary.ahead else ""
    eventless = f", {_many(summary.eventless, 'record')} without an event" if summary.eventless else ""
    labels = f"\n{_labels_text(summary.labels)}" if sum(summary.labels.values()) else ""
    fates = summary.value_fates
    became = ", ".join(f"{fates.get(name, 0):,} {name}" for name in FATES)
    return "\n".join(
        (
            f"{_many(summary.records, 'record')} of {_many(summary.models, 'model')} "
            f"with {_many(summary.series, 'column')} in total{span}, in {summary.seconds:.1f} s{speed}",
            f"{_many(summary.alarms, 'alarm')}, {_many(summary.alerts, 'alert')}, "
            f"{_many(summary.incidents, 'incident')}, {_many(summary.requests, 'retrain request')}, "
            f"{_many(summary.dead_letters, 'dead letter')}{eventless}{ahead}",
            f"{_many(sum(fates.get(name, 0) for name in FATES), 'value')} of features, predictions and errors: "
            f"{became}{labels}",
        )
    )


def _labels_text(labels: Mapping[str, int]) -> str:
    """What became of the labels, in one line."""
    parts = [f"{n:,} {fate}" for fate, n in labels.items() if n or fate == "matched"]
    return f"{_many(sum(labels.values()), 'label')}: {', '.join(parts)}"


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
