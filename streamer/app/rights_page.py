"""The page `docs/rights.md`, from the table of `rights.py`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streamer.app.rights import ROLES, Grant
from streamer.config import Config

WIDTH: Final = 116
GLUE: Final = "\0"  # holds an option and its value on one line
EXAMPLE: Final = '{"topics": {"bus.predictions": {"format": "json"}}}'
COPY_EXAMPLE: Final = '{"topics": {"driftline.events": {"format": "json"}}, "rekey": {"driftline.events": ["scores"]}}'
_HEAD: Final = """\
# Rights on a Kafka cluster with ACLs

Generated from the table in the code by `make docs`. `tests/e2e/test_rights.py` grants exactly these rights on a broker
with an authorizer: they suffice, and each required one is needed.

A missing right ends the service, or the command, with exit code 3. The message names the right and the command that
grants it. The service checks its rights on topics and on its group before it reads anything. Write on its transactional
ids shows at its first transaction, right after that, or in `driftline doctor`. A right that is taken from a running
service shows at the next call that needs it.

The names are those of the default configuration with one event topic, `bus.predictions`; for `rekey`, with the topic
`driftline.events`, copied from `scores`. `outputs.prefix` and
`kafka.group` change them ([two services](two-services.md)). A transactional id is the group, a hyphen and the worker's
number.

| role | who |
|---|---|
"""
_AFTER: Final = """\

- Read or Write on a topic implies Describe, and so does Read on a group.
- The service runs without the optional rights. Without Alter, it waits for somebody who adds partitions to the epochs
  topic ([guarantees](guarantees.md#what-each-failure-does)). Without DescribeConfigs, it learns the largest record of a
  topic from refusals.
- `ui` shows no runs of trainers where it may not read the control topic, and no intervals of columns where it may not
  read the profiles. It shows no lag without the rights of the operator, and no dead letters where it may not read
  their topics.
- `status` states a bound of the records that wait where it may not read them.
- `check-config`, `columns`, `reference` and `replay` need no rights: they read files and checkpoints.
- Brokers before Kafka 2.8 also ask for IdempotentWrite on the cluster of everyone who writes.
- Read on outputs that the service does not fold has two uses. It finds the
  [owner of the topic](two-services.md), and
  [transactions that brokers left open](guarantees.md#what-each-failure-does).

## Commands that grant them

`kafka-acls.sh` comes with Kafka. Replace the principals by yours.
"""
WHO: Final = {
    "service": "`driftline run`",
    "person": "who decides: `approve`, `reject`, `promote`, `silence`, `unsilence`, `ui`, and what a reader runs",
    "trainer": "a training pipeline or launcher, with a group of its own (`trainers`); it runs `result`",
    "notifier": "`driftline notify`",
    "reader": "who looks: `models`, `alerts`, `incidents`, `explain`, `history`, `requests`, `silences`, "
    "`ui --read-only`",
    "operator": "who looks after the service: `status`, and what a reader runs",
    "verifier": "who folds the log again: `verify`, `record`",
    "mender": "who mends a mapping: `dead-letters`, with `--replay`",
    "copier": "`driftline rekey`, which copies topics with other keys",
    "creator": "who sets up: `topics --create`",
}


def page() -> str:
    """`docs/rights.md`."""
    config, copying = Config.model_validate_json(EXAMPLE), Config.model_validate_json(COPY_EXAMPLE)
    grants = {role: list(table(copying if role == "copier" else config)) for role, table in ROLES.items()}
    lines = [f"| {role} | {WHO[role]} |" for role in grants]
    lines += ["", "| role | kind | names | required | optional | purpose |", "|---|---|---|---|---|---|"]
    for role, table in grants.items():
        lines += _rows(role, table)
    parts = [_HEAD, "\n".join(lines), "\n", _AFTER]
    for role, table in grants.items():
        parts += [f"\n{role.title()}:\n\n```bash\n", *(f"{command}\n" for command in _commands(role, table)), "```\n"]
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Row:
    """Resources of one kind on which a role has the same operations."""

    resource: str
    is_prefix: bool
    required: tuple[str, ...]
    optional: tuple[str, ...]


def _grouped(grants: Sequence[Grant]) -> dict[_Row, list[Grant]]:
    """The grants of each row, in order of their first resources."""
    by_resource: dict[tuple[str, str], list[Grant]] = {}
    for grant in grants:
        by_resource.setdefault((grant.right.resource, grant.right.name), []).append(grant)
    rows: dict[_Row, list[Grant]] = {}
    for (resource, _), of_it in by_resource.items():
        required, optional = (
            tuple(sorted(g.right.operation for g in of_it if g.is_optional is o)) for o in (False, True)
        )
        rows.setdefault(_Row(resource, of_it[0].right.is_prefix, required, optional), []).extend(of_it)
    return rows


def _names(grants: Sequence[Grant]) -> list[str]:
    return list(dict.fromkeys(grant.right.name for grant in grants))


def _rows(role: str, grants: Sequence[Grant]) -> Iterator[str]:
    for row, of_it in _grouped(grants).items():
        kind = f"{row.resource.replace('-', ' ')}{' with the prefix' if row.is_prefix else ''}"
        names = ", ".join(f"`{name}`" for name in _names(of_it))
        purposes = "; ".join(dict.fromkeys(grant.purpose for grant in of_it))
        yield f"| {role} | {kind} | {names} | {', '.join(row.required)} | {', '.join(row.optional)} | {purposes} |"


def _commands(role: str, grants: Sequence[Grant]) -> Iterator[str]:
    """One command for each row, with the required operations."""
    for row, of_it in _grouped(grants).items():
        words = [
            f"kafka-acls.sh --bootstrap-server localhost:9092 --add --allow-principal User:{role}",
            *(f"--operation{GLUE}{operation}" for operation in row.required),
            *(f"--{row.resource}{GLUE}{name}" for name in _names(of_it)),
            *([f"--resource-pattern-type{GLUE}prefixed"] if row.is_prefix else []),
        ]
        lines = textwrap.wrap(" ".join(words), WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        yield " \\\n".join(lines).replace(GLUE, " ")
