"""The rights of each role on a cluster with an authorizer: the least that suffice, in one table.

The service checks its own at the start, the page `docs/rights.md` is made from the table, and a test grants exactly it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamer.app.folds import read_by_decide
from streamer.app.provisioning import needed_topics, rekey_topics
from streamer.config import Config

if TYPE_CHECKING:
    from streamer.eventlog.kafka.access.rights import Right
    from streamer.eventlog.kafka.connection import KafkaConnection


@dataclass(frozen=True, slots=True)
class Grant:
    """A right of a role, its purpose, and whether the role can do without it."""

    right: Right
    purpose: str
    is_optional: bool = False


def service_grants(config: Config) -> Iterator[Grant]:
    """Of `driftline run`."""
    from streamer.eventlog.kafka.access.rights import Right

    outputs = config.outputs
    written = [topic.name for topic in needed_topics(config) if topic.name not in config.topics]
    for topic in config.topics:
        yield Grant(Right("topic", topic, "Read"), "events to fold")
    for topic in written:
        folded = topic in read_by_decide(config) or topic == outputs.epochs
        yield Grant(
            Right("topic", topic, "Read"), "records to fold" if folded else "owner of the topic, hanging transactions"
        )
        if topic != outputs.control:
            yield Grant(Right("topic", topic, "Write"), "outputs")
    yield Grant(Right("group", config.kafka.group, "Read"), "membership and offsets")
    if config.kafka.delivery == "exactly_once":
        name = Right("transactional-id", f"{config.kafka.group}-", "Write", is_prefix=True)
        yield Grant(name, "one transaction per commit")
    if config.copies:
        yield from copier_grants(config)
    yield Grant(Right("topic", outputs.epochs, "Alter"), "partitions for new units", is_optional=True)
    for topic in written:
        if topic not in (outputs.control, outputs.epochs):
            yield Grant(Right("topic", topic, "DescribeConfigs"), "largest record of the topic", is_optional=True)


def reader_grants(config: Config) -> Iterator[Grant]:
    """Of whoever looks: `driftline models`, `alerts`, `explain`, `history`, `requests`, `ui --read-only` ..."""
    from streamer.eventlog.kafka.access.rights import Right

    outputs = config.outputs
    for topic in (outputs.alerts, outputs.incidents, outputs.requests, outputs.decisions):
        yield Grant(Right("topic", topic, "Read"), "published records")
    if config.profiles.publish:
        yield Grant(Right("topic", outputs.profiles, "Read"), "profiles of columns", is_optional=True)


def operator_grants(config: Config) -> Iterator[Grant]:
    """Of whoever looks after the service: `driftline status`."""
    from streamer.eventlog.kafka.access.rights import Right

    yield from reader_grants(config)
    yield Grant(Right("topic", config.outputs.watermarks, "Read"), "how far event time is")
    for topic in (*config.topics, config.outputs.control):
        yield Grant(Right("topic", topic, "Describe"), "how far each unit is behind")
        yield Grant(Right("topic", topic, "Read"), "the exact number of records that wait", is_optional=True)
    yield Grant(Right("topic", config.outputs.epochs, "Describe"), "last commits")
    yield Grant(Right("group", config.kafka.group, "Describe"), "workers and offsets")


def person_grants(config: Config) -> Iterator[Grant]:
    """Of whoever decides: `driftline approve`, `reject`, `promote`, `silence`, `unsilence` and `ui`."""
    from streamer.eventlog.kafka.access.rights import Right

    yield Grant(Right("topic", config.outputs.control, "Write"), "commands")
    yield Grant(Right("topic", config.outputs.control, "Read"), "runs and their links on the page", is_optional=True)
    yield from reader_grants(config)


def trainer_grants(config: Config) -> Iterator[Grant]:
    """Of a training pipeline or a launcher: it consumes requests in a group of its own and reports results."""
    from streamer.eventlog.kafka.access.rights import Right

    yield Grant(Right("topic", config.outputs.requests, "Read"), "requests")
    yield Grant(Right("topic", config.outputs.decisions, "Read"), "approvals, and the answers to `driftline result`")
    yield Grant(Right("topic", config.outputs.incidents, "Read"), "ids of held storms, which `driftline result` checks")
    yield Grant(Right("group", TRAINER_GROUP, "Read"), "its own group of consumers")
    yield Grant(Right("topic", config.outputs.control, "Write"), "results (`driftline result`)")
    yield Grant(Right("topic", config.outputs.control, "Read"), "runs (`driftline launch`)", is_optional=True)
    yield Grant(Right("group", config.launch_group, "Read"), "progress of `driftline launch`", is_optional=True)
    one = Right("transactional-id", config.launch_group, "Write")
    yield Grant(one, "one process of `driftline launch` at a time", is_optional=True)


def notifier_grants(config: Config) -> Iterator[Grant]:
    """Of `driftline notify`."""
    from streamer.eventlog.kafka.access.rights import Right

    yield Grant(Right("topic", config.outputs.incidents, "Read"), "incidents to send")
    yield Grant(Right("topic", config.outputs.requests, "Read"), "requests to send")
    yield Grant(Right("group", config.notify_group, "Read"), "what is sent")
    yield Grant(Right("transactional-id", config.notify_group, "Write"), "one process at a time")


def verifier_grants(config: Config) -> Iterator[Grant]:
    """Of whoever folds the log again: `driftline verify` and `driftline record`."""
    from streamer.eventlog.kafka.access.rights import Right

    for topic in (*config.topics, *read_by_decide(config), config.outputs.epochs):
        yield Grant(Right("topic", topic, "Read"), "records to fold")


def mender_grants(config: Config) -> Iterator[Grant]:
    """Of whoever mends a mapping: `driftline dead-letters`, with --replay."""
    from streamer.eventlog.kafka.access.rights import Right

    for topic in (*config.topics, *config.rekeyed):
        group = f"{config.kafka.group}-dead-letters-{topic}"
        yield Grant(Right("topic", config.outputs.dead_letters(topic), "Read"), "dead letters")
        yield Grant(Right("topic", topic, "Write"), "records that are sent again")
        yield Grant(Right("group", group, "Read"), "dead letters that were sent again")
        yield Grant(Right("transactional-id", group, "Write"), "each dead letter is sent once")


def copier_grants(config: Config) -> Iterator[Grant]:
    """Of `driftline rekey`."""
    from streamer.eventlog.kafka.access.rights import Right

    for source in config.rekeyed:
        yield Grant(Right("topic", source, "Read"), "records to copy")
        yield Grant(Right("topic", config.outputs.dead_letters(source), "Write"), "records that can't be read")
    for target in config.topics:
        if target in config.rekey:
            yield Grant(Right("topic", target, "Write"), "copies")
        elif config.rekey:
            yield Grant(Right("topic", target, "Describe"), "equal numbers of partitions")
    if config.rekey:
        yield Grant(Right("group", config.rekey_group, "Read"), "what is copied")
        yield Grant(Right("transactional-id", config.rekey_group, "Write"), "each record is copied once")


def creator_grants(config: Config) -> Iterator[Grant]:
    """Of whoever sets up: `driftline topics --create`."""
    from streamer.eventlog.kafka.access.rights import Right

    for topic in (*needed_topics(config), *rekey_topics(config)):
        if topic.name != config.outputs.epochs:  # where Alter implies it
            yield Grant(Right("topic", topic.name, "Describe"), "topics and their partitions")
        if topic.partitions is not None:
            yield Grant(Right("topic", topic.name, "Create"), "missing topics")
    yield Grant(Right("topic", config.outputs.epochs, "Alter"), "partitions for new units")


TRAINER_GROUP: Final = "trainers"
ROLES: Final[Mapping[str, Callable[[Config], Iterable[Grant]]]] = {
    "service": service_grants,
    "person": person_grants,
    "trainer": trainer_grants,
    "notifier": notifier_grants,
    "reader": reader_grants,
    "operator": operator_grants,
    "verifier": verifier_grants,
    "mender": mender_grants,
    "copier": copier_grants,
    "creator": creator_grants,
}


def check_rights(connection: KafkaConnection, config: Config, *, of_transactions: bool = False) -> None:
    """Check that the service has its rights on topics and its group, as far as the cluster tells.

    Its transactional ids show at the first transaction, or by a question of their own. Raises MissingRightError with
    all that are missing.
    """
    from streamer.eventlog.kafka.access.rights import Client, MissingRightError
    from streamer.eventlog.kafka.admin import may_use_transactions, missing_rights

    needed = [grant.right for grant in service_grants(config) if not grant.is_optional]
    missing = missing_rights(connection, [one for one in needed if not one.is_prefix])
    ids = [one for one in needed if one.is_prefix] if of_transactions else []
    missing += [one for one in ids if not may_use_transactions(connection, f"{one.name}0")]  # of the first worker
    if missing:
        raise MissingRightError(Client.of(connection, config.kafka.group), missing)
