"""`driftline topics`: the topics of a configuration, and whether they exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from streamer.app.provisioning import RequiredTopic
    from streamer.eventlog.kafka.admin import Topic


@click.command()
@config_option("The configuration.")
@click.option(
    "--create",
    is_flag=True,
    help="Create missing output topics, and copies of `rekey`. Other event topics are never created.",
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Partitions of incidents, requests, decisions and dead letters; the other outputs have fixed numbers.",
)
def topics(config_file: str, create: bool, partitions: int) -> None:
    """List the topics that a configuration needs. The exit code is 3 while one is missing or does not fit."""
    from streamer.app.provisioning import (
        check_needed,
        needed_topics,
        rekey_topics,
        with_copied_partitions,
        with_unit_partitions,
    )
    from streamer.config import load_config
    from streamer.eventlog.kafka import admin as kafka_admin

    config = load_config(config_file)
    connection = config.kafka.connection()
    kafka_admin.preflight(connection)
    needed = [*needed_topics(config, partitions), *rekey_topics(config, partitions)]
    known = kafka_admin.describe_topics(connection, [topic.name for topic in needed])
    needed = with_unit_partitions(with_copied_partitions(needed, known), known)
    for topic in needed:
        if not create or topic.partitions is None:
            continue
        if topic.name not in known:
            kafka_admin.create_topics(connection, {topic.name: topic.partitions}, settings=topic.settings)
        elif topic.use == "epochs" and known[topic.name].partitions < topic.partitions:
            kafka_admin.add_partitions(connection, topic.name, topic.partitions)
    after = kafka_admin.describe_topics(connection, [topic.name for topic in needed]) if create else known
    width = max(len(topic.name) for topic in needed)
    for topic in needed:
        found = after.get(topic.name)
        before = known.get(topic.name)
        state = (
            "missing" if found is None else "created" if before is None else "exists" if before == found else "extended"
        )
        count = "" if found is None else f", {found.partitions} partition{'s' * (found.partitions != 1)}"
        echo_line(f"{topic.name:{width}}  {topic.use:12}  {state}{count}{_apart(topic, needed, after)}")
    check_needed(connection, needed)


def _apart(topic: RequiredTopic, needed: Sequence[RequiredTopic], found: Mapping[str, Topic]) -> str:
    """Which other event topic a topic is not co-partitioned with, so that the events of a model do not meet."""
    events = [one.name for one in needed if one.use == "events" and one.name in found]
    if topic.name not in events or found[topic.name].partitions == found[events[0]].partitions:
        return ""
    return f", not co-partitioned with {events[0]}"
