"""`driftline columns`: the columns of a model, their detectors, and what keeps these from deciding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.lines import echo_line, echo_report
from streamer.commands.console.options import DEFAULT_CONFIG
from streamer.commands.console.progress import progress
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.detect.inspect import WatchedColumn

HEAD: Final = ("column", "kind", "values", "missing", "faults", "last value", "detectors", "compared with", "state")

EPILOG = """\b
The states in the last column:
    starved    fewer values so far than a detector needs for its first decision
    learning   a detector does not decide for now: it learns how values depend on
               each other, or its baseline after an alarm
    constant   all values so far are the same
    scattered  nearly every text is another one: ids, or numbers in a spelling
               that is not read, such as 12,50 or 30 %; their shares show no drift
    silent     at least the last 100 events of the model lack it, unlike before
    all_null   only missing or unusable values so far
    nested     objects or lists that no setting opens: see fields.depth and
               fields.lists
    unwatched  no running detector takes values of this kind
    small_reference
               the training data hold fewer than 500 values: drift by less than a
               Kolmogorov-Smirnov distance of 0.1 may stay undetected
    retyped    the first values were taken for numbers, and the column holds
               categories, or the reverse
    calendar   a function of the clock, such as the hour: raises no alarm for drift

\b
Examples:
    driftline columns bus-099
    driftline columns bus-099 june.parquet
"""


@click.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL")
@click.argument("recordings", metavar="[RECORDING]...", nargs=-1)
@click.option(
    "--config", "config_file", metavar="FILE",
    help=f"The configuration.  [default: {DEFAULT_CONFIG}; with recordings, none: all topics hold canonical events]",
)  # fmt: skip
@click.option("--topic", metavar="NAME", help="The topic of recordings that name none (JSON lines of events).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each column instead of a table.")
def columns(model: str, recordings: tuple[str, ...], config_file: str | None, topic: str | None, as_json: bool) -> None:
    """Show the columns of MODEL (or of source:NAME), their detectors and their states.

    Without recordings, this is the state in the newest checkpoints of the service, which may keep running. No broker is
    needed. With recordings, it is the state at their end.
    """
    from streamer.config import Config, load_config
    from streamer.config.patterns import unmatched_text

    if recordings:
        from streamer.app.inspect import columns_of_recordings

        config = Config() if config_file is None else load_config(config_file, needs=())
        with progress("columns") as report:
            found, unmatched = columns_of_recordings(config, model, recordings, topic, report)
    else:
        from streamer.app.inspect import columns_of_checkpoints

        found, unmatched = columns_of_checkpoints(load_config(config_file or DEFAULT_CONFIG, needs=()), model)
    if not found:
        raise UsageError(f"there are no events of a model {model}; use the name in its events")
    if as_json:
        click.echo("\n".join(json_lines(found)))
    else:
        for line in (*table(found), *remedies(found)):
            echo_line(line)
    if unmatched:
        echo_report(f"warning: {unmatched_text(unmatched, 'what is watched')}")


def table(found: Sequence[WatchedColumn]) -> list[str]:
    """The columns as a table, with a heading for each version, segment, topic and partition."""
    from streamer.logs import one_line

    rows = [tuple(map(one_line, _row(one))) for one in found]
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines, before = [], ("", "", "", "")
    for one, row in zip(found, rows, strict=True):
        where = (one.model_version, one.segment, one.topic, one.unit)
        if where != before:
            version = f"version {one.model_version}" if one.model_version else "no version"
            version += f", {one.segment}" if one.segment else ""
            lines += [one_line(f"{version} on {one.topic}, as of {one.unit}:"), _line(HEAD, widths)]
            before = where
        lines.append(_line(row, widths))
    return lines


def remedies(found: Sequence[WatchedColumn]) -> list[str]:
    """What to map instead of columns that hold objects or lists, once for each."""
    from streamer.detect.inspect import remedy_of_nested
    from streamer.logs import one_line

    names = dict.fromkeys(one.column for one in found if "nested" in one.states)
    return [one_line(f"{name} holds objects or lists: {remedy_of_nested(name)}") for name in names]


def _row(one: WatchedColumn) -> tuple[str, ...]:
    return (
        one.column,
        one.kind or "-",
        f"{one.values:,}",
        f"{one.missing:,}",
        f"{one.faults:,}",
        f"{one.last_event_time:%Y-%m-%d %H:%M}",
        ", ".join(one.detectors) or "-",
        f"training {one.reference[:8]}" if one.reference else "its first values",
        ", ".join(one.states) or "ok",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def json_lines(found: Sequence[WatchedColumn]) -> list[str]:
    """The columns as JSON, one line each."""
    import msgspec

    return [msgspec.json.encode(asdict(one)).decode() for one in found]
