"""Users and ACLs of a test broker, by a client of its plain listener, which may do everything."""

from __future__ import annotations

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from streamer.eventlog.kafka.access.rights import Right
from streamer.testing.kafka import Broker

OPERATIONS = {one.name.replace("_", ""): one for one in ACLOperation}


def add_user(broker: Broker, name: str) -> None:
    """A user with the password of the broker's own user."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, broker.mechanism, broker.password)])
    admin.close()


def grant_only(broker: Broker, user: str, rights: Iterable[Right]) -> None:
    """Let the user have exactly these rights."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    theirs = ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, everything)
    admin.delete_acls([theirs])
    made = admin.create_acls([_acl(user, right) for right in set(rights)])
    assert not made["failed"]
    admin.close()


def _acl(user: str, right: Right) -> ACL:
    kind = ResourceType[right.resource.replace("-", "_").upper()]
    pattern = ACLResourcePatternType.PREFIXED if right.is_prefix else ACLResourcePatternType.LITERAL
    resource = ResourcePattern(kind, right.name or "kafka-cluster", pattern)
    return ACL(f"User:{user}", "*", OPERATIONS[right.operation.upper()], ACLPermissionType.ALLOW, resource)
