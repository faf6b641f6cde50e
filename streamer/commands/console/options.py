"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from streamer.app.offline.selection import Selection
    from streamer.app.offline.table_files import NamedTable
    from streamer.config import Config
    from streamer.eventlog.kafka.connection import KafkaConnection

DEFAULT_CONFIG: Final = "driftline.yaml"


def config_option(help_text: str, default: str | None = DEFAULT_CONFIG) -> Callable[[Any], Any]:
    """`--config FILE`, shown with its default."""
    return click.option(
        "--config", "config_file", metavar="FILE", default=default, show_default=default is not None, help=help_text
    )


_TABLE_OPTIONS: Final = (
    click.option("--time", metavar="COLUMN", help="Of tables: the column with the time of an event."),
    click.option("--model", metavar="ID", help="Of tables: the model of all rows."),
    click.option("--model-column", metavar="COLUMN", help="Of tables: the column with the model, instead of --model."),
    click.option("--version-column", "version", metavar="COLUMN", help="Of tables: the column with its version."),
    click.option(
        "--features", metavar="COLUMNS",
        help="Of tables: the columns of features, with commas.  [default: all that are nothing else]",
    ),
    click.option("--prediction", metavar="COLUMN", help="Of tables: the output of the model."),
    click.option("--label", metavar="COLUMN", help="Of tables: the true value."),
    click.option("--id", metavar="COLUMN", help="Of tables: the id that joins labels of later rows to predictions."),
    click.option("--segment", metavar="COLUMN", help="Of tables: the column that `segments` groups rows by."),
    click.option("--sort", is_flag=True, help="Of tables: fold rows in order of time, not in the order of the table."),
    click.option(
        "--every", metavar="DURATION",
        help="Of tables without a time: the time between two rows, as in 1m. The first row is at 2000-01-01.",
    ),
    click.option("--from", "since", metavar="TIME", help="Fold events from this time on, as in 2026-05-12."),
    click.option("--until", metavar="TIME", help="Fold events before this time, as in 2026-05-12T08:00Z."),
    click.option("--models", metavar="PATTERN", multiple=True, help="Fold these models only, as in bus-*."),
    click.option("--columns", metavar="PATTERN", multiple=True, help="Watch these columns only, as in speed_*."),
    click.option(
        "--inject", "inject", metavar="CHANGE", multiple=True,
        help="Change events, and report what was seen of it: 'dep_delay: +15 @ 2026-05-12T08:00 in 5% of eta-*'. "
        "Changes are +15, *1.2, =text and null of a column, and silence and delay 5m of (events).",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the shares of --inject."),
    click.option(
        "--set", "sets", metavar="SETTING=VALUE", multiple=True,
        help="One setting, as in detectors.shiryaev_roberts.arl0=1e5; it counts before the file and variables.",
    ),
)  # fmt: skip


def offline_options(command: Any) -> Any:
    """The columns of tables, the part of recordings that is folded, and single settings; see `offline_of`."""
    for option in reversed(_TABLE_OPTIONS):
        command = option(command)
    return command


def offline_of(
    recordings: Sequence[str], config_file: str | None, topic: str | None, options: Mapping[str, Any]
) -> tuple[Config, Selection]:
    """The configuration and the selection of `offline_options`. Raises `UsageError`."""
    from streamer.app.offline.injection import injections_of
    from streamer.app.offline.selection import selection_of
    from streamer.app.offline.table_files import mapping_of
    from streamer.config import Config, load_config

    sets = options["sets"]
    config = Config() if config_file is None and not sets else load_config(config_file, needs=(), sets=sets)
    mapping = mapping_of(options)
    if mapping.is_given:
        config = mapping.configured(config, recordings, topic)
    changes = injections_of(options["inject"], options["seed"])
    span = options["since"], options["until"]
    return config, selection_of(*span, options["models"], options["columns"], changes)


def arranged(recordings: Sequence[str], options: Mapping[str, Any]) -> Sequence[str | NamedTable]:
    """The recordings, tables sorted and with times as `offline_options` say. Raises `UsageError`."""
    from streamer.app.offline.table_files import mapping_of

    return mapping_of(options).arranged(recordings)


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
