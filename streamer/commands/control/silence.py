"""`driftline silence`, `unsilence` and `silences`: the suppression of known alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from streamer.clock import seconds_of
from streamer.commands.console.control_options import ControlOptions, control_options, rfc3339, send_control
from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from streamer.config import Config

THEIRS_S: Final = 3.0  # longest wait for an Alertmanager
THEIRS_MAX: Final = 100  # silences of Alertmanager that are listed, those that end first
THEIRS_HEAD: Final = ("until", "matchers", "silence", "by", "why")

EXAMPLE = """\b
Example:
    driftline silence --model 'bus-*' --column headway_s --for 4h --actor ann --comment "sensor is being replaced"
"""


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else seconds_of(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


@click.command(epilog=EXAMPLE)
@control_options
@click.option("--model", default="*", show_default=True, metavar="PATTERN", help="Pattern of the models.")
@click.option("--column", default="*", show_default=True, metavar="PATTERN", help="Pattern of the columns.")
@click.option(
    "--kind", metavar="KIND", help="The kind of the alerts, such as drift, missing or unseen; the default is all kinds."
)
@click.option("--for", "for_s", callback=_duration, metavar="TIME", help="The duration, such as 30m, 4h or 2d.")
@click.option("--until", metavar="TIME", help="The end instead of a duration: event time, RFC 3339 in UTC.")
def silence(
    options: ControlOptions,
    model: str,
    column: str,
    kind: str | None,
    for_s: int | None,
    until: str | None,
) -> None:
    """Suppress alerts that match: no incident, no retrain, no storm.

    These alerts are still published and counted. Those that still hold at the end of the silence open their incidents
    then. The id of the silence goes to standard output, the answer of the service to standard error.
    """
    from dataclasses import replace

    from retrain.messages.ids import derived_id
    from streamer.clock import SystemClock
    from streamer.errors import NoAnswerError

    if (for_s is None) == (until is None):
        raise click.UsageError("Give the end: --for 4h, or --until 2026-11-24T16:00:00Z.")
    at = options.at or rfc3339(SystemClock().now_s())
    until = until or _later(at, for_s or 0)
    name = model if model != "*" else column
    silence_id = derived_id("silence", model, column, kind or "", at, until, options.actor, name=name)
    matcher = {"model": model, "column": column, "kind": kind}
    try:
        answer = send_control("silence", replace(options, at=at), silence_id, matcher=matcher, until=until)
    except NoAnswerError:
        echo_line(silence_id)
        raise
    echo_line(answer, err=True)
    echo_line(silence_id)


def _later(at: str, seconds: int) -> str:
    from datetime import datetime, timedelta

    try:
        return (datetime.fromisoformat(at) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise click.UsageError(f"--at {at} and --for give no valid time; --at is RFC 3339 in UTC.") from None


@click.command()
@control_options
@click.argument("silence_id", metavar="SILENCE_ID")
def unsilence(options: ControlOptions, silence_id: str) -> None:
    """End a silence now. Suppressed alerts that still hold open their incidents."""
    echo_line(send_control("unsilence", options, silence_id))


@click.command()
@config_option("The configuration of the service.")
@click.option("--all", "show_all", is_flag=True, help="Also list silences that have ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def silences(config_file: str, show_all: bool, as_json: bool) -> None:
    """List silences in order of their beginning. `until` is event time.

    Active silences of the Alertmanagers in `notify` that name our alerts, `model` or `incident_id` are listed below,
    unless with --json. They hold back notifications alone; there, `until` is the time of the clock.
    """
    import msgspec

    from streamer.audit.fleet import SILENCES_HEAD, silence_row, silences_in
    from streamer.commands.console.text_table import table
    from streamer.config import load_config
    from streamer.eventlog.kafka.reader import read_to_end

    config = load_config(config_file)
    found = silences_in(read_to_end(config.kafka.connection(), [config.outputs.decisions]))
    wanted = [one for one in found if show_all or not one.is_over]
    if as_json:
        for one in wanted:
            click.echo(msgspec.json.encode(one).decode())
    elif wanted:
        for line in table([SILENCES_HEAD, *map(silence_row, wanted)]):
            echo_line(line)
    else:
        click.echo("no active silence; --all also lists those that have ended", err=True)
    if not as_json:
        _list_theirs(config)


def _list_theirs(config: Config) -> None:
    """List the silences of Alertmanager that hold our alerts back. One that does not answer is one line."""
    from pathlib import Path

    from streamer.commands.console.text_table import table
    from streamer.launch.base import Tools
    from streamer.launch.http import Http
    from streamer.launch.notify.receivers import their_silences

    if config.notify.alertmanager is None:
        return
    theirs, problems = their_silences(config.notify.alertmanager, Tools(Http(THEIRS_S), Path()))
    for problem in problems:
        echo_line(problem, err=True)
    if theirs:
        echo_line("Alertmanager holds back notifications of:")
        rows = [
            (f"{one.ends_at:%Y-%m-%d %H:%M}", " ".join(map(str, one.matchers)), one.id, one.created_by, one.comment)
            for one in theirs[:THEIRS_MAX]
        ]
        for line in table([THEIRS_HEAD, *((*row[:-1], row[-1].partition("\n")[0]) for row in rows)]):
            echo_line(line)
    if len(theirs) > THEIRS_MAX:
        echo_line(f"and {len(theirs) - THEIRS_MAX:,} more", err=True)
