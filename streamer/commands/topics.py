"""`driftline topics`: which topics a configuration needs, and whether they exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from streamer.commands.options import config_option
from streamer.errors import BrokerError

if TYPE_CHECKING:
    from streamer.config import Config

FOREVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}  # a restart folds these again, from their beginning
LATEST_OF_EACH: Final = {"cleanup.policy": "compact"}


@dataclass(frozen=True, slots=True)
class Needed:
    """A topic that the service reads or writes."""

    name: str
    use: str
    partitions: int | None = None  # of an output; event topics are the producers' own
    settings: Mapping[str, str] = field(default_factory=dict)


@click.command()
@config_option("The configuration.")
@click.option("--create", is_flag=True, help="Create the output topics that are missing; event topics never.")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Of incidents, requests and dead letters; alerts and epochs have one, because their order matters.",
)
def topics(config_file: str, create: bool, partitions: int) -> None:
    """List the topics that a configuration needs. Ends with exit code 3 while one of them is missing."""
    from streamer.config import load_config
    from streamer.logs import kafka_admin

    config = load_config(config_file)
    connection = config.kafka.connection()
    kafka_admin.preflight(connection)
    needed = list(needed_topics(config, partitions))
    known = kafka_admin.describe_topics(connection, [topic.name for topic in needed])
    for topic in needed:
        if create and topic.partitions is not None and topic.name not in known:
            kafka_admin.create_topics(connection, {topic.name: topic.partitions}, settings=topic.settings)
    after = kafka_admin.describe_topics(connection, [topic.name for topic in needed]) if create else known
    width = max(len(topic.name) for topic in needed)
    for topic in needed:
        found = after.get(topic.name)
        state = "missing" if found is None else "created" if topic.name not in known else "exists"
        count = "" if found is None else f", {found.partitions} partition{'s' * (found.partitions != 1)}"
        click.echo(f"{topic.name:{width}}  {topic.use:12}  {state}{count}")
    _complain([topic for topic in needed if topic.name not in after], create)


def needed_topics(config: Config, partitions: int) -> Iterator[Needed]:
    """The topics of a configuration: events first, in their order, then what the service writes."""
    outputs = config.outputs
    for name in config.topics:
        yield Needed(name, "events")
    yield Needed(outputs.alerts, "alerts", 1, FOREVER)
    yield Needed(outputs.epochs, "epochs", 1, FOREVER)
    yield Needed(outputs.incidents, "incidents", partitions, LATEST_OF_EACH)
    yield Needed(outputs.requests, "requests", partitions)
    for name in (*config.topics, outputs.alerts):
        yield Needed(outputs.dead_letters(name), "dead letters", partitions)


def _complain(missing: list[Needed], create: bool) -> None:
    if not missing:
        return
    names = ", ".join(topic.name for topic in missing)
    events = any(topic.partitions is None for topic in missing)
    cure = "create event topics with their producers" if events else ""
    if not create and any(topic.partitions is not None for topic in missing):
        cure = f"{cure}; " if cure else ""
        cure += "--create makes the output topics"
    raise BrokerError(f"missing at the broker: {names} ({cure})")
