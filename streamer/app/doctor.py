"""Examines a configuration on its cluster: each check gives findings, each with its cause and the next step.

First the cluster, then samples of the event topics: what the mapping makes of them, and where labels can join.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from detectors.arrays.types import I64
from streamer.app.finding import DoctorFinding, Level
from streamer.app.fit import (
    DecodedSample,
    class_findings,
    column_findings,
    decoded,
    mapping_findings,
    name_findings,
    reference_findings,
    setting_at_fault,
    time_hint,
    zone_finding,
)
from streamer.app.initial import sample_of_topics
from streamer.app.provisioning import check_needed, needed_topics
from streamer.app.recognition import Sample, recognised
from streamer.app.rekey import uncopied
from streamer.app.rights import check_rights
from streamer.app.standing import standing_of
from streamer.audit.reasons import many
from streamer.codecs import CODECS
from streamer.codecs.base import REMEDIES
from streamer.config import Config
from streamer.config.patterns import unmatched_in
from streamer.detect.references.table import load_references
from streamer.errors import DriftlineError, NotUnderstoodError, UsageError
from streamer.eventlog.kafka.admin import preflight
from streamer.eventlog.kafka.owners import check_owners
from streamer.events import PREDICTION_COLUMN, EventKind, Names, time_of


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
        yield from _tried("service", lambda: _service(config))
    if is_there and config.rekey:
        yield from _tried("rekey", lambda: _rekey(config))
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
    check_rights(config.kafka.connection(), config, of_transactions=True)
    return "the service has its rights on topics, on its group and on its transactional ids"


def _topics(config: Config) -> str:
    needed = list(needed_topics(config))
    check_needed(config.kafka.connection(), needed)
    return f"all {len(needed):,} are there, with the right partitions"


def _outputs(config: Config) -> str:
    epochs, group = config.outputs.epochs, config.kafka.group
    written = [topic.name for topic in needed_topics(config) if topic.name not in (*config.topics, epochs)]
    check_owners(config.kafka.connection(), group, epochs, written)
    return f"no other service than group {group} writes them"


def _service(config: Config) -> str:
    found = standing_of(config)
    runs = f"{many(found.workers, 'worker')} of group {found.group} at work" if found.workers else ""
    waiting = many(sum(unit.behind for unit in found.units), "record")
    return f"{runs or f'group {found.group} does not run now'}, {waiting} waiting"


def _rekey(config: Config) -> str:
    waiting = ", ".join(f"{many(n, 'record')} of {topic}" for topic, n in uncopied(config).items())
    return f"group {config.rekey_group} has to copy at most {waiting}"


DEAD_SHARE_MAX: Final = 0.01  # of dead letters, above which the mapping is wrong somewhere
FULL_SHARE: Final = 0.5  # of a limit, above which it is said
SHOWN: Final = 3  # names in a finding
AHEAD_MS: Final = 3_600_000
OLD_MS: Final = 86_400_000


def sample_findings(config: Config, samples: Sequence[Sample], now_ms: int) -> Iterator[DoctorFinding]:
    """What samples of all event topics show. `now_ms` is the present time in ms since 1970."""
    names = Names.fresh(config.limits.models_max, config.limits.columns_max, config.limits.categories_max)
    samples_read = [decoded(config, sample, names) for sample in samples]
    for one in samples_read:
        yield from _mapping(config, one, now_ms)
        yield from mapping_findings(one, config.topics[one.sample.topic].fields)
        if one.events:
            yield from _times(config, one, now_ms)
            yield from zone_finding(config, one)
            yield from name_findings(one, names)
            yield from column_findings(one, names)
            yield from class_findings(config, one, names)
            yield from _partitions(one, names)
    yield from _labels(samples_read)
    yield from _pairs(config, samples_read)
    yield from _settings(config, samples_read, names)
    yield from _room(config, names)


def _mapping(config: Config, one: DecodedSample, now_ms: int) -> Iterator[DoctorFinding]:
    """What the mapping makes of the records, and what would fit better where that is nothing."""
    subject, records, dead = f"topic {one.sample.topic}", len(one.sample), one.dead.total()
    if not records:
        yield DoctorFinding(
            Level.WARNING, subject, "it holds no record, so its mapping can't be tried", "start its producers"
        )
        return
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in one.dead.most_common(SHOWN))
    if not one.events:
        yield DoctorFinding(
            Level.FAULT,
            subject,
            f"none of {many(records, 'record')} is understood ({reasons}): {one.detail}",
            _advice(config, one, now_ms),
            NotUnderstoodError.exit_code,
        )
        return
    columns = len(np.unique(one.column("column")))
    text = (
        f"{many(records, 'record')} give {many(one.events, 'event')} of {many(len(_models(one)), 'model')} with "
        f"{many(columns, 'column')}, and {many(dead, 'dead letter')}"
    )
    if dead > DEAD_SHARE_MAX * records:
        next_step = setting_at_fault(config, one) or REMEDIES.get(one.dead.most_common(1)[0][0], "")
        next_step = next_step or (
            f"`driftline dead-letters {one.sample.topic}` shows the records once the service has run"
        )
        yield DoctorFinding(Level.WARNING, subject, f"{text} ({reasons}): {one.detail}", next_step)
    else:
        yield DoctorFinding(Level.OK, subject, text)


def _advice(config: Config, one: DecodedSample, now_ms: int) -> str:
    """The settings that a look at the records suggests."""
    if stated := setting_at_fault(config, one):
        return stated
    found = recognised(one.sample, now_ms)
    if not found.events or (not found.settings and config.topics[one.sample.topic] == CODECS["json"][0]()):
        cure = REMEDIES.get(one.dead.most_common(1)[0][0], "") if one.dead else ""
        return cure or next(iter(found.unsure), "see docs/formats.md for the mapping of fields")
    given = dict(found.settings)
    fields = ", ".join(f"{name}: {value}" for name, value in given.pop("fields", {}).items())
    parts = [f"{name}: {value}" for name, value in given.items()] + ([f"fields: {{{fields}}}"] if fields else [])
    if not parts:
        return f"without any settings of the topic, {many(found.events, 'event')} are understood: remove them"
    return f"these settings give {many(found.events, 'event')}: {{{', '.join(parts)}}}"


def _models(one: DecodedSample) -> I64:
    return np.unique(one.column("model"))


def _times(config: Config, one: DecodedSample, now_ms: int) -> Iterator[DoctorFinding]:
    times = one.column("event_time_ms")
    oldest, newest = int(times.min()), int(times.max())
    subject = f"times of {one.sample.topic}"
    span = f"from {time_of(oldest):%Y-%m-%d %H:%M} to {time_of(newest):%Y-%m-%d %H:%M} UTC"
    if newest > now_ms + AHEAD_MS:
        yield DoctorFinding(
            Level.WARNING, subject, f"events are dated {span}, ahead of now",
            time_hint(config, one, now_ms) or "check the clocks of the producers, event_time_unit and time_zone",
        )  # fmt: skip
    elif newest < now_ms - OLD_MS:
        yield DoctorFinding(
            Level.WARNING, subject, f"the newest event is more than a day old ({span})",
            time_hint(config, one, now_ms)
            or "check the producers; old times may also be in another unit (event_time_unit)",
        )  # fmt: skip
    else:
        yield DoctorFinding(Level.OK, subject, span)


def _partitions(one: DecodedSample, names: Names) -> Iterator[DoctorFinding]:
    """Models whose predictions are on several partitions: each partition watches its own part of them."""
    places: dict[int, set[int]] = {}
    for batch in one.batches:
        for model in np.unique(batch.model[batch.kind != EventKind.LABEL]).tolist():
            places.setdefault(model, set()).add(batch.partition)
    if not places:
        return
    spread = [(names.models.names[model], len(found)) for model, found in places.items() if len(found) > 1]
    subject = f"keys of {one.sample.topic}"
    if not spread:
        yield DoctorFinding(Level.OK, subject, f"each of {many(len(places), 'model')} is on one partition")
        return
    shown = ", ".join(f"{name} on {n}" for name, n in sorted(spread, key=lambda entry: (-entry[1], entry[0]))[:SHOWN])
    yield DoctorFinding(
        Level.WARNING,
        subject,
        f"{len(spread):,} of {many(len(places), 'model')} are on several partitions ({shown}): each partition watches "
        "its part alone, and drift is seen later",
        "let producers use the model as the key, or copy the topic with `driftline rekey` (docs/keys.md)",
    )


def _labels(decoded: Sequence[DecodedSample]) -> Iterator[DoctorFinding]:
    """Whether labels are in the partition of their prediction, by those whose prediction is in the samples."""
    predictions: dict[int, set[int]] = {}
    labels = list[tuple[int, int]]()
    for batch in (batch for one in decoded for batch in one.batches):
        joins = batch.join_id != 0
        for join_id in batch.join_id[joins & (batch.kind & EventKind.PREDICTION > 0)].tolist():
            predictions.setdefault(join_id, set()).add(batch.partition)
        alone = joins & (batch.kind & EventKind.LABEL > 0) & (batch.kind & EventKind.PREDICTION == 0)
        labels += [(join_id, batch.partition) for join_id in batch.join_id[alone].tolist()]
    if not labels:
        return
    known = [(partition, predictions[join_id]) for join_id, partition in labels if join_id in predictions]
    elsewhere = sum(partition not in places for partition, places in known)
    if elsewhere:
        yield DoctorFinding(
            Level.FAULT,
            "labels",
            f"{elsewhere:,} of {many(len(known), 'label')} are in another partition than their prediction, where they "
            "never join",
            "give both the same key and both topics the same number of partitions, or let the service copy the labels: "
            "labels.repartition (docs/keys.md)",
            NotUnderstoodError.exit_code,
        )
    elif known:
        yield DoctorFinding(
            Level.OK, "labels", f"{len(known):,} of {many(len(labels), 'label')} join a prediction in the samples"
        )
    else:
        yield DoctorFinding(
            Level.WARNING,
            "labels",
            f"none of {many(len(labels), 'label')} has a prediction in the samples",
            "this is usual for labels that come late; else compare prediction_id and model_id of both",
        )


def _pairs(config: Config, decoded: Sequence[DecodedSample]) -> Iterator[DoctorFinding]:
    """Inputs and outputs that come in two records: whether they are joined, and whether their ids meet."""
    halves: dict[bool, set[int]] = {False: set(), True: set()}  # whether a half has a prediction -> join ids
    both, topics = 0, dict[bool, set[str]]({False: set(), True: set()})
    for batch in (batch for one in decoded for batch in one.batches):
        width = np.diff(batch.start)
        has = np.zeros(len(batch), np.bool_)
        has[np.repeat(np.arange(len(batch)), width)[batch.column == PREDICTION_COLUMN]] = True
        joins = (batch.kind & EventKind.PREDICTION > 0) & (batch.join_id != 0)
        both += int(np.count_nonzero(joins & has & (width > 1)))
        for is_output, mine in ((True, joins & has & (width == 1)), (False, joins & ~has & (width > 0))):
            halves[is_output].update(batch.join_id[mine].tolist())
            topics[is_output] |= {batch.topic} if mine.any() else set()
    pairing = any(config.topics[name].pairing is not None for name in (*topics[False], *topics[True]))
    inputs, outputs = halves[False], halves[True]
    if not inputs or not outputs or both:
        return
    met = len(inputs & outputs)
    text = f"{many(len(inputs), 'event')} have inputs alone and {len(outputs):,} a prediction alone"
    if met and not pairing:
        yield DoctorFinding(
            Level.WARNING, "pairs", f"{text}; {met:,} of them share an id, but are not joined",
            f"set pairing: {{}} of {' and '.join(sorted(topics[False] | topics[True]))}",
        )  # fmt: skip
    elif pairing and not met:
        yield DoctorFinding(
            Level.WARNING, "pairs", f"{text}; no two of them share model and prediction_id, so none is joined",
            "map prediction_id and model_id of both to the same id and name",
        )  # fmt: skip


def _settings(config: Config, decoded: Sequence[DecodedSample], names: Names) -> Iterator[DoctorFinding]:
    """Patterns of settings that fit no name, and training data that fit no events."""
    if (file := config.references.file) is not None:
        with suppress(UsageError):  # a finding of its own
            yield from reference_findings(load_references(file, 2), decoded, names)
    for text in unmatched_in(config, [names]):
        yield DoctorFinding(
            Level.WARNING, "patterns", f"{text}, among the names in the samples",
            "correct the pattern; names that come later may also fit it",
        )  # fmt: skip


def _room(config: Config, names: Names) -> Iterator[DoctorFinding]:
    """Tables of `limits` that a sample alone fills to the half."""
    tables = {"models_max": names.models, "columns_max": names.columns, "categories_max": names.categories}
    for table, used in ((name, len(held)) for name, held in tables.items()):
        most = getattr(config.limits, table)
        if used >= FULL_SHARE * most:
            yield DoctorFinding(
                Level.WARNING, "limits", f"the samples alone take {used:,} of {most:,} of limits.{table}",
                f"raise limits.{table}",
            )  # fmt: skip
