"""`driftline explain` and `driftline history`: the audit trail of an id or a model, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.published import config_of, events_of, limits_of, records_options, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.audit.timeline import TimelineEntry
    from streamer.audit.trail import Trail

EXAMPLE = """\b
Examples:
    driftline explain retrain-bus-017-8648e6d60eda4886
    driftline replay june.parquet > june.jsonl; driftline explain incident-be61f06df2da95d8 june.jsonl
"""

JSON = click.option("--json", "as_json", is_flag=True, help="The records themselves, one JSON object on each line.")


@click.command(epilog=EXAMPLE)
@click.argument("name", metavar="ID")
@records_options
@JSON
def explain(name: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Explain an alert, incident, request or silence: its causes and its effects.

    The output shows each shift with its onset, detector and baseline, the named decision on each alert, the request
    with its training data, and its later states. The records come from the topics of the service, or from REPLAYED: the
    output of `driftline replay`, or a recording of these topics. With a configuration, the reasons name its limits. For
    alerts that wait for data, the newest checkpoints show how many events there are by now.
    """
    from streamer.audit.explanation import related_to
    from streamer.audit.timeline import entries
    from streamer.audit.trail import trail_of_id

    config = config_of(replayed, config_file)
    trail = trail_of_id(source_of(replayed, config), name)
    timeline = entries(
        trail, related_to(trail, name), limits_of(replayed, config_file, config), events_of(replayed, config)
    )
    _show(trail, timeline, as_json)


@click.command()
@click.argument("model", metavar="MODEL")
@records_options
@JSON
def history(model: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Show the alerts, incidents, requests and decisions of MODEL in order of time.

    The storms and silences of its alerts are included. The records come from the same places as for `driftline
    explain`.
    """
    from streamer.audit.explanation import history_of
    from streamer.audit.timeline import entries
    from streamer.audit.trail import trail_of_model

    config = config_of(replayed, config_file)
    trail = trail_of_model(source_of(replayed, config), model)
    timeline = entries(
        trail, history_of(trail, model), limits_of(replayed, config_file, config), events_of(replayed, config)
    )
    _show(trail, timeline, as_json)


def _show(trail: Trail, timeline: Sequence[TimelineEntry], as_json: bool) -> None:
    import msgspec

    from streamer.audit.timeline import text_of
    from streamer.audit.trail import kind_of

    if as_json:
        for entry in timeline:
            record = msgspec.to_builtins(entry.record)
            click.echo(msgspec.json.encode({"type": kind_of(entry.record), **record}).decode())
    else:
        for line in text_of(timeline):
            echo_line(line)
    if trail.is_cut:
        click.echo("the oldest records are left out", err=True)
