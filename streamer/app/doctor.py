"""Examines a configuration on its cluster: each check gives findings, each with its cause and the next step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from streamer.app.finding import DoctorFinding, Level
from streamer.app.initial import sample_of_topics
from streamer.app.provisioning import check_needed, needed_topics
from streamer.app.rights import check_rights
from streamer.app.sample_checks import sample_findings
from streamer.audit.reasons import many
from streamer.config import Config
from streamer.errors import DriftlineError
from streamer.eventlog.kafka.admin import group_status, preflight
from streamer.eventlog.kafka.owners import check_owners
from streamer.references.table import load_references


def examine(config: Config, now_ms: int) -> Iterator[DoctorFinding]:
    """All findings, in the order of the checks. A check that rests on one that failed is left out.

    `now_ms` is the present time in ms since 1970.
    """
    yield from _tried("references", lambda: _references(config))
    if not (yield from _tried("brokers", lambda: _brokers(config))):
        return
    is_allowed = yield from _tried("rights", lambda: _rights(config))
    is_there = yield from _tried("topics", lambda: _topics(config))
    if is_allowed and is_there:
        yield from _tried("outputs", lambda: _outputs(config))
        yield from _tried("service", lambda: _group(config))
    if is_there:
        yield from sample_findings(config, sample_of_topics(config.kafka.connection(), list(config.topics)), now_ms)


def _tried(subject: str, check: Callable[[], str]) -> Generator[DoctorFinding, None, bool]:
    """The finding of a check, which gives a text or raises an error; returns whether it passed."""
    try:
        found = DoctorFinding(Level.OK, subject, check())
    except DriftlineError as error:
        found = DoctorFinding(Level.FAULT, subject, str(error), exit_code=error.exit_code)
    yield found
    return found.level is Level.OK


def _references(config: Config) -> str:
    if (file := config.references.file) is None:
        return "none are configured, so the first values of each column are its baseline"
    found = load_references(file, 2)
    models = {model for model, _, _ in found.by_series}
    return f"{file} has {many(len(found), 'column')} of {many(len(models), 'model')}"


def _brokers(config: Config) -> str:
    connection = config.kafka.connection()
    preflight(connection)
    return f"{', '.join(connection.bootstrap)} answers by {connection.protocol}"


def _rights(config: Config) -> str:
    check_rights(config.kafka.connection(), config)
    return "the service has its rights on topics and on its group"


def _topics(config: Config) -> str:
    needed = list(needed_topics(config))
    check_needed(config.kafka.connection(), needed)
    return f"all {len(needed):,} are there, with the right partitions"


def _outputs(config: Config) -> str:
    epochs, group = config.outputs.epochs, config.kafka.group
    written = [topic.name for topic in needed_topics(config) if topic.name not in (*config.topics, epochs)]
    check_owners(config.kafka.connection(), group, epochs, written)
    return f"no other service than group {group} writes them"


def _group(config: Config) -> str:
    group, members = config.kafka.group, group_status(config.kafka.connection(), config.kafka.group).members
    return f"{many(members, 'worker')} of group {group} run now" if members else f"group {group} does not run now"
