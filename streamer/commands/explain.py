"""`driftline explain` and `driftline history`: what was decided, and why, with the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.console.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from streamer.audit.related import Wanted
    from streamer.audit.source import Source
    from streamer.audit.trail import Trail

FROM = "[REPLAYED]"

EXAMPLE = """\b
Examples:
    driftline explain retrain-bus-017-8648e6d60eda4886
    driftline replay june.parquet > june.jsonl; driftline explain incident-be61f06df2da95d8 june.jsonl
"""

CONFIG = click.option(
    "--config", "config_file", metavar="FILE",
    help=f"The configuration.  [default: {DEFAULT_CONFIG}; with REPLAYED, none: topics have their default names]",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="The records themselves, a JSON object a line.")


@click.command(epilog=EXAMPLE)
@click.argument("name", metavar="ID")
@click.argument("replayed", metavar=FROM, required=False)
@CONFIG
@JSON
def explain(name: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Say what led to an alert, incident, request or silence, and what came of it.

    That is what moved, since when, by which detector and against what; what was decided on each alert, by name, also
    that nothing is to be done; the request with its data; and what became of it. Read from the topics of the service,
    or from REPLAYED: what `driftline replay` wrote, or a recording of these topics.
    """
    from streamer.audit.related import chain_of
    from streamer.audit.trail import trail_of_id

    trail = trail_of_id(_source(replayed, config_file), name)
    _tell(trail, chain_of(trail, name), as_json)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("replayed", metavar=FROM, required=False)
@CONFIG
@JSON
def history(model: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Tell the story of MODEL in order of time: alerts, incidents, requests and decisions.

    Storms and silences that its alerts fell into belong to it. Read as by `driftline explain`.
    """
    from streamer.audit.related import story_of
    from streamer.audit.trail import trail_of_model

    trail = trail_of_model(_source(replayed, config_file), model)
    _tell(trail, story_of(trail, model), as_json)


def _source(replayed: str | None, config_file: str | None) -> Source:
    from streamer.audit.source import of_file, of_service
    from streamer.config import Config, load_config

    if replayed is None:
        config = load_config(config_file or DEFAULT_CONFIG)
        return of_service(config.kafka.connection(), config.outputs)
    return of_file(replayed, (Config() if config_file is None else load_config(config_file, needs=())).outputs)


def _tell(trail: Trail, wanted: Wanted, as_json: bool) -> None:
    import msgspec

    from streamer.audit.timeline import entries, text_of
    from streamer.audit.trail import kind_of

    story = entries(trail, wanted)
    if as_json:
        for entry in story:
            record = msgspec.to_builtins(entry.record)
            click.echo(msgspec.json.encode({"type": kind_of(entry.record), **record}).decode())
    else:
        for line in text_of(story):
            click.echo(line)
    if trail.is_cut:
        click.echo("there is more of it than is told; what is oldest was left out", err=True)
