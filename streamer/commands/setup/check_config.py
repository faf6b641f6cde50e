"""`driftline check-config`: the problems of a configuration, or a summary of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import DEFAULT_CONFIG, config_option

if TYPE_CHECKING:
    from streamer.app.inspect import Reset, UnitDiff
    from streamer.config import Config
    from streamer.config.false_alarms import FalseAlarmSettings

MODELS_SHOWN: Final = 3  # in the line of a unit
PACES: Final = (50, 1_000, 100_000)  # events of a model in a day, of which delays are shown
DAY_S: Final = 86_400.0

EXAMPLE = """\b
The smallest configuration:
    kafka: {bootstrap: localhost:9092}
    topics: {my.predictions: {format: json}}
"""


@click.command("check-config", epilog=EXAMPLE)
@click.argument("file", required=False)
@config_option("The file to check, instead of FILE.  [default: driftline.yaml]", default=None)
@click.option(
    "--against-state", "state", metavar="DIR", is_flag=False, flag_value="",
    help="Show what a restart with these settings resets in the checkpoints of the service, or in those in DIR.",
)  # fmt: skip
@click.option("--offline", is_flag=True, help="Check it for `driftline replay`, which needs no brokers.")
def check_config(file: str | None, config_file: str | None, state: str | None, offline: bool) -> None:
    """Check the configuration FILE: print what it does, or every problem.

    A problem is one line with file, line, setting and a similar name that exists; the exit code is 2. No broker is
    needed. With --against-state, the newest checkpoint of each unit is read and compared; nothing is written, and the
    service may keep running.
    """
    from streamer.config import load_config
    from streamer.config.detector_names import default_detectors_off
    from streamer.config.load import NEEDED_TO_RUN
    from streamer.config.patterns import unmatched_by_references

    if file is not None and config_file is not None:
        raise click.UsageError(f"Name one file: {file}, or --config {config_file}.")
    checked = file or config_file or DEFAULT_CONFIG
    config = load_config(checked, needs=() if offline else NEEDED_TO_RUN)
    echo_line(f"{checked}: ok; {description(config, not offline)}")
    for line in default_detectors_off(config):
        echo_line(f"  {line}")
    for line in false_alarm_lines(config):
        echo_line(line)
    for line in unmatched_by_references(config):
        echo_line(f"  {line} of the training data, which is no error where models come without")
    if state is not None:
        from streamer.app.inspect import state_diff

        for line in state_lines(state_diff(config, state or None)):
            echo_line(line)


def description(config: Config, with_brokers: bool = True) -> str:
    """A configuration on one line."""
    outputs = config.outputs
    reference = (
        f"training data in {config.references.file}" if config.references.file else "the first values of each column"
    )
    published = [outputs.alerts, outputs.incidents, outputs.requests, outputs.decisions]
    published += [outputs.profiles] if config.profiles.publish else []
    by_model = config.retrain.rules_by_model.items()
    rules = "".join(f", retrains {name} for {' or '.join(of_model.when)}" for name, of_model in by_model)
    brokers = f" from {_listed(config.kafka.bootstrap)} as group {config.kafka.group}" if with_brokers else ""
    return (
        f"reads {_listed(config.topics or ['all topics'])}{brokers}, "
        f"compares with {reference} by {_listed(config.detectors)}, "
        f"publishes to {_listed(published)}{rules}"
    )


def false_alarm_lines(config: Config) -> Iterator[str]:
    """The effect of `false_alarms`: the rate of each detector, and the shift that it detects at that rate."""
    from detectors.power import seen
    from streamer.config.false_alarms import keeping

    allowed = config.false_alarms
    if allowed is None:
        return
    asked = keeping(config.detectors)
    if allowed.is_measured:
        yield from measured_lines(config, allowed, asked)
        return
    rates = [f"{name} keeps arl0 {config.watching[name].arl0:.3g}" for name in asked]
    yield (
        f"  false alarms: {allowed.at_most:g} in {allowed.per} on average, of {allowed.events:.3g} events "
        f"({allowed.events_per_s:g} events/s, {allowed.columns} columns): {_listed(rates)}"
    )
    yield from _outside(config, asked)
    for name, settings in config.watching.items():
        yield from seen(name, settings, allowed.columns)


def measured_lines(config: Config, allowed: FalseAlarmSettings, asked: Sequence[str]) -> Iterator[str]:
    """The effect of `false_alarms` where traffic is measured: rates and delays at some paces of a model."""
    from detectors.power import delays
    from streamer.detect.settings import ARL0_LEAST, ARL0_MOST

    yield (
        f"  false alarms: {allowed.at_most:g} in {allowed.per} on average, of each {allowed.models:,} models at their "
        f"own traffic, which is measured ({allowed.columns} columns): {_listed(asked)}"
    )
    yield from _outside(config, asked)
    for name, span_s in config.false_alarm_spans.items():
        at = {a_day: min(max(a_day / DAY_S * span_s, ARL0_LEAST), ARL0_MOST) for a_day in PACES}
        yield from delays(name, config.watching[name], allowed.columns, at)


def _outside(config: Config, asked: Sequence[str]) -> Iterator[str]:
    """A line on the detectors that the budget does not cover."""
    others = [name for name in config.detectors if name not in asked]
    if others:
        yield f"  not included, as they have no stated rate or their own: {_listed(others)}"


def state_lines(found: Sequence[UnitDiff]) -> Iterator[str]:
    """What a restart resets: the settings that changed, then the detectors of each unit."""
    changed = dict.fromkeys(one for unit in found for one in unit.settings)
    yield f"  a restart changes {len(changed) or 'no'} setting{'s' * (len(changed) != 1)} of the stored state"
    yield from (f"    {name}: {before} -> {now}" for name, before, now in changed)
    for unit in found:
        if unit.epoch < 0:
            yield f"  {unit.unit}: no checkpoint is usable; a restart folds the whole log again"
            continue
        effects = [f"resets {reset_text(one)}" for one in unit.reset]
        for verb, names in (("starts empty", unit.started), ("drops", unit.dropped), ("keeps", unit.kept)):
            effects += [f"{verb}: {_listed(names)}"] if names else []
        yield f"  {unit.unit}, from epoch {unit.epoch}: {'; '.join(effects) or 'resets nothing'}"


def reset_text(one: Reset) -> str:
    """A detector that is reset, with the columns and models that it concerns."""
    if not one.columns:
        return one.detector
    shown = [*one.columns][:MODELS_SHOWN]
    more = len(one.columns) - len(shown)
    models = _listed([*shown, f"{more:,} more models"] if more else shown)
    return f"{one.detector} on {sum(one.columns.values()):,} columns of {models}"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)
