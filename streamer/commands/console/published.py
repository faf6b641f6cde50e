"""Where the published records come from that a command shows: the topics of a service, or what a replay wrote."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrain.policy.settings import RetrainSettings
    from streamer.audit.reasons import EventCounts
    from streamer.audit.source import Source
    from streamer.config import Config

REPLAYED: Final = "[REPLAYED]"


def records_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument REPLAYED and the option --config."""
    config = click.option(
        "--config", "config_file", metavar="FILE",
        help=f"The configuration.  [default: {DEFAULT_CONFIG}; with REPLAYED, none: topics have their default names]",
    )  # fmt: skip
    return click.argument("replayed", metavar=REPLAYED, required=False)(config(command))


def config_of(replayed: str | None, config_file: str | None) -> Config:
    """The configuration; of REPLAYED without one, the defaults. Raises `UsageError`."""
    from streamer.config import Config, load_config

    if replayed is None:
        return load_config(config_file or DEFAULT_CONFIG)
    return Config() if config_file is None else load_config(config_file, needs=())


def source_of(replayed: str | None, config: Config, kinds: Collection[str] | None = None) -> Source:
    """The source of the records of these kinds, or of all."""
    from streamer.audit.source import KINDS, of_file, of_service

    if replayed is None:
        return of_service(config.kafka.connection(), config.outputs, kinds or KINDS)
    source = of_file(replayed, config.outputs)
    return lambda: ((kind, value) for kind, value in source() if kind in (kinds or KINDS))


def limits_of(replayed: str | None, config_file: str | None, config: Config) -> RetrainSettings | None:
    """The settings behind the decisions; None for REPLAYED without a configuration, which may have had any."""
    return None if replayed is not None and config_file is None else config.retrain


def events_of(replayed: str | None, config: Config) -> EventCounts:
    """The events by now of alerts that wait for data, from the checkpoints of the service if there are any."""

    def read() -> Mapping[str, int]:
        from streamer.app.inspect import fleet_of_checkpoints
        from streamer.errors import UsageError

        try:
            return fleet_of_checkpoints(config).events if replayed is None else {}
        except UsageError:
            return {}

    return read
