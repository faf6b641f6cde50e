"""`driftline alerts` and `driftline incidents`: what fires now, and what it led to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from streamer.commands.console.fleet_tables import INCIDENTS_HEAD, WAITING, alert_object, alert_rows, incident_row
from streamer.commands.console.lines import echo_line
from streamer.commands.console.published import config_of, events_of, records_options, source_of

if TYPE_CHECKING:
    from streamer.audit.fleet import Fleet, Wanted

ALERTS_EXAMPLE = """\b
Examples:
    driftline alerts --model 'bus-*' --kind drift
    driftline alerts --all --since 4h --json
"""
INCIDENTS_EXAMPLE = """\b
Examples:
    driftline incidents --column headway_s
    driftline incidents --all --since 2026-11-30T00:00:00Z
"""


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """The filters of alerts and incidents, and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object on each line."),
        click.option(
            "--since", metavar="TIME",
            help="Only what changed since: event time in RFC 3339, or 30m, 4h or 2d before the newest record.",
        ),
        click.option("--column", default="*", show_default=True, metavar="PATTERN", help="Pattern of the columns."),
        click.option("--model", default="*", show_default=True, metavar="PATTERN", help="Pattern of the models."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(epilog=ALERTS_EXAMPLE)
@records_options
@click.option("--firing/--all", "firing", default=True, help="Only alerts that have not ended (the default), or all.")
@filters
@click.option("--kind", metavar="KIND", help="The kind of the alerts, such as drift, missing or silent.")
def alerts(
    replayed: str | None, config_file: str | None, firing: bool, kind: str | None, as_json: bool, **patterns: Any
) -> None:
    """List the alerts that fire, in order of time, with the last decision on each.

    An alert ends when its column recovers or settles, or with its incident. The records come from the topics of the
    service, or from REPLAYED: the output of `driftline replay`, or a recording of these topics.

    For alerts that wait for data, the numbers are the events since the onset, as of the newest checkpoint, and those
    that are needed.
    """
    import msgspec

    config = config_of(replayed, config_file)
    wanted = _wanted(ended=not firing, kind=kind, **patterns)
    fleet = _fleet(replayed, config)
    found = fleet.alerts(source_of(replayed, config, ["alert"])(), wanted)
    waits = any(one.decision == WAITING for one in found)
    events = events_of(replayed, config)() if waits else {}
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(alert_object(one, events)).decode())
    else:
        _show(list(alert_rows(found, events)), "no alert fires; --all also lists those that have ended")
    if fleet.is_cut:
        click.echo("the oldest alerts are left out; narrow the list with --model, --column or --kind", err=True)


@click.command(epilog=INCIDENTS_EXAMPLE)
@records_options
@click.option("--open/--all", "is_open", default=True, help="Only incidents that are open (the default), or all.")
@filters
def incidents(replayed: str | None, config_file: str | None, is_open: bool, as_json: bool, **patterns: Any) -> None:
    """List the open incidents, in order of their opening, with what moved and the last decision.

    Storms (`fleet:COLUMN`) and sources (`source:NAME`) are among them. The records come from the same places as for
    `driftline alerts`.
    """
    import msgspec

    wanted = _wanted(ended=not is_open, **patterns)
    found = _fleet(replayed, config_of(replayed, config_file)).incidents(wanted)
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
    else:
        _show([INCIDENTS_HEAD, *map(incident_row, found)], "no open incident; --all also lists those that are closed")


def _wanted(ended: bool, model: str, column: str, since: str | None, kind: str | None = None) -> Wanted:
    from difflib import get_close_matches

    from retrain.messages.alert import AlertKind
    from streamer.audit.fleet import Wanted
    from streamer.errors import UsageError

    kinds = [one.value for one in AlertKind]
    if kind is not None and kind not in kinds:
        near = get_close_matches(kind, kinds, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
        raise UsageError(f"--kind {kind} is no kind of alerts; {hint}")
    return Wanted(model, column, kind, _since(since), ended)


def _since(text: str | None) -> Any:
    from datetime import UTC, datetime, timedelta

    from streamer.clock import seconds_of

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return timedelta(seconds=seconds_of(text))
        except ValueError:
            raise click.UsageError(
                f"--since {text} is neither a time such as 2026-11-30T16:00:00Z nor a duration such as 4h."
            ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _fleet(replayed: str | None, config: Any) -> Fleet:
    from streamer.audit.fleet import KINDS, Fleet

    return Fleet(config.outputs, source_of(replayed, config, KINDS)())


def _show(rows: Sequence[Sequence[str]], none: str) -> None:
    from streamer.commands.console.text_table import table

    if len(rows) == 1:
        echo_line(none, err=True)
        return
    for line in table(rows):
        echo_line(line)
