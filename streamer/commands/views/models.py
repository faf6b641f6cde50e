"""`driftline models`: the models that are watched, and how each of them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from streamer.audit.fleet import Fleet
    from streamer.config import Config
    from streamer.detect.inspect import WatchedModel

HEAD = ("model", "version", "events", "columns", "last event", "firing", "incident", "request")

EPILOG = """\b
Examples:
    driftline models --firing
    driftline models --model 'bus-*' --json
"""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model of the fleet."""

    model_id: str
    model_version: str  # of its newest event; "" if events name none
    events: int  # of all its versions and partitions
    columns: int  # the most of a version
    last_event_time: datetime | None  # None: it is in no checkpoint
    firing: int  # alerts that have not ended
    incident_id: str  # the open one; "" for none
    request_state: str  # of its request that is not over; "" for none


@click.command(epilog=EPILOG)
@config_option("The configuration of the service.")
@click.option("--model", default="*", show_default=True, metavar="PATTERN", help="Pattern of the models.")
@click.option("--firing", is_flag=True, help="Only models with an alert that fires.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def models(config_file: str, model: str, firing: bool, as_json: bool) -> None:
    """List the models and sources that are watched, with their alerts, incidents and requests.

    Events and columns are as of the newest checkpoints of the service; the rest comes from its topics. Without
    checkpoints, only models with alerts or requests are listed.
    """
    import msgspec

    from retrain.messages.patterns import matches
    from streamer.commands.console.text_table import table
    from streamer.config import load_config

    config = load_config(config_file)
    statuses, _ = statuses_of(config)
    found = [one for one in statuses if matches(one.model_id, model) and (one.firing or not firing)]
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
    elif found:
        for line in table([HEAD, *map(_row, found)]):
            echo_line(line)
    else:
        click.echo("no such model; a running service lists its models after its first checkpoint", err=True)


def statuses_of(config: Config) -> tuple[Sequence[ModelStatus], Fleet]:
    """The status of each model in order of names, and the fleet as published. Logs why checkpoints can't be used."""
    from streamer.app.inspect import fleet_of_checkpoints
    from streamer.audit.fleet import KINDS, Fleet, Wanted
    from streamer.audit.source import of_service
    from streamer.errors import UsageError

    watched: Sequence[WatchedModel] = ()
    try:
        watched = fleet_of_checkpoints(config).models
    except UsageError as problem:
        echo_line(f"only models with alerts or requests are listed: {problem}", err=True)
    connection = config.kafka.connection()
    fleet = Fleet(config.outputs, of_service(connection, config.outputs, KINDS)())
    alerts = fleet.alerts(of_service(connection, config.outputs, ["alert"])(), Wanted())
    return _joined(watched, fleet, Counter(one.alert.model_id for one in alerts)), fleet


def _joined(watched: Sequence[WatchedModel], fleet: Fleet, firing: Mapping[str, int]) -> Sequence[ModelStatus]:
    of_model: dict[str, list[WatchedModel]] = {}
    for one in watched:
        of_model.setdefault(one.model_id, []).append(one)
    incidents = {one.model_id: one.incident_id for one in fleet.open.values()}
    requests = {one.model_id: one.state.value for one in fleet.requests()}
    found = []
    for name in sorted({*of_model, *firing, *incidents, *requests}):
        own = of_model.get(name, [])
        if not own and name.startswith("fleet:"):
            continue
        newest = max(own, key=lambda one: one.last_event_time, default=None)
        found.append(
            ModelStatus(
                model_id=name,
                model_version=newest.model_version if newest else "",
                events=sum(one.events for one in own),
                columns=max((one.columns for one in own), default=0),
                last_event_time=newest.last_event_time if newest else None,
                firing=firing.get(name, 0),
                incident_id=incidents.get(name, ""),
                request_state=requests.get(name, ""),
            )
        )
    return found


def _row(one: ModelStatus) -> tuple[str, ...]:
    return (
        one.model_id,
        one.model_version or "-",
        f"{one.events:,}",
        f"{one.columns:,}",
        f"{one.last_event_time:%Y-%m-%d %H:%M}" if one.last_event_time else "-",
        f"{one.firing:,}",
        one.incident_id or "-",
        one.request_state or "-",
    )
