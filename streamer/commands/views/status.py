"""`driftline status`: one page about a service, its units, its models, and what waits for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.fleet_tables import alert_object, alert_rows
from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from streamer.app.inspect import WatchedFleet
    from streamer.app.standing import ServiceStanding, UnitStanding
    from streamer.audit.fleet import AlertStatus, Fleet
    from streamer.audit.requests import RequestStatus

UNITS_HEAD = ("unit", "behind", "last commit")
WAITING_HEAD = ("waits for", "since", "until", "model", "command")
ALERTS_SHOWN: Final = 10

# State of a request -> what it waits for, and the command.
WAITS: Final = {
    "requested": ("approval", "driftline approve {0}"),
    "approved": ("the trainer", "driftline result {0} started"),
    "training": ("the trainer", "driftline result {0} trained"),
    "trained": ("promotion", "driftline promote {0}"),
    "awaiting_review": ("review", "driftline promote {0}"),
}


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows."""

    service: ServiceStanding
    fleet: Fleet
    alerts: Sequence[AlertStatus]
    watched: WatchedFleet | None  # None: there is no checkpoint


@click.command()
@config_option("The configuration of the service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line, with its `type`.")
def status(config_file: str, as_json: bool) -> None:
    """Show a service on one page: its units and their lag, its models, what fires, and what waits for whom.

    All of it comes from Kafka and from the checkpoints, so the service need not run. `driftline models`, `alerts`,
    `incidents`, `requests` and `silences` show more of each part.
    """
    import msgspec

    found = _status(config_file)
    if as_json:
        for one in objects(found):
            click.echo(msgspec.json.encode(one).decode())
    else:
        for line in page(found):
            echo_line(line)


def _status(config_file: str) -> Status:
    from streamer.app.inspect import fleet_of_checkpoints
    from streamer.app.standing import standing_of
    from streamer.audit.fleet import KINDS, Fleet, Wanted
    from streamer.audit.source import of_service
    from streamer.config import load_config
    from streamer.errors import UsageError

    config = load_config(config_file)
    service = standing_of(config)
    connection = config.kafka.connection()
    fleet = Fleet(config.outputs, of_service(connection, config.outputs, KINDS)())
    alerts = fleet.alerts(of_service(connection, config.outputs, ["alert"])(), Wanted())
    try:
        watched = fleet_of_checkpoints(config)
    except UsageError:
        watched = None
    return Status(service, fleet, alerts, watched)


def page(found: Status) -> Iterator[str]:
    """The page as lines."""
    from streamer.commands.console.text_table import table

    service = found.service
    until = f", events until {service.events_until:%Y-%m-%d %H:%M}" if service.events_until else ", no events so far"
    yield f"group {service.group} on {service.bootstrap}: {_running(service)}{until}"
    yield ""
    yield from table([UNITS_HEAD, *map(_unit_row, service.units)])
    yield ""
    yield from _counts(found)
    waiting = [row for one in found.fleet.requests() if (row := _waiting_row(one))]
    if waiting:
        yield ""
        yield from table([WAITING_HEAD, *waiting])
    if found.alerts:
        yield ""
        events = found.watched.events if found.watched else {}
        yield from table(list(alert_rows(found.alerts[-ALERTS_SHOWN:], events)))
        if (more := len(found.alerts) - ALERTS_SHOWN) > 0:
            yield f"and {more:,} older ones: `driftline alerts`"


def _running(service: ServiceStanding) -> str:
    """Whether workers share the partitions, from Kafka's word for the state of the group."""
    if not service.workers:
        return "NOT RUNNING"
    workers = f"{service.workers:,} worker{'s' * (service.workers != 1)}"
    return f"running, {workers}" if service.state == "Stable" else f"{workers}, partitions are being assigned"


def _unit_row(one: UnitStanding) -> tuple[str, ...]:
    behind = f"{one.behind:,}" if one.is_exact else f"at most {one.behind:,}"
    return one.unit, behind, f"{one.committed_at:%Y-%m-%d %H:%M:%S}" if one.committed_at else "never"


def _counts(found: Status) -> Iterator[str]:
    """One line a kind: how many there are, and of which sort."""
    models = f"{_models(found):,} watched" if found.watched else "no checkpoint yet"
    firing = len({one.alert.model_id for one in found.alerts})
    yield f"models     {models}, {firing:,} with alerts"
    decisions = Counter(one.decision for one in found.alerts)
    sorts = ", ".join(f"{n:,} {name}" for name, n in sorted(decisions.items(), key=lambda entry: (-entry[1], entry[0])))
    cut = "at least " if found.fleet.is_cut else ""
    yield f"alerts     {cut}{len(found.alerts):,} firing{f': {sorts}' if sorts else ''}"
    yield f"incidents  {len(found.fleet.open):,} open"
    states = Counter(one.state.value for one in found.fleet.requests())
    yield f"requests   {', '.join(f'{n:,} {name}' for name, n in sorted(states.items())) or 'none open'}"
    silences = ", ".join(list(found.fleet.silences)[:3])
    yield f"silences   {len(found.fleet.silences):,} active{f': {silences}' if silences else ''}"


def _models(found: Status) -> int | None:
    return len({one.model_id for one in found.watched.models}) if found.watched else None


def _waiting_row(one: RequestStatus) -> tuple[str, ...] | None:
    if one.state.value not in WAITS:
        return None
    what, command = WAITS[one.state.value]
    if one.model_id.startswith(("fleet:", "source:")) and one.answer_by is None:
        what = "release"
    until = f"{one.answer_by:%Y-%m-%d %H:%M}" if one.answer_by else "-"
    return what, f"{one.since:%Y-%m-%d %H:%M}", until, one.model_id, command.format(one.request_id)


def objects(found: Status) -> Iterator[dict[str, Any]]:
    """The page as objects: the service, its units, counts, what waits, and the alerts that fire."""
    import msgspec

    service = found.service
    yield {
        "type": "service",
        "group": service.group,
        "bootstrap": service.bootstrap,
        "state": service.state,
        "workers": service.workers,
        "events_until": service.events_until,
        "models": _models(found),
        "alerts": len(found.alerts),
        "incidents": len(found.fleet.open),
        "silences": len(found.fleet.silences),
    }
    for unit in service.units:
        yield {"type": "unit", **msgspec.to_builtins(unit)}
    for request in found.fleet.requests():
        yield {"type": "request", **msgspec.to_builtins(request)}
    events = found.watched.events if found.watched else {}
    for one in found.alerts:
        yield {"type": "alert", **alert_object(one, events)}
