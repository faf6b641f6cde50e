"""`driftline backtest`: one recording under several settings, side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import arranged, offline_of, offline_options
from streamer.errors import UsageError

VARIANTS_MAX: Final = 256
MONTH_MS: Final = 30 * 86_400_000
HEAD: Final = ("settings", "alarms", "alerts", "incidents", "requests", "false a month", "seen", "delay", "CPU")
Variant = tuple[str, str | None, tuple[str, ...]]  # its name, the configuration, single settings

EXAMPLE = """\b
Examples:
    driftline backtest june.parquet --settings today.yaml --settings tomorrow.yaml --mark 2026-06-12T08:00
    driftline backtest june.csv --time at --model eta --grid detectors.shiryaev_roberts.arl0=1e4,1e5,1e6
"""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What one of the settings gives."""

    settings: str
    alarms: int
    alerts: int
    incidents: int
    requests: int
    false_alerts: int  # those that fired before the first mark; without marks, all
    model_months: float  # of event time before the first mark, in months of 30 days; without marks, all
    seen: int  # marks and models with an alert from the mark on, and before the next one
    delay_s: float | None  # median time from the mark to the first of them; None without any
    cpu_s: float  # processor time of the fold

    @property
    def false_a_month(self) -> float | None:
        """False alerts of a model in a month; None where there is no time before the mark."""
        return self.false_alerts / self.model_months if self.model_months else None


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
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, instead of the table.")
def backtest(
    recordings: tuple[str, ...], settings: tuple[str, ...], grid: tuple[str, ...], marks: tuple[str, ...],
    topic: str | None, jobs: int | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Fold recordings under several settings, and compare what each finds.

    Each combination of a configuration and of values is a replay in a process of its own, which decodes the recording
    again. Alerts before the first mark count as false; without marks, all alerts are counted a model and month. From
    each mark on, the first alert of a model counts as its detection. Tables and parts are as of `driftline replay`.
    """
    from streamer.app.offline.selection import time_ms
    from streamer.commands.console.text_table import table

    variants = list(variants_of(settings, grid))
    marks_ms = sorted(time_ms(mark, "--mark") for mark in marks)
    for _, file, sets in variants:  # wrong settings are refused before anything is folded
        offline_of(recordings, file, topic, {**options, "sets": (*options["sets"], *sets)})
    results = _folded(variants, (recordings, topic, options, marks_ms), jobs or os.cpu_count() or 1)
    if as_json:
        for one in results:
            echo_line(json.dumps({**asdict(one), "false_a_month": one.false_a_month}))
        return
    for line in table([HEAD, *(_row(one) for one in results)]):
        echo_line(line)


def variants_of(settings: Sequence[str], grid: Sequence[str]) -> Iterator[Variant]:
    """Each configuration with each combination of values. Raises `UsageError` for too few, too many and repeated."""
    choices = []
    for text in grid:
        name, is_one, values = text.partition("=")
        if not (is_one and values):
            raise UsageError(f"--grid {text!r}: write SETTING=A,B, as in detectors.shiryaev_roberts.arl0=1e4,1e6")
        choices.append([f"{name}={value.strip()}" for value in values.split(",")])
    files: list[str | None] = [*settings] or [None]
    combinations = list(product(files, product(*choices)))
    if not 2 <= len(combinations) <= VARIANTS_MAX or len(set(combinations)) < len(combinations):
        raise UsageError(
            f"there are {len(combinations)} settings to compare; give 2 to {VARIANTS_MAX} different ones with "
            "--settings and --grid"
        )
    for file, sets in combinations:
        parts = [Path(file).name] if file is not None and len(files) > 1 else []
        yield " ".join([*parts, *sets]) or str(file), file, tuple(sets)


def _folded(variants: Sequence[Variant], shared: tuple[Any, ...], jobs: int) -> list[BacktestResult]:
    """The results in the order of the settings, of `jobs` processes."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Not forked: this process may have threads of Arrow.
    with ProcessPoolExecutor(min(jobs, len(variants)), mp_context=get_context("spawn")) as pool:
        return list(pool.map(fold_one, variants, [shared] * len(variants)))


def fold_one(
    variant: Variant, shared: tuple[tuple[str, ...], str | None, Mapping[str, Any], Sequence[int]]
) -> BacktestResult:
    """The replay of one of the settings."""
    from time import process_time

    import msgspec

    from retrain.messages.alert import Alert
    from streamer.app.replay import replay

    name, file, sets = variant
    recordings, topic, options, marks_ms = shared
    config, selection = offline_of(recordings, file, topic, {**options, "sets": (*options["sets"], *sets)})
    tables = arranged(recordings, options)
    fired: dict[str, tuple[str, int]] = {}

    def keep(output: Any) -> None:
        if output.topic == config.outputs.alerts and output.value is not None:
            alert = msgspec.json.decode(output.value, type=Alert)
            fired.setdefault(alert.alert_id, (alert.model_id, round(alert.at.event_time.timestamp() * 1000)))

    before_s = process_time()
    summary = replay(config, tables, topic, keep, lambda *_: None, selection)
    cpu_s = process_time() - before_s
    span = [round(at.timestamp() * 1000) for at in (summary.first_event_time, summary.last_event_time) if at]
    figures = _figures(list(fired.values()), marks_ms, span, summary.models)
    return BacktestResult(
        name, summary.alarms, summary.alerts, summary.incidents, summary.requests, *figures, round(cpu_s, 1)
    )


def _figures(
    fired: Sequence[tuple[str, int]], marks_ms: Sequence[int], span_ms: Sequence[int], models: int
) -> tuple[int, float, int, float | None]:
    """False alerts, model-months they are of, detections, and their median delay in s."""
    from statistics import median

    first, last = span_ms or (0, 0)
    until = min(marks_ms[0], last) if marks_ms else last
    false = sum(at < marks_ms[0] for _, at in fired) if marks_ms else len(fired)
    delays = []
    for mark, after in zip(marks_ms, [*marks_ms[1:], last + 1], strict=True) if marks_ms else ():
        detected: dict[str, int] = {}
        for model, at in fired:
            if mark <= at < after:
                detected[model] = min(at, detected.get(model, at))
        delays += [(at - mark) / 1000 for at in detected.values()]
    return false, models * max(until - first, 0) / MONTH_MS, len(delays), median(delays) if delays else None


def _row(one: BacktestResult) -> list[str]:
    false = "" if one.false_a_month is None else f"{one.false_a_month:.2g}"
    delay = "" if one.delay_s is None else f"{one.delay_s / 3600:.1f} h"
    counts = (one.alarms, one.alerts, one.incidents, one.requests)
    return [one.settings, *(f"{n:,}" for n in counts), false, f"{one.seen:,}", delay, f"{one.cpu_s:.1f} s"]
