"""`driftline requests`: the states of retrain requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.audit.requests import RequestStatus
    from streamer.config import Config

HEAD = ("state", "since", "until", "model", "request", "by")


@click.command()
@config_option("The configuration of the service.")
@click.option("--all", "show_all", is_flag=True, help="Also list requests that have ended.")
@click.option("--model", metavar="NAME", help="List this model only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def requests(config_file: str, show_all: bool, model: str | None, as_json: bool) -> None:
    """List retrain requests with their states, the latest change last.

    Held storms and sources are included under the id of their incident: `approve` releases them, `reject` dismisses
    them. `until` is the event time at which the state ends without a command.
    """
    import msgspec

    from streamer.commands.console.text_table import table
    from streamer.config import load_config

    config = load_config(config_file)
    wanted = [one for one in _statuses(config) if (show_all or not one.is_over) and model in {None, one.model_id}]
    if as_json:
        for one in wanted:
            click.echo(msgspec.json.encode(one).decode())
    elif wanted:
        for line in table(list(rows(wanted))):
            echo_line(line)
    else:
        click.echo("no open request; --all also lists those that have ended", err=True)


def _statuses(config: Config) -> Sequence[RequestStatus]:
    from streamer.audit.requests import RequestLedger
    from streamer.eventlog.kafka.reader import read_to_end

    ledger = RequestLedger(config.outputs)
    topics = (config.outputs.requests, config.outputs.incidents, config.outputs.decisions)
    ledger.read(read_to_end(config.kafka.connection(), topics))
    return ledger.statuses()


def rows(statuses: Sequence[RequestStatus]) -> Iterator[tuple[str, ...]]:
    """The rows of the list, the head first."""
    yield HEAD
    for one in statuses:
        until = f"{one.answer_by:%Y-%m-%d %H:%M}" if one.answer_by else "-"
        since = f"{one.since:%Y-%m-%d %H:%M}"
        yield one.state.value, since, until, one.model_id, one.request_id, one.actor or "-"
