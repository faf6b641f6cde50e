"""`driftline columns` and `driftline profile`: the columns of a model, their detectors, and their values over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.lines import echo_line, echo_report
from streamer.commands.console.options import DEFAULT_CONFIG
from streamer.commands.console.progress import progress
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.detect.inspect import Fates, WatchedColumn

HEAD: Final = ("column", "kind", "values", "missing", "faults", "last value", "detectors", "compared with", "state")

WAITING: Final = {  # by cause, as alerts of the kind `label_mismatch` name it
    "no_predictions": "on a partition without any prediction of it: see docs/keys.md",
    "other_ids": "for a prediction of their prediction_id",
}

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
Below the table, what became of values and labels:
    watched, missing, faulty
               the values of the columns; dropped: those without a column, as a
               table of `limits` is full
    matched    labels that gave an error
    expired    without a prediction within labels.timeout_s
    evicted    without a prediction, to make room: see labels.early_max
    repeated   another label of an id that has one, or a label without a value
    waiting    for a prediction

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each column, and one for fates.")
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
            found, fates, unmatched = columns_of_recordings(config, model, recordings, topic, report)
    else:
        from streamer.app.inspect import columns_of_checkpoints

        found, fates, unmatched = columns_of_checkpoints(load_config(config_file or DEFAULT_CONFIG, needs=()), model)
    if not found:
        raise UsageError(f"there are no events of a model {model}; use the name in its events")
    if as_json:
        click.echo("\n".join(json_lines(found, fates)))
    else:
        for line in (*table(found), *remedies(found), *accounts(fates)):
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


def accounts(fates: Fates) -> list[str]:
    """What became of values and labels, a line each; nothing of labels where none came."""
    from streamer.logs import one_line

    values, labels = dict(fates.values), dict(fates.labels)
    dropped, strange = values.pop("dropped"), labels.pop("unknown_model")
    lost = f"; of all models, {dropped:,} dropped, as a table of `limits` is full" if dropped else ""
    lines = [f"values of {fates.model_id}: {_counts(values)}{lost}"]
    if any(labels.values()):
        unknown = f"; {strange:,} came before any prediction of their model on their partition" if strange else ""
        lines.append(f"labels of all models: {_counts(labels)}{unknown}")
    lines += [f"{n:,} labels of {fates.model_id} wait {WAITING[cause]}" for cause, n in fates.waiting.items() if n]
    return [one_line(line) for line in lines]


def _counts(fates: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {fate}" for fate, n in fates.items())


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


def json_lines(found: Sequence[WatchedColumn], fates: Fates) -> list[str]:
    """The columns as JSON, one line each, and behind them the fates."""
    import msgspec

    return [msgspec.json.encode(one).decode() for one in (*found, fates)]


BARS: Final = "▁▂▃▄▅▆▇█"
PROFILE_HEAD: Final = (
    "interval", "version", "count", "missing", "mean", "5 %", "25 %", "50 %", "75 %", "95 %", "cells", "psi", "ks", "",
)  # fmt: skip
SUMMARY_HEAD: Final = (
    "column",
    "version",
    "intervals",
    "count",
    "missing",
    "50 %",
    "medians",
    "ks",
    "ks over time",
    "",
)

PROFILE_EPILOG = """\b
`cells` are the shares between the deciles of the reference, which are equal without
drift, or those of the most frequent categories. psi and ks are the distances from
the reference; `drift` stands where ks is above what 95 of 100 intervals without
drift stay below, and values do not depend on each other.

\b
Examples:
    driftline profile bus-099
    driftline profile bus-099 headway_s --last 30
    driftline profile bus-099 --replayed june.jsonl --json
"""


@click.command(epilog=PROFILE_EPILOG)
@click.argument("model", metavar="MODEL")
@click.argument("column", metavar="[COLUMN]", required=False)
@click.option("--replayed", metavar="FILE", help="Output of `driftline replay`, or a recording, instead of the topics.")
@click.option(
    "--config", "config_file", metavar="FILE",
    help=f"The configuration.  [default: {DEFAULT_CONFIG}; with --replayed, none: topics have their default names]",
)  # fmt: skip
@click.option("--last", default=14, show_default=True, type=click.IntRange(1), help="Intervals of each column.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each column and interval.")
def profile(
    model: str, column: str | None, replayed: str | None, config_file: str | None, last: int, as_json: bool
) -> None:
    """Show what the values of MODEL (or of source:NAME) were like in the last intervals.

    Without COLUMN, there is one line for each column. The profiles come from the topic of the service, or from FILE.
    """
    import msgspec

    from streamer.audit.source import PROFILE
    from streamer.commands.console.published import config_of, source_of

    config = config_of(replayed, config_file)
    found = _last_of_each(_profiles_of(source_of(replayed, config, [PROFILE])(), model, column), last)
    if not found:
        whose = model if column is None else f"column {column} of {model}"
        raise UsageError(
            f"there is no profile of {whose}: an interval of profiles.interval_s has to end first, with "
            f"profiles.values_min values. `driftline models` and `driftline columns {model}` list the names"
        )
    if as_json:
        for one in (row for rows in found.values() for row in rows):
            click.echo(msgspec.json.encode(one).decode())
        return
    for line in profile_tables(found) if column is not None else profile_summary(found):
        echo_line(line)


Profiles = Mapping[tuple[str, ...], Sequence[Mapping[str, Any]]]  # segment, topic, unit and column -> by time


def _profiles_of(records: Iterator[tuple[str, bytes]], model: str, column: str | None) -> Iterator[dict[str, Any]]:
    import msgspec

    from streamer.contracts.profiles import profile_objects, read_profiles

    for _, value in records:
        found = [msgspec.json.decode(value)] if value[:1] == b"{" else profile_objects(read_profiles(value))
        for one in found:
            if one["model_id"] == model and column in (None, one["column"]):
                yield one


def _last_of_each(found: Iterator[dict[str, Any]], last: int) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The newest intervals of each column, in order of time; one that was published twice counts once."""
    known: dict[tuple[str, ...], dict[tuple[str, str], dict[str, Any]]] = {}
    for one in found:
        key = (one["segment"], one["topic"], one["unit"], one["column"])
        known.setdefault(key, {})[one["end"], one["model_version"]] = one
    return {key: [by_time[at] for at in sorted(by_time)[-last:]] for key, by_time in sorted(known.items())}


def profile_tables(found: Profiles) -> Iterator[str]:
    """A table for each column: a line for each interval."""
    from streamer.commands.console.text_table import table as lines_of

    for (segment, topic, unit, column), rows in found.items():
        yield f"{column}{f' of {segment}' if segment else ''} on {topic}, {unit}:"
        yield from ("  " + line for line in lines_of([PROFILE_HEAD, *_interval_rows(rows)]))


def _interval_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    before = rows[0]["model_version"]
    for one in rows:
        changed, before = one["model_version"] != before, one["model_version"]
        values = [_short(one.get(name)) for name in ("mean", "p05", "p25", "p50", "p75", "p95")]
        yield (
            one["end"][:16].replace("T", " "), f"{before or '-'}{' new' if changed else ''}", f"{one['count']:,}",
            f"{one['missing']:,}", *values, _cells(one), _short(one.get("psi")), _short(one.get("ks")), _verdict(one),
        )  # fmt: skip


def profile_summary(found: Profiles) -> Iterator[str]:
    """A table with a line for each column."""
    from streamer.commands.console.text_table import table as lines_of

    rows = []
    for (segment, _, _, column), intervals in found.items():
        one = intervals[-1]
        versions = sorted({row["model_version"] or "-" for row in intervals})
        medians = [row.get("p50") for row in intervals]
        distances = [row.get("ks") for row in intervals]
        rows.append((
            f"{column} of {segment}" if segment else column, ", ".join(versions), str(len(intervals)),
            f"{one['count']:,}", f"{one['missing']:,}", _short(one.get("p50")), sparkline(medians),
            _short(one.get("ks")), sparkline(distances, 0.0, 1.0), _verdict(one),
        ))  # fmt: skip
    yield from lines_of([SUMMARY_HEAD, *rows])


def sparkline(values: Sequence[float | None], low: float | None = None, high: float | None = None) -> str:
    """A bar for each value between `low` and `high`, by default the extremes; a space for None."""
    known = [value for value in values if value is not None]
    low, high = (min(known, default=0.0) if low is None else low), (max(known, default=0.0) if high is None else high)
    span = high - low
    top = len(BARS) - 1
    bars = (" " if v is None else BARS[min(max(round((v - low) / span * top), 0), top) if span else 0] for v in values)
    return "".join(bars)


def _cells(one: Mapping[str, Any]) -> str:
    if "categories" in one:
        shares = sorted(one["categories"].items(), key=lambda pair: -pair[1])
        return ", ".join(f"{name} {share:.0%}" for name, share in shares[:3])
    return sparkline(one.get("cells", ()), 0.0, max(one.get("cells", [0.0])) or 1.0)


def _verdict(one: Mapping[str, Any]) -> str:
    if "ks" not in one or "ks_chance" not in one:
        return "first"
    return "drift" if one["ks"] > one["ks_chance"] else ""


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value + 0.0:.4g}"  # 0 where it is -0
