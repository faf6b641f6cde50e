"""`driftline backtest`: one recording under several settings, or with several sizes of a change, side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from streamer.commands.console.lines import echo_line, write_file
from streamer.commands.console.options import arranged, offline_of, offline_options
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.app.offline.comparison import BacktestResult, SizeResult
    from streamer.app.offline.injection import Size

VARIANTS_MAX: Final = 256
HEAD: Final = ("settings", "alarms", "alerts", "incidents", "requests", "false a month", "seen", "delay", "CPU")
POWER_HEAD: Final = ("settings", "change", "models", "seen", "", "seen after", "onset error")
BAR: Final = 20  # characters of a bar

EXAMPLE = """\b
Examples:
    driftline backtest june.parquet --settings today.yaml --settings tomorrow.yaml --mark 2026-06-12T08:00
    driftline backtest june.csv --time at --model eta --grid detectors.shiryaev_roberts.arl0=1e4,1e5,1e6
    driftline backtest june.parquet --inject 'headway: +15,+30,+60 @ 2026-06-12T08:00' --report power.html
"""


class Variant(NamedTuple):
    """One of the replays that are compared."""

    name: str
    file: str | None  # the configuration
    sets: tuple[str, ...]  # single settings
    size: Size | None = None  # of the change that has several


@click.command(epilog=EXAMPLE)
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@click.option("--settings", metavar="FILE", multiple=True, help="A configuration to compare; give several.")
@click.option(
    "--grid", metavar="SETTING=A,B", multiple=True,
    help="Values of a setting to compare; of several settings, all combinations.",
)  # fmt: skip
@click.option(
    "--mark", "marks", metavar="TIME", multiple=True, help="When a true change began, as in 2026-06-12T08:00."
)
@click.option("--topic", metavar="NAME", help="The topic of recordings that name none: JSON lines of events, tables.")
@offline_options
@click.option("--jobs", type=click.IntRange(1), help="Processes at once.  [default: one a processor]")
@click.option("--report", "report_file", metavar="FILE", help="Also write the comparison as one HTML file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, instead of the table.")
def backtest(
    recordings: tuple[str, ...], settings: tuple[str, ...], grid: tuple[str, ...], marks: tuple[str, ...],
    topic: str | None, jobs: int | None, report_file: str | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Fold recordings under several settings, and compare what each finds.

    Each combination of a configuration and of values is a replay in a process of its own, which decodes the recording
    again. Alerts before the first mark, else before the change, count as false; without both, all do. From each mark
    on, the first alert of a model counts as its detection. Tables and parts are as of `driftline replay`.

    A change of --inject may have several sizes, as in +1,+2,+4. Then the table has a line for each: how many of the
    models with the change see it, and how soon. An alert counts if it is on the column and fired after the change. The
    line `nothing` is the recording as it is: what is seen there was no effect of the change.
    """
    from streamer.app.offline.injection import sizes_of
    from streamer.app.offline.selection import time_ms
    from streamer.commands.console.text_table import table

    variants = list(variants_of(settings, grid, sizes_of(options["inject"])))
    marks_ms = sorted(time_ms(mark, "--mark") for mark in marks)
    for one in variants:  # wrong settings are refused before anything is folded
        offline_of(recordings, one.file, topic, _options_of(one, options))
    found = _folded(variants, (recordings, topic, options, marks_ms), jobs or os.cpu_count() or 1)
    results, points = [result for result, _ in found], [point for _, point in found if point is not None]
    if report_file is not None:
        from streamer.page.report import write_comparison

        write_file(report_file, write_comparison(results, points, recordings).encode())
    if as_json:
        for result, point in found:
            change = {} if point is None else {"change": {**asdict(point), "power": point.power}}
            echo_line(json.dumps({**asdict(result), "false_a_month": result.false_a_month, **change}))
        return
    rows = [POWER_HEAD, *map(_power_row, points)] if points else [HEAD, *map(_row, results)]
    for line in table(rows):
        echo_line(line)
    if report_file is not None:
        echo_line(f"{report_file}: {len(found):,} replays", err=True)


def variants_of(settings: Sequence[str], grid: Sequence[str], sizes: Sequence[Size] = ()) -> Iterator[Variant]:
    """Each configuration with each combination of values, and each size of a change.

    Raises `UsageError` for too few, too many and repeated ones.
    """
    choices = []
    for text in grid:
        name, is_one, values = text.partition("=")
        if not (is_one and values):
            raise UsageError(f"--grid {text!r}: write SETTING=A,B, as in detectors.shiryaev_roberts.arl0=1e4,1e6")
        choices.append([f"{name}={value.strip()}" for value in values.split(",")])
    files: list[str | None] = [*settings] or [None]
    combinations = list(product(files, product(*choices)))
    replays = len(combinations) * max(len(sizes), 1)
    if not 2 <= replays <= VARIANTS_MAX or len(set(combinations)) < len(combinations):
        raise UsageError(
            f"there are {replays} settings to compare; give 2 to {VARIANTS_MAX} different ones with --settings and "
            "--grid, or several sizes of a change, as in --inject 'headway: +15,+30 @ 2026-06-12T08:00'"
        )
    for file, sets in combinations:
        parts = [Path(file).name] if file is not None and len(files) > 1 else []
        name = " ".join([*parts, *sets]) or (file or "the defaults")
        if not sizes:
            yield Variant(name, file, tuple(sets))
        for size in sizes:
            yield Variant(name, file, tuple(sets), size)


def _options_of(one: Variant, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of one of the replays."""
    inject = one.size.texts if one.size else options["inject"]
    return {**options, "sets": (*options["sets"], *one.sets), "inject": inject}


def _folded(
    variants: Sequence[Variant], shared: tuple[Any, ...], jobs: int
) -> list[tuple[BacktestResult, SizeResult | None]]:
    """The results in the order of the settings, of `jobs` processes."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Not forked: this process may have threads of Arrow.
    with ProcessPoolExecutor(min(jobs, len(variants)), mp_context=get_context("spawn")) as pool:
        return list(pool.map(fold_one, variants, [shared] * len(variants)))


def fold_one(
    one: Variant, shared: tuple[tuple[str, ...], str | None, Mapping[str, Any], Sequence[int]]
) -> tuple[BacktestResult, SizeResult | None]:
    """The replay of one of the settings, and of one of the sizes where a change has several."""
    from time import process_time

    import msgspec

    from streamer.app.offline.comparison import BacktestResult, figures_of, power_of
    from streamer.app.offline.injection import newest_of
    from streamer.app.replay import replay

    recordings, topic, options, marks_ms = shared
    config, selection = offline_of(recordings, one.file, topic, _options_of(one, options))
    config = config.model_copy(update={"profiles": replace(config.profiles, publish=False)})  # nothing reads them here
    published: list[bytes] = []
    requested: set[str] = set()

    def keep(output: Any) -> None:
        if output.value is not None and output.topic == config.outputs.alerts:
            published.append(output.value)
        elif output.value is not None and output.topic == config.outputs.requests:
            requested.add(msgspec.json.decode(output.value)["model_id"])

    tables = arranged(recordings, options)
    before_s = process_time()
    summary = replay(config, tables, topic, keep, lambda *_: None, selection)
    cpu_s = process_time() - before_s
    alerts = newest_of(published)
    fired = [(alert.model_id, round(alert.at.event_time.timestamp() * 1000)) for alert in alerts]
    span = [round(at.timestamp() * 1000) for at in (summary.first_event_time, summary.last_event_time) if at]
    change = selection.injections[one.size.at] if one.size else None
    figures = figures_of(fired, marks_ms or ([] if change is None else [change.since_ms]), span, summary.models)
    counts = summary.alarms, summary.alerts, summary.incidents, summary.requests
    result = BacktestResult(one.name, *counts, *figures, tuple(sorted(requested)), round(cpu_s, 1))
    return result, power_of(one.name, one.size.size, change, alerts) if one.size and change else None


def _row(one: BacktestResult) -> list[str]:
    false = "" if one.false_a_month is None else f"{one.false_a_month:.2g}"
    delay = "" if one.delay_s is None else f"{one.delay_s / 3600:.1f} h"
    counts = (one.alarms, one.alerts, one.incidents, one.requests)
    return [one.settings, *(f"{n:,}" for n in counts), false, f"{one.seen:,}", delay, f"{one.cpu_s:.1f} s"]


def _power_row(one: SizeResult) -> list[str]:
    from datetime import timedelta

    from streamer.app.offline.injection import span_text

    bar = "█" * round(BAR * one.power)
    after = "" if one.delay_s is None else span_text(timedelta(seconds=one.delay_s))
    error = "" if one.onset_error_s is None else span_text(timedelta(seconds=one.onset_error_s), signed=True)
    return [one.settings, one.size, f"{one.models:,}", f"{one.power:.0%}", bar, after, error]
