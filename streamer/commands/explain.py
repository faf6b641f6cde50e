"""`driftline explain` and `driftline history`: the audit trail of an id or a model, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from retrain.policy.settings import RetrainSettings
    from streamer.audit.related import RecordFilter
    from streamer.audit.source import Source
    from streamer.audit.trail import Trail
    from streamer.config import Config

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
JSON = click.option("--json", "as_json", is_flag=True, help="The records themselves, one JSON object on each line.")


@click.command(epilog=EXAMPLE)
@click.argument("name", metavar="ID")
@click.argument("replayed", metavar=FROM, required=False)
@CONFIG
@JSON
def explain(name: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Explain an alert, incident, request or silence: its causes and its effects.

    The output shows each shift with its onset, detector and baseline, the named decision on each alert, the request
    with its training data, and its later states. The records come from the topics of the service, or from REPLAYED: the
    output of `driftline replay`, or a recording of these topics.
    """
    from streamer.audit.related import related_to
    from streamer.audit.trail import trail_of_id

    config = _config(replayed, config_file)
    trail = trail_of_id(_source(replayed, config), name)
    _show(trail, related_to(trail, name), _limits(replayed, config_file, config), as_json)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("replayed", metavar=FROM, required=False)
@CONFIG
@JSON
def history(model: str, replayed: str | None, config_file: str | None, as_json: bool) -> None:
    """Show the alerts, incidents, requests and decisions of MODEL in order of time.

    The storms and silences of its alerts are included. The records come from the same places as for `driftline
    explain`.
    """
    from streamer.audit.related import history_of
    from streamer.audit.trail import trail_of_model

    config = _config(replayed, config_file)
    trail = trail_of_model(_source(replayed, config), model)
    _show(trail, history_of(trail, model), _limits(replayed, config_file, config), as_json)


def _config(replayed: str | None, config_file: str | None) -> Config:
    from streamer.config import Config, load_config

    if replayed is None:
        return load_config(config_file or DEFAULT_CONFIG)
    return Config() if config_file is None else load_config(config_file, needs=())


def _limits(replayed: str | None, config_file: str | None, config: Config) -> RetrainSettings | None:
    """The settings behind the decisions; None for REPLAYED without a configuration, which may have had any."""
    return None if replayed is not None and config_file is None else config.retrain


def _source(replayed: str | None, config: Config) -> Source:
    from streamer.audit.source import of_file, of_service

    if replayed is None:
        return of_service(config.kafka.connection(), config.outputs)
    return of_file(replayed, config.outputs)


def _show(trail: Trail, wanted: RecordFilter, settings: RetrainSettings | None, as_json: bool) -> None:
    import msgspec

    from streamer.audit.timeline import entries, text_of
    from streamer.audit.trail import kind_of

    timeline = entries(trail, wanted, settings)
    if as_json:
        for entry in timeline:
            record = msgspec.to_builtins(entry.record)
            click.echo(msgspec.json.encode({"type": kind_of(entry.record), **record}).decode())
    else:
        for line in text_of(timeline):
            echo_line(line)
    if trail.is_cut:
        click.echo("the oldest records are left out", err=True)
