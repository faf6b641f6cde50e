"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from streamer.eventlog.kafka.connection import KafkaConnection

DEFAULT_CONFIG: Final = "driftline.yaml"


def config_option(help_text: str, default: str | None = DEFAULT_CONFIG) -> Callable[[Any], Any]:
    """`--config FILE`, shown with its default."""
    return click.option(
        "--config", "config_file", metavar="FILE", default=default, show_default=default is not None, help=help_text
    )


def brokers_options(config_help: str) -> Callable[[Any], Any]:
    """`--config FILE` and `--bootstrap ADDR`, of which `connection_of` takes one."""

    def with_options(command: Any) -> Any:
        bootstrap = click.option(
            "--bootstrap", metavar="ADDR", help="The brokers as host:port[,host:port], instead of --config."
        )
        return config_option(config_help, default=None)(bootstrap(command))

    return with_options


def connection_of(config_file: str | None, bootstrap: str | None) -> KafkaConnection:
    """The connection from the options. Raises `UsageError`, also of click, unless exactly one is given and valid."""
    from streamer.config import load_config
    from streamer.eventlog.kafka.connection import KafkaConnection

    if (config_file is None) == (bootstrap is None):
        raise click.UsageError("Give the brokers with either --config or --bootstrap.")
    if bootstrap is not None:
        return KafkaConnection(bootstrap=tuple(part.strip() for part in bootstrap.split(",")))
    return load_config(str(config_file), needs=("kafka.bootstrap",)).kafka.connection()
