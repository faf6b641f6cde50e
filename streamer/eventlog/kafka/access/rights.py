"""Rights on a cluster with an authorizer: the missing one by its name, and the command that grants it.

Kafka answers a missing right with an error code for its kind of resource. The operation and the name follow from the
call, so the caller states them.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from streamer.errors import BrokerError
from streamer.eventlog.kafka.connection import KafkaConnection

PAGE: Final = "docs/rights.md"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One operation on one resource, in the words of `kafka-acls.sh`; `is_prefix`: on all that begin with the name."""

    resource: Literal["topic", "group", "transactional-id", "cluster"]
    name: str  # "" for the cluster
    operation: str  # Read, Write, Describe, ...
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource.replace('-', ' ')} {self.name}".removesuffix(" ")

    @property
    def arguments(self) -> str:
        """The arguments of `kafka-acls.sh` that name it."""
        pattern = " --resource-pattern-type prefixed" if self.is_prefix else ""
        return f"--operation {self.operation} --{self.resource} {shlex.quote(self.name)}".removesuffix(" ''") + pattern


class MissingRightError(BrokerError):
    """The cluster's authorizer refuses the client, until somebody grants the right."""

    def __init__(self, client: Client, missing: Sequence[Right], *, any_of: bool = False) -> None:
        """`any_of`: at least one of these is missing, and the client does not report which."""
        several = len(missing) > 1 and not any_of
        command = f"kafka-acls.sh --bootstrap-server {client.where.split(', ')[0]} --add --allow-principal"
        super().__init__(
            f"Kafka at {client.where} refuses {client.principal or 'this client'}: "
            f"{(' or ' if any_of else ' and ').join(map(str, missing))} {'are' if several else 'is'} not granted. "
            f"Grant {'them, beginning with' if several else 'it'}: "
            f"`{command} {shlex.quote(client.principal or 'User:NAME')} {missing[0].arguments}`. "
            f"{PAGE} lists the rights of each role"
        )
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class Client:
    """The client that a cluster may refuse: its addresses, and its names there."""

    where: str
    principal: str = ""  # "" where only the broker knows it
    group_id: str = ""
    transactional_id: str = ""

    @classmethod
    def of(cls, connection: KafkaConnection, group_id: str = "", transactional_id: str = "") -> Client:
        """The client of a connection."""
        return cls(", ".join(connection.bootstrap), connection.principal, group_id, transactional_id)

    def refusal(
        self, error: BaseException | None, operation: str, topics: Collection[str] = ()
    ) -> MissingRightError | None:
        """The missing right behind an error of the client; None for an error of another kind.

        `operation` is the one on topics. `topics` stand in where the error names none.
        """
        found = next(_authorization_errors(error), None)
        match found:
            case None:
                return None
            case TopicAuthorizationFailedError():
                named = sorted(_topics_of(found))
                rights = [Right("topic", name, operation) for name in named or sorted(set(topics)) or ["(unnamed)"]]
                return MissingRightError(self, rights, any_of=not named)
            case GroupAuthorizationFailedError():
                right = Right("group", self.group_id, "Read")
            case TransactionalIdAuthorizationFailedError():
                right = Right("transactional-id", self.transactional_id, "Write")
            case _:
                right = Right("cluster", "", "IdempotentWrite")
        return MissingRightError(self, [right])


def _authorization_errors(error: BaseException | None, depth: int = 5) -> Iterator[AuthorizationError]:
    """Those within an error: the client wraps them, as an argument, as a cause, or by their name in a text."""
    if isinstance(error, AuthorizationError):
        yield error
    elif isinstance(error, BaseException) and depth:
        for inner in (*error.args, error.__cause__, error.__context__):
            if isinstance(inner, BaseException):
                yield from _authorization_errors(inner, depth - 1)
        yield from (kind() for kind in _KINDS if isinstance(error, KafkaError) and kind.__name__ in str(error))


_KINDS: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    ClusterAuthorizationFailedError,
)


def _topics_of(error: AuthorizationError) -> set[str]:
    """The names in an error's arguments: a text, or a collection of them."""
    names = (name for one in error.args for name in ([one] if isinstance(one, str) else one))
    return {name for name in names if " " not in name}  # else it is a sentence
