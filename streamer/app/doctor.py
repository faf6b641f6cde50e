"""Examines a configuration on its cluster: each check gives findings, each with its cause and the next step.

First the cluster, then samples of the event topics: what the mapping makes of them, and where labels can join.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.arrays.types import I64
from streamer.app.finding import DoctorFinding, Level
from streamer.app.folds import codec_of
from streamer.app.initial import sample_of_topics
from streamer.app.provisioning import check_needed, needed_topics
from streamer.app.recognition import Recognised, Sample, recognised
from streamer.app.rekey import uncopied
from streamer.app.rights import check_rights
from streamer.app.standing import standing_of
from streamer.audit.reasons import many
from streamer.codecs.base import own_rows
from streamer.config import Config
from streamer.detect.references.table import load_references
from streamer.errors import DriftlineError, NotUnderstoodError
from streamer.eventlog.kafka.admin import preflight
from streamer.eventlog.kafka.owners import check_owners
from streamer.events import EventBatch, EventKind, Names, time_of


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


@dataclass(slots=True)
class DecodedSample:
    """A sample of a topic through its mapping, one batch for each stretch of a partition."""

    sample: Sample
    batches: list[EventBatch]
    dead: Counter[str]  # by reason
    detail: str  # of the first dead letter

    def column(self, name: str) -> I64:
        """One column of all batches."""
        parts = [getattr(batch, name) for batch in self.batches]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    @property
    def events(self) -> int:
        return sum(map(len, self.batches))


def sample_findings(config: Config, samples: Sequence[Sample], now_ms: int) -> Iterator[DoctorFinding]:
    """What samples of all event topics show. `now_ms` is the present time in ms since 1970."""
    names = Names.fresh(config.limits.models_max, config.limits.columns_max, config.limits.categories_max)
    decoded = [_decoded(config, sample, names) for sample in samples]
    for one in decoded:
        yield from _mapping(one, now_ms)
        if one.events:
            yield from _times(one, now_ms)
            yield from _partitions(one, names)
    yield from _labels(decoded)
    yield from _room(config, names)


def _decoded(config: Config, sample: Sample, names: Names) -> DecodedSample:
    codec, found = codec_of(config, sample.topic), DecodedSample(sample, [], Counter(), "")
    for records in sample.records:
        batch, dead = codec.decode(records, names)
        found.batches.append(own_rows(records, batch))
        found.dead.update(reason.value for reason in dead.reason)
        if dead.detail and not found.detail:
            found.detail = (
                f"{records.topic}[{records.partition}] at offset {records.offset[dead.index[0]]}: {dead.detail[0]}"
            )
    return found


def _mapping(one: DecodedSample, now_ms: int) -> Iterator[DoctorFinding]:
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
            _advice(recognised(one.sample, now_ms)),
            NotUnderstoodError.exit_code,
        )
        return
    columns = len(np.unique(one.column("column")))
    text = (
        f"{many(records, 'record')} give {many(one.events, 'event')} of {many(len(_models(one)), 'model')} with "
        f"{many(columns, 'column')}, and {many(dead, 'dead letter')}"
    )
    if dead > DEAD_SHARE_MAX * records:
        next_step = f"`driftline dead-letters {one.sample.topic}` shows the records once the service has run"
        yield DoctorFinding(Level.WARNING, subject, f"{text} ({reasons}): {one.detail}", next_step)
    else:
        yield DoctorFinding(Level.OK, subject, text)


def _advice(found: Recognised) -> str:
    """The settings that a look at the records suggests."""
    if not found.events or not found.settings:
        return next(iter(found.unsure), "see docs/formats.md for the mapping of fields")
    given = dict(found.settings)
    fields = ", ".join(f"{name}: {value}" for name, value in given.pop("fields", {}).items())
    parts = [f"{name}: {value}" for name, value in given.items()] + ([f"fields: {{{fields}}}"] if fields else [])
    return f"these settings give {many(found.events, 'event')}: {{{', '.join(parts)}}}"


def _models(one: DecodedSample) -> I64:
    return np.unique(one.column("model"))


def _times(one: DecodedSample, now_ms: int) -> Iterator[DoctorFinding]:
    times = one.column("event_time_ms")
    oldest, newest = int(times.min()), int(times.max())
    subject = f"times of {one.sample.topic}"
    span = f"from {time_of(oldest):%Y-%m-%d %H:%M} to {time_of(newest):%Y-%m-%d %H:%M} UTC"
    if newest > now_ms + AHEAD_MS:
        yield DoctorFinding(
            Level.WARNING, subject, f"events are dated {span}, ahead of now",
            "check the clocks of the producers, event_time_unit and time_zone",
        )  # fmt: skip
    elif newest < now_ms - OLD_MS:
        yield DoctorFinding(
            Level.WARNING, subject, f"the newest event is more than a day old ({span})",
            "check the producers; old times may also be in another unit (event_time_unit)",
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


def _room(config: Config, names: Names) -> Iterator[DoctorFinding]:
    """Tables of `limits` that a sample alone fills to the half."""
    for table, used in (("models_max", len(names.models)), ("columns_max", len(names.columns))):
        most = getattr(config.limits, table)
        if used >= FULL_SHARE * most:
            yield DoctorFinding(
                Level.WARNING, "limits", f"the samples alone take {used:,} of {most:,} of limits.{table}",
                f"raise limits.{table}",
            )  # fmt: skip
