"""Administration of a Kafka cluster: preflight, and topics described, created and deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    AuthorizationError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidTopicError,
    KafkaError,
    NotCoordinatorError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
    for_code,
)
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.consumer.offsets import IsolationLevel

from streamer.errors import BrokerError
from streamer.eventlog.kafka.access.preflight import obstacle
from streamer.eventlog.kafka.access.rights import Client, Right
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import START_MARK
from streamer.eventlog.kafka.log_filter import calm_kafka_logs

PREFLIGHT_TIMEOUT_S = 6.0
REQUEST_TIMEOUT_MS = 10_000
COORDINATOR_TRIES, COORDINATOR_PAUSE_S = 40, 0.25
MOVING = (CoordinatorLoadInProgressError, NotCoordinatorError)  # answers while a broker takes over a group
STARTING = (*MOVING, CoordinatorNotAvailableError)


@dataclass(frozen=True)
class Topic:
    """A topic as the cluster describes it. A topic that is deleted and created again gets another `topic_id`."""

    name: str
    topic_id: UUID
    partitions: int


def preflight(connection: KafkaConnection) -> None:
    """Return when at least one bootstrap server serves this connection.

    Else raises BrokerError within about `PREFLIGHT_TIMEOUT_S`, with the cause for each server: the name does not
    resolve, connection refused, wrong protocol for the port, certificate refused, mechanism not offered, wrong
    password, advertised brokers out of reach.
    """
    calm_kafka_logs()
    found: dict[int, str | None] = {}
    changed = threading.Condition()

    def try_one(index: int) -> None:
        cause = obstacle(connection.addresses[index], connection, _new_sasl)
        with changed:
            found[index] = cause
            changed.notify()

    servers = connection.bootstrap
    # Daemon threads: a name server that does not answer can block one for half a minute.
    for index in range(len(servers)):
        threading.Thread(target=try_one, args=(index,), daemon=True).start()
    with changed:
        changed.wait_for(lambda: None in found.values() or len(found) == len(servers), PREFLIGHT_TIMEOUT_S)
        if None in found.values():
            return
        silence = f"did not answer within {PREFLIGHT_TIMEOUT_S:.0f} s"
        causes = [f"{server} {found.get(index, silence)}" for index, server in enumerate(servers)]
    raise BrokerError(
        f"Kafka at {causes[0]}" if len(causes) == 1 else f"No Kafka broker can be used: {'; '.join(causes)}"
    )


def describe_topics(connection: KafkaConnection, names: Iterable[str]) -> dict[str, Topic]:
    """Those of the topics that exist, by name. Raises BrokerError when the cluster is unreachable or refuses."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    with _admin(connection, f"describe {', '.join(wanted)}") as admin:
        answers = admin.describe_topics(wanted)
        topics = {}
        for answer in answers:
            error = for_code(answer["error_code"])
            if not answer["error_code"]:
                name = answer["name"]
                topics[name] = Topic(name, UUID(str(answer["topic_id"])), len(answer["partitions"]))
            elif error not in (UnknownTopicOrPartitionError, InvalidTopicError):  # an invalid name is no topic
                raise error(answer["name"])
    return topics


def topic_names(connection: KafkaConnection) -> set[str]:
    """The topics that this client may see, without Kafka's internal ones. Raises BrokerError."""
    with _admin(connection, "list its topics") as admin:
        return {name for name in admin.list_topics() if not name.startswith("__")}


def check_topics(connection: KafkaConnection, names: Iterable[str]) -> dict[str, Topic]:
    """All of the topics, by name. Raises BrokerError with every missing one."""
    wanted = sorted(set(names))
    topics = describe_topics(connection, wanted)
    if missing := [name for name in wanted if name not in topics]:
        at = ", ".join(connection.bootstrap)
        what = f"topic {missing[0]} does" if len(missing) == 1 else f"topics {', '.join(missing)} do"
        raise BrokerError(
            f"The {what} not exist at {at}: create what is missing (`driftline topics --config FILE --create` "
            "creates the topics that a service writes), or correct the names in the config"
        )
    return topics


def topic_ids(connection: KafkaConnection, names: Iterable[str]) -> dict[str, UUID]:
    """The ids of all of the topics. Raises BrokerError with every missing one."""
    return {name: topic.topic_id for name, topic in check_topics(connection, names).items()}


def message_bytes_max(connection: KafkaConnection, names: Iterable[str]) -> dict[str, int]:
    """The largest message of each of these topics, as far as we may know: that needs DescribeConfigs on a topic."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name, ["max.message.bytes"]) for name in sorted(set(names))]
    if not wanted:
        return {}
    with suppress(BrokerError), _admin(connection, "say how large messages may be") as admin:
        answers = admin.describe_configs(wanted, config_filter="all").get("topic", {})
        found = {name: settings.get("max.message.bytes", {}).get("value") for name, settings in answers.items()}
        return {name: int(value) for name, value in found.items() if value is not None}
    return {}


def missing_rights(connection: KafkaConnection, wanted: Iterable[Right]) -> list[Right]:
    """Those of the rights on topics and groups that the cluster does not grant this client, as far as it tells.

    A topic that does not exist misses none. Raises BrokerError when the cluster is unreachable.
    """
    rights = sorted(set(wanted))
    topics = sorted({right.name for right in rights if right.resource == "topic"})
    granted: dict[tuple[str, str], Collection[str] | None] = {}
    with _admin(connection, "list the rights of this client") as admin:
        granted |= {("topic", one["name"]): _granted_on_topic(one) for one in admin.describe_topics(topics)}
        for group in sorted({right.name for right in rights if right.resource == "group"}):
            granted["group", group] = _granted_on_group(admin, group)
    known = {resource: operations for resource, operations in granted.items() if operations is not None}
    return [one for one in rights if one.operation not in known.get((one.resource, one.name), {one.operation})]


def may_use_transactions(connection: KafkaConnection, transactional_id: str) -> bool:
    """Whether this client may use a transactional id, as far as the cluster tells. Raises BrokerError."""
    with _admin(connection, f"look at the transactional id {transactional_id}") as admin:
        try:
            _once_coordinated(lambda: admin.describe_transactions([transactional_id]))
        except TransactionalIdAuthorizationFailedError:
            return False
        except (TransactionalIdNotFoundError, UnsupportedVersionError, IncompatibleBrokerVersion):
            return True
    return True


def _granted_on_topic(answer: Mapping[str, Any]) -> Collection[str] | None:
    """The operations on a topic; None where the cluster does not tell."""
    if answer["error_code"]:
        return () if answer["error_code"] == TopicAuthorizationFailedError.errno else None
    return _operations(answer)


def _granted_on_group(admin: Any, group: str) -> Collection[str] | None:
    """The operations on a group; None where the cluster does not tell."""
    try:
        answer = admin.describe_groups([group])[group]
    except GroupAuthorizationFailedError:
        return ()
    except CoordinatorNotAvailableError:  # no group has ever been
        return None
    if answer["error"]:
        return () if GroupAuthorizationFailedError.__name__ in answer["error"] else None
    return _operations(answer)


def _operations(answer: Mapping[str, Any]) -> Collection[str] | None:
    operations = {name.title().replace("_", "") for name in answer.get("authorized_operations") or ()}
    # Whoever gets an answer may describe the resource; an answer that denies that comes from no authorizer.
    return operations if "Describe" in operations else None


def has_committed(connection: KafkaConnection, group_id: str) -> bool:
    """Whether the group has committed offsets of records that it has read. Raises BrokerError."""
    with _admin(connection, f"list the offsets of group {group_id}", group_id=group_id) as admin:
        try:
            offsets = _once_coordinated(lambda: admin.list_group_offsets([group_id]).get(group_id, {}), MOVING)
        except CoordinatorNotAvailableError:  # no group has ever been
            return False
    return any(one.offset >= 0 and one.metadata != START_MARK for one in offsets.values())


def create_topics(
    connection: KafkaConnection,
    partitions: Mapping[str, int],
    *,
    replication_factor: int = -1,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Create topics of so many partitions each, all with the same topic `settings`, and wait until they can be used.

    An existing topic stays as it is. A replication factor of -1 is the cluster's default. Raises BrokerError.
    """
    if not partitions:
        return
    topics = {
        name: {"num_partitions": count, "replication_factor": replication_factor, "configs": dict(settings or {})}
        for name, count in partitions.items()
    }
    with _admin(connection, f"create {', '.join(partitions)}", "Create", partitions) as admin:
        for answer in admin.create_topics(topics, raise_errors=False)["topics"]:
            error = for_code(answer["error_code"])
            if answer["error_code"] and error is not TopicAlreadyExistsError:
                names_topic = issubclass(error, AuthorizationError)
                raise error(answer["name"] if names_topic else f"{answer['name']}: {answer['error_message']}")
        admin.wait_for_topics(list(partitions), REQUEST_TIMEOUT_MS)


def add_partitions(connection: KafkaConnection, name: str, partitions: int) -> None:
    """Raise the number of a topic's partitions to `partitions`. Raises BrokerError."""
    with _admin(connection, f"add partitions to {name}", "Alter", [name]) as admin:
        for answer in admin.create_partitions({name: partitions}, raise_errors=False).results:
            if answer.error_code:
                raise for_code(answer.error_code)(f"{answer.name}: {answer.error_message}")


def delete_topics(connection: KafkaConnection, names: Iterable[str]) -> None:
    """Delete topics; one that does not exist is no error. Raises BrokerError."""
    wanted = sorted(set(names))
    if not wanted:
        return
    with _admin(connection, f"delete {', '.join(wanted)}", "Delete", wanted) as admin:
        for answer in admin.delete_topics(wanted, raise_errors=False)["topics"]:
            error = for_code(answer["error_code"])
            if answer["error_code"] and error is not UnknownTopicOrPartitionError:
                raise error(answer["name"])


def open_transactions(connection: KafkaConnection, names: Iterable[str], producer_id: int) -> list[tuple[str, int]]:
    """Partitions of these topics in which a transaction of this producer is open. Raises BrokerError."""
    with _admin(connection, "list open transactions") as admin:
        answers = admin.describe_topics(sorted(set(names)))
        partitions = [TopicPartition(a["name"], p["partition_index"]) for a in answers for p in a["partitions"]]
        return [
            (tp.topic, tp.partition)
            for tp, state in sorted(admin.describe_producers(partitions).items())
            if any(
                one.producer_id == producer_id and one.current_transaction_start_offset >= 0
                for one in state.active_producers
            )
        ]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A consumer group as its coordinator sees it."""

    state: str  # Kafka's word, such as "Stable", "Empty" or "Dead"
    members: int
    offsets: dict[tuple[str, int], int]  # topic and partition -> committed offset


def group_status(connection: KafkaConnection, group: str) -> GroupStatus:
    """The members and committed offsets of a group; one that never committed is empty. Raises BrokerError."""
    with _admin(connection, f"describe group {group}", group_id=group) as admin:
        found = _once_coordinated(lambda: admin.describe_groups([group])[group])
        offsets = _once_coordinated(lambda: admin.list_group_offsets({group: None})[group])
    committed = {(tp.topic, tp.partition): one.offset for tp, one in offsets.items() if one.offset >= 0}
    return GroupStatus(str(found["group_state"]), len(found["members"]), committed)


def _once_coordinated(ask: Callable[[], Any], passing: tuple[type[KafkaError], ...] = STARTING) -> Any:
    """The answer of a group's coordinator, after errors that pass.

    Before the first group of a cluster, the question makes Kafka find a coordinator.
    """
    for _ in range(COORDINATOR_TRIES):
        with suppress(*passing):
            return ask()
        time.sleep(COORDINATOR_PAUSE_S)
    return ask()


def end_offsets(connection: KafkaConnection, spots: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """The ends of these partitions for readers of committed records. Raises BrokerError."""
    wanted = {TopicPartition(*spot): OffsetSpec.LATEST for spot in spots}
    with _admin(connection, "list the ends of topics") as admin:
        found = admin.list_partition_offsets(wanted, IsolationLevel.READ_COMMITTED) if wanted else {}
    return {(tp.topic, tp.partition): one.offset for tp, one in found.items()}


def newest_times(connection: KafkaConnection, spots: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """The newest record time of these partitions, in ms since 1970; -1 for empty ones. Raises BrokerError."""
    wanted = {TopicPartition(*spot): OffsetSpec.MAX_TIMESTAMP for spot in spots}
    with _admin(connection, "list the newest times of topics") as admin:
        found = admin.list_partition_offsets(wanted) if wanted else {}
    return {(tp.topic, tp.partition): one.timestamp for tp, one in found.items()}


@contextmanager
def _admin(
    connection: KafkaConnection,
    task: str,
    operation: str = "Describe",
    topics: Collection[str] = (),
    group_id: str = "",
) -> Iterator[Any]:
    """An admin client for one task, which is an operation on topics.

    Every error of the client becomes a BrokerError with that task, or a MissingRightError.
    """
    calm_kafka_logs()
    at = ", ".join(connection.bootstrap)
    try:
        with KafkaAdminClient(
            **connection.client_arguments(),
            client_id="driftline-admin",
            bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        ) as admin:
            yield admin
    except KafkaError as error:
        if missing := Client.of(connection, group_id).refusal(error, operation, topics):
            raise missing from error
        raise BrokerError(f"Kafka at {at} could not {task}: {error}") from error


def _new_sasl(connection: KafkaConnection) -> Any:
    arguments = connection.client_arguments()
    return get_sasl_mechanism(connection.sasl_mechanism)(
        **{name: value for name, value in arguments.items() if name.startswith(("sasl", "security"))}
    )
