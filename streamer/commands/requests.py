"""`driftline requests`: how retrain requests stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.console.options import config_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.audit.requests import RequestStatus
    from streamer.config import Config

HEAD = ("state", "since", "until", "model", "request", "by")


@click.command()
@config_option("The configuration of the service.")
@click.option("--all", "show_all", is_flag=True, help="Also those that are over.")
@click.option("--model", metavar="NAME", help="Of this model only.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def requests(config_file: str, show_all: bool, model: str | None, as_json: bool) -> None:
    """List retrain requests with their state, the one that changed last at the end.

    A storm that is held, or a source, stands among them under the id of its incident: `approve` releases it, `reject`
    dismisses it.
    `until` is the event time at which the state ends by itself.
    """
    import msgspec

    from streamer.config import load_config
    from streamer.console.text_table import table

    config = load_config(config_file)
    wanted = [one for one in _standings(config) if (show_all or not one.is_over) and model in {None, one.model_id}]
    if as_json:
        for one in wanted:
            click.echo(msgspec.json.encode(one).decode())
    elif wanted:
        click.echo("\n".join(table(list(rows(wanted)))))
    else:
        click.echo("no request; --all shows those that are over", err=True)


def _standings(config: Config) -> Sequence[RequestStatus]:
    from streamer.audit.requests import RequestLedger
    from streamer.eventlog.kafka.reader import read_to_end

    ledger = RequestLedger(config.outputs)
    topics = (config.outputs.requests, config.outputs.incidents, config.outputs.decisions)
    ledger.read(read_to_end(config.kafka.connection(), topics))
    return ledger.standings()


def rows(standings: Sequence[RequestStatus]) -> Iterator[tuple[str, ...]]:
    """The list, with a head."""
    yield HEAD
    for one in standings:
        until = f"{one.answer_by:%Y-%m-%d %H:%M}" if one.answer_by else "-"
        since = f"{one.since:%Y-%m-%d %H:%M}"
        yield one.state.value, since, until, one.model_id, one.request_id, one.actor or "-"
