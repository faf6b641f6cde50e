"""A first configuration from a sample: reads topics or files, recognises them, and writes it with what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np

from detectors.series.decimals import number_in
from streamer.app.fit import column_findings, decoded, zone_finding
from streamer.app.offline.recorded_tables import open_recordings
from streamer.app.recognition import NAMES, Recognised, Sample, try_out
from streamer.audit.reasons import many
from streamer.codecs.base import Reason
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.times import END_MS, share_of_times
from streamer.config import Config
from streamer.config.models import topic_settings
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.events import EventKind, Names

SAMPLED: Final = 1_000  # records of a topic
SAMPLED_BYTES: Final = 1 << 20  # of their values: feeds and batches hold many events each ...
SAMPLED_MIN: Final = 50  # ... and so few records are enough, however large they are
COLUMNS_SHOWN: Final = 12
MET_MIN: Final = 0.05  # least share of ids that two topics have in common
DISTINCT: Final = 0.9  # share of different values among those that can be ids


def sample_of_files(paths: Sequence[str], topic: str | None) -> list[Sample]:
    """The first records of each topic in recordings and tables. Raises `UsageError` for a file that can't be read."""
    held: dict[str, list[Records]] = {}
    # Rows of tables as they are: without a mapping, their columns would stand below `features`.
    as_they_are = topic_settings("json")(fields=FieldMap(features="$"))
    names = [topic or Path(path).name.lstrip(".").partition(".")[0] for path in paths]
    config = Config().model_copy(update={"topics": dict.fromkeys(names, as_they_are)})
    with ExitStack() as opened:
        for file in map(opened.enter_context, open_recordings(list(paths), topic, config)[0]):
            full: set[str] = set()
            for chunk in file.chunks():
                wanted = np.array([topic not in full for topic, _ in chunk.groups], np.bool_)[chunk.group]
                for records in chunk.take(wanted).split():
                    _add(held, records)
                    full |= {records.topic} if sum(map(len, held[records.topic])) >= SAMPLED else set()
                if len(full) == file.topics_max:  # other topics may begin where one ends
                    break
    return [Sample(name, bounded(parts)) for name, parts in held.items()]


def bounded(parts: Sequence[Records], *, newest: bool = False) -> list[Records]:
    """The first or the newest records of each partition, with about `SAMPLED_BYTES` at most in all."""
    size = sum(int((one.value[:, 1] - one.value[:, 0]).sum()) for one in parts)
    share = max(SAMPLED_BYTES / max(size, 1), SAMPLED_MIN / max(sum(map(len, parts)), 1))
    if share >= 1:
        return list(parts)
    room: Counter[int] = Counter()
    for one in parts:
        room[one.partition] += len(one)
    room = Counter({partition: ceil(share * n) for partition, n in room.items()})
    kept = []
    for one in reversed(parts) if newest else parts:
        k = min(room[one.partition], len(one))
        room[one.partition] -= k
        kept.append(one.part(len(one) - k, len(one)) if newest else one.part(0, k))
    return [one for one in (reversed(kept) if newest else kept) if len(one)]


def aligned(samples: Sequence[Sample], found: Sequence[Recognised]) -> None:
    """Let topics fit each other: labels and features get the ids and the models of the predictions they belong to."""
    both = list(zip(samples, found, strict=True))
    scored = [(sample, one) for sample, one in both if "prediction" in one.columns]
    for sample, one in both:
        is_label = (
            one.kinds.total() and sum(n for kind, n in one.kinds.items() if kind & EventKind.LABEL) > one.events / 2
        )
        others = [entry for entry in scored if entry[1] is not one]
        if "prediction" in one.columns or not one.events:
            continue
        one.role = "labels" if is_label else "features"
        if "preset" in one.settings:
            continue
        if is_label and one.columns and others:  # what stands beside a label is about the label
            _fields_of(one)["features"] = None
        if others and one.members:
            is_half = _share_ids(sample, one, others)
            _share_models(sample, one, [model for _, other in others for model in other.models], is_half)
            try_out(sample, one)


def constants(found: Sequence[Recognised]) -> dict[str, list[Recognised]]:
    """Models that no record names, each with the topics whose events are taken for its own."""
    named: dict[str, list[Recognised]] = {}
    for one in found:
        model = one.settings.get("fields", {}).get("model_id")
        if isinstance(model, str) and model.startswith("="):
            named.setdefault(model[1:], []).append(one)
    return named


def _fields_of(one: Recognised) -> dict[str, Any]:
    fields: dict[str, Any] = one.settings.setdefault("fields", {})
    return fields


def _values_at(sample: Sample, one: Recognised, path: str) -> list[str]:
    return list(filter(None, sample.keys())) if path == "$key" else list(map(str, one.members.get(path, ())))


def _may_be_ids(one: Recognised) -> list[str]:
    """The paths whose values can be ids, the likeliest first: texts and whole numbers that are no times."""
    likeliest = _fields_of(one).get("prediction_id", "$.prediction_id")
    found = {path: {*map(type, values)} for path, values in one.members.items()}
    paths = [
        path
        for path, kinds in found.items()
        if kinds <= {str, int} and share_of_times(one.members[path], END_MS) < DISTINCT
    ]
    return sorted((*paths, "$key"), key=lambda path: path != likeliest)


def _share_ids(sample: Sample, one: Recognised, scored: Sequence[tuple[Sample, Recognised]]) -> bool:
    """Set the paths of ids by which events and predictions meet; whether the events are halves of predictions."""
    mine = {path: _values_at(sample, one, path) for path in _may_be_ids(one)}
    best, most = None, MET_MIN
    for other_sample, other in scored:
        for there in _may_be_ids(other):
            known = _values_at(other_sample, other, there)
            if len(set(known)) < DISTINCT * max(len(known), 1):
                continue
            for here, values in mine.items():
                met = len(set(known) & set(values)) / max(min(len(set(known)), len(set(values))), 1)
                if len(values) >= len(sample) / 2 and met > most + 0.05:  # by a later path only if it is clearly better
                    best, most = (here, there, other_sample, other), met
    if best is None:
        if one.role == "labels":
            one.unsure.append("prediction_id: no label of the sample has the id of a prediction there")
        return False
    here, there, other_sample, other = best
    _set(one, "prediction_id", here, f"ids of predictions of {other.topic}")
    if _fields_of(other).get("prediction_id", "$.prediction_id") != there:
        _set(other, "prediction_id", there, f"ids in {one.topic}")
        try_out(other_sample, other)
    if is_half := one.role == "features":
        one.settings["pairing"] = other.settings["pairing"] = {}
        one.seen["pairing"] = other.seen["pairing"] = "features and predictions of one id are in two records"
    return is_half


def _share_models(sample: Sample, one: Recognised, models: Sequence[str], is_half: bool) -> None:
    """Set where events of a topic name a model of the predictions, the only one, or a source of features."""
    path = _fields_of(one).get("model_id", "$.model_id")
    for there in dict.fromkeys((path, *one.members, "$key")):
        values = _values_at(sample, one, there)
        if len(values) >= len(sample) / 2 and set(values) <= set(models):
            _set(one, "model_id", there, "models of the predictions")
            return
    if one.role == "features" and not is_half:
        _set(one, "model_id", None, "these features are no model's own")
        _set(one, "source", f"={one.topic}", "a source of features, whose models `sources` names")
    elif len(set(models)) == 1:
        _set(one, "model_id", f"={models[0]}", "the only model of the predictions")
    else:
        one.unsure.append("model_id: nothing names the model of the predictions, so they meet none")


def _set(one: Recognised, name: str, path: str | None, why: str) -> None:
    """Set a field, unless the default says the same."""
    fields = _fields_of(one)
    fields.pop(name, None)
    if path != getattr(FieldMap(), name):
        fields[name] = path
    one.seen[name] = why
    one.unsure = [text for text in one.unsure if not text.startswith(f"{name}:")]


def sample_of_topics(connection: KafkaConnection, topics: Sequence[str]) -> list[Sample]:
    """The newest records of each topic, about as many of each partition.

    Raises `BrokerError` when Kafka can't be reached or lacks a topic.
    """
    from streamer.eventlog.kafka.admin import check_topics, end_offsets, preflight
    from streamer.eventlog.kafka.reader import read_to_end

    preflight(connection)
    found = check_topics(connection, topics)
    spots = [(topic, partition) for topic in topics for partition in range(found[topic].partitions)]
    each = {spot: SAMPLED // found[spot[0]].partitions + 1 for spot in spots}
    starts = {spot: max(end - each[spot], 0) for spot, end in end_offsets(connection, spots).items()}
    held: dict[str, list[Records]] = {topic: [] for topic in topics}
    for records in read_to_end(connection, topics, starts):
        _add(held, records)
    return [Sample(topic, bounded(parts, newest=True)) for topic, parts in held.items()]


def _add(held: dict[str, list[Records]], records: Records) -> None:
    parts = held.setdefault(records.topic, [])
    room = SAMPLED - sum(map(len, parts))
    if room > 0 and len(records):
        parts.append(records.part(0, min(room, len(records))))


def configuration(bootstrap: str, found: Sequence[Recognised]) -> str:
    """The configuration as commented YAML."""
    lines = [
        "# Written by `driftline init` from a sample of the records. Each comment says what was seen.",
        "# `driftline check-config` checks it, `driftline doctor` tries it on the cluster.",
        f"kafka: {{bootstrap: {_scalar(bootstrap)}}}",
        "topics:",
    ]
    for one in found:
        lines += _topic(one)
    sources = [one.topic for one in found if "source" in one.settings.get("fields", {})]
    if sources:
        lines += [
            "sources:  # UNSURE: which models use them; * is all",
            *(f"  {_scalar(one)}: {{models: ['*']}}" for one in sources),
        ]
    if any(map(_has_classes, found)):
        lines.append("labels: {error: zero_one}  # the labels are classes")
    return "\n".join(lines) + "\n"


def _has_classes(one: Recognised) -> bool:
    """Whether most labels are names."""
    values = one.members.get(one.settings.get("fields", {}).get("label", "$.label"), ())
    return sum(isinstance(value, str) and number_in(value) is None for value in values) > len(values) / 2


def _topic(one: Recognised) -> Iterator[str]:
    given = {name: value for name, value in one.settings.items() if name != "fields" or value}
    yield f"  {_scalar(one.topic)}:{f'  # {one.role}' if given else f' {{}}  # {one.role}, canonical events'}"
    for text in _doubts(one):
        yield f"    # UNSURE: {text}"
    for name, value in given.items():
        if name != "fields":
            yield f"    {name}: {_scalar(value)}{_comment(one.seen.get(name))}"
    fields = one.settings.get("fields")
    if fields:
        yield "    fields:"
        for name, value in fields.items():
            if isinstance(value, dict):
                yield f"      {name}:"
                yield from (f"        {_scalar(column)}: {_scalar(path)}" for column, path in value.items())
            else:
                yield f"      {name}: {_scalar(value)}{_comment(one.seen.get(name))}"


def _doubts(one: Recognised) -> list[str]:
    """What the settings are unsure of; also that most records look as if the clocks of producers were wrong."""
    ahead = one.dead_letters[Reason.TIME_TOO_FAR_AHEAD.value]
    if ahead <= one.records / 2:
        return one.unsure
    return [
        *one.unsure,
        f"{ahead:,} of {one.records:,} records hold times later than that of the record by more than skew_max_s; "
        "correct the clocks of producers, or allow it, as in skew_max_s: 1d",
    ]


def _comment(text: str | None) -> str:
    return f"  # {text}" if text else ""


def _scalar(value: Any) -> str:
    """A text as YAML: plain where that is the same text, else in double quotes as JSON."""
    import json
    import re

    if value is None or value == {}:
        return "null" if value is None else "{}"
    text = str(value)
    return text if re.fullmatch(r"\$|(?:\$\.?)?[A-Za-z_][\w.:/-]*", text) else json.dumps(text, ensure_ascii=False)


def report(one: Recognised) -> Iterator[str]:
    """What was recognised of a topic, and what its settings make of the sample."""
    yield f"{one.topic}: {one.records:,} records of {one.role}, format {one.settings.get('format', 'json')}"
    if one.records == 0:
        yield "  there are no records to look at; the settings are the defaults"
        return
    for name in ("rows", *NAMES, "source"):
        if name in one.seen:
            path = one.settings.get("fields", {}).get(name, f"$.{name}")
            yield f"  {name:13} {_scalar(path):24} {one.seen[name]}"
    dead = ", ".join(f"{n:,} {reason}" for reason, n in one.dead_letters.most_common())
    yield (
        f"  so {many(one.events, 'event')} of {many(len(one.models), 'model')} with {many(len(one.columns), 'column')}"
        f"{_some(one.columns)}, {many(one.dead_letters.total(), 'dead letter')}{f' ({dead})' if dead else ''}"
    )
    for text in _doubts(one):
        yield f"  unsure: {text}"


def concerns(config: Config, samples: Sequence[Sample]) -> Iterator[str]:
    """What `driftline doctor` would say of values and times of the samples under this configuration."""
    names = Names.fresh()
    for one in (decoded(config, sample, names) for sample in samples):
        for found in (*zone_finding(config, one), *column_findings(one, names)):
            yield f"{found.subject}: {found.text}; {found.next_step}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - COLUMNS_SHOWN
    text = ", ".join(names[:COLUMNS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f" ({text})" if text else ""
