"""How the mapping of a topic fits a sample of its records: what it does not reach, and what it makes of their values.

A wrong path, unit, zone or name often leaves no dead letter: the field is absent, and something else is watched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from detectors.arrays.types import I64
from detectors.reference import Reference
from detectors.series.decimals import number_in
from retrain.messages.patterns import first_match
from streamer.app.finding import DoctorFinding, Level
from streamer.app.folds import codec_of
from streamer.app.recognition import STEP, Sample, members_of
from streamer.audit.reasons import many
from streamer.codecs import CODECS
from streamer.codecs.base import Codec, own_rows
from streamer.codecs.document_codec import DocumentCodec, headers_of, key_of
from streamer.codecs.event import Refused, spellings_of
from streamer.codecs.field_paths import Envelope, FieldMap, Path, Root, follow, parse_path
from streamer.codecs.times import lacks_zone, share_of_times
from streamer.config import Config
from streamer.detect.references.table import References
from streamer.events import MISFIT, NUMBER, EventBatch, EventKind, Names

LOOKED_AT: Final = 2_000  # events whose members are looked at
FEW: Final = 20  # events, below which shares mean nothing
MOST: Final = 0.9
SHOWN: Final = 3
HALF_HOUR_MS: Final = 1_800_000
STEADY_MS: Final = 600_000  # by which half of the times may differ from a whole number of half hours


@dataclass(slots=True)
class DecodedSample:
    """A sample of a topic through its mapping, one batch for each stretch of a partition."""

    sample: Sample
    batches: list[EventBatch]
    dead: Counter[str]  # by reason
    detail: str  # of the first dead letter
    envelopes: list[Envelope]  # what paths lead into, of each event; of formats that are documents

    def column(self, name: str) -> I64:
        """One column of all batches."""
        parts = [getattr(batch, name) for batch in self.batches]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def values(self, mapped: FieldMap, field: str) -> list[Any]:
        """What the path of a field leads to, of each event; [] where the mapping has no path for it."""
        path = mapped.paths().get(field)
        return [follow(envelope, path) for envelope in self.envelopes] if path else []

    @property
    def events(self) -> int:
        return sum(map(len, self.batches))


def decoded(config: Config, sample: Sample, names: Names) -> DecodedSample:
    """The sample as the service would read it."""
    codec, found = codec_of(config, sample.topic), DecodedSample(sample, [], Counter(), "", [])
    for records in sample.records:
        batch, dead = codec.decode(records, names)
        found.batches.append(own_rows(records, batch))
        found.dead.update(reason.value for reason in dead.reason)
        if dead.detail and not found.detail:
            found.detail = (
                f"{records.topic}[{records.partition}] at offset {records.offset[dead.index[0]]}: {dead.detail[0]}"
            )
    found.envelopes = list(islice(_envelopes(codec, config.topics[sample.topic].fields, sample), LOOKED_AT))
    return found


def _envelopes(codec: Codec, mapped: FieldMap, sample: Sample) -> Iterator[Envelope]:
    if not isinstance(codec, DocumentCodec):
        return
    rows = mapped.rows_path() if mapped.rows is not None else None
    for records in sample.records:
        for i in range(len(records)):
            try:
                headers, key = headers_of(records, i), key_of(records, mapped.key_steps(), i)
                document = codec.opened(codec.plain(records, i)) if records.value_of(i) is not None else UNSET
                document = codec.events_of(document, headers) if codec.settings.preset else document
            except Refused:
                continue
            inner = follow(Envelope(document), rows) if rows else document
            for one in inner if isinstance(inner, list) else [inner]:
                yield Envelope(document if rows else one, one if rows else UNSET, key, headers)


def mapping_findings(one: DecodedSample, mapped: FieldMap) -> Iterator[DoctorFinding]:
    """Configured paths at which no event of the sample has anything, with the likeliest that does."""
    if len(one.envelopes) < min(FEW, len(one.sample)) or not one.envelopes:
        return
    known = {**members_of("$", [envelope.record for envelope in one.envelopes])}
    known |= members_of("$row", [envelope.row for envelope in one.envelopes])
    for name, path in _configured(mapped):
        if not any(follow(envelope, path) not in (UNSET, None) for envelope in one.envelopes):
            text = str(getattr(mapped, name, None) or (mapped.features or {})[name.partition(".")[2]])  # type: ignore[index]
            yield DoctorFinding(
                Level.WARNING, f"fields of {one.sample.topic}",
                f"none of {many(len(one.envelopes), 'event')} has anything at {name}: {text}",
                _nearest(text, known, path[0]),
            )  # fmt: skip


def _configured(mapped: FieldMap) -> Iterator[tuple[str, Path]]:
    """The paths that a configuration states, by field."""
    canonical = FieldMap()
    for name, path in mapped.paths().items():
        if getattr(mapped, name) != getattr(canonical, name):
            yield name, path
    if isinstance(mapped.features, str) and mapped.features != canonical.features:
        yield "features", parse_path(mapped.features, "features")
    elif mapped.features is not None and not isinstance(mapped.features, str):
        yield from ((f"features.{name}", parse_path(path, name)) for name, path in mapped.features.items())


def _nearest(path: str, known: Collection[str], root: Root) -> str:
    if root is Root.KEY:
        return "the records have no key; name a member of the value, or let the producers set the key"
    if root is Root.HEADERS:
        return "compare the name with the headers of the records, as `kcat -f '%h'` shows them"
    shorter = {one[: at.start()] for one in known for at in STEP.finditer(one) if at.start()} - {"$", "$row"}
    guess = get_close_matches(path, [*known, *shorter], 1, 0.7)
    if guess:
        return f"did you mean {guess[0]}?"
    return f"events have {', '.join(sorted(known)[:8]) or 'no member'}"


def setting_at_fault(config: Config, one: DecodedSample) -> str:
    """The stated setting without which most records are understood; "" if there is none."""
    settings = config.topics[one.sample.topic]
    plain = type(settings)(**({"preset": settings.preset} if settings.preset else {}))
    for stated in fields(settings):
        given, default = getattr(settings, stated.name), getattr(plain, stated.name)
        if given == default or stated.name in ("fields", "format"):
            continue
        try:
            codec = CODECS[settings.format][1](replace(settings, **{stated.name: default}))
            good = sum(len(codec.decode(records, Names.fresh())[0]) for records in one.sample.records)
        except (ValueError, ImportError):
            continue
        if good >= MOST * len(one.sample):
            return (
                f"without {stated.name}: {given}, {many(good, 'event')} are understood; correct or remove the setting"
            )
    return ""


def time_hint(config: Config, one: DecodedSample, now_ms: int) -> str:
    """The setting that would explain times which are hours or ages off; "" if there is none."""
    settings = config.topics[one.sample.topic]
    raw = one.values(settings.fields, "event_time")
    numeric = [
        value for value in raw if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal())
    ]
    if (
        settings.event_time_unit != "auto"
        and share_of_times(numeric, now_ms) >= MOST
        and len(numeric) >= MOST * len(raw)
    ):
        return f"event_time_unit: {settings.event_time_unit} does not fit the numbers; remove it"
    return ""


def zone_finding(config: Config, one: DecodedSample) -> Iterator[DoctorFinding]:
    """Local times without a zone: all are the same number of half hours away from their records."""
    settings = config.topics[one.sample.topic]
    raw = one.values(settings.fields, "event_time")
    if not raw or not all(isinstance(value, str) and lacks_zone(value) for value in raw) or settings.preset:
        return
    record_ms = np.concatenate([
        records.timestamp_ms[np.searchsorted(records.offset, batch.offset)]
        for records, batch in zip(one.sample.records, one.batches, strict=True)
    ])  # fmt: skip
    behind = (record_ms - one.column("event_time_ms"))[record_ms > 0]
    if len(behind) < FEW:
        return
    halves = round(float(np.median(behind)) / HALF_HOUR_MS)
    if abs(halves) >= 2 and np.median(np.abs(behind - halves * HALF_HOUR_MS)) < STEADY_MS:
        yield DoctorFinding(
            Level.WARNING, f"zone of {one.sample.topic}",
            f"event times have no time zone and are {abs(halves) / 2:g} h {'behind' if halves > 0 else 'ahead of'} "
            f"their records, read as {settings.time_zone}",
            "set time_zone of the topic, as in time_zone: America/Vancouver",
        )  # fmt: skip


def name_findings(one: DecodedSample, names: Names) -> Iterator[DoctorFinding]:
    """Names of models and versions that no two events share, and ids that all share."""
    for field, what in (("model", "model_id"), ("version", "model_version")):
        ids = one.column(field)
        ids = ids[ids >= 0]
        if len(ids) >= FEW and len(np.unique(ids)) >= MOST * len(ids):
            table = names.models if field == "model" else names.versions
            shown = ", ".join(table.names[i] for i in ids[:SHOWN].tolist())
            yield DoctorFinding(
                Level.WARNING, f"{field}s of {one.sample.topic}",
                f"nearly every event names another {field} ({shown}), so none gets enough values",
                f"map {what} to what names the {field}, not the event",
            )  # fmt: skip
    joins = one.column("join_id")[one.column("kind") & EventKind.PREDICTION > 0]
    joins = joins[joins != 0]
    if len(joins) >= FEW and len(np.unique(joins)) <= len(np.unique(one.column("model"))):
        yield DoctorFinding(
            Level.WARNING, f"ids of {one.sample.topic}",
            "all predictions of a model have one prediction_id, so no label finds its own",
            "map prediction_id to what differs from prediction to prediction, or to null",
        )  # fmt: skip


def column_findings(one: DecodedSample, names: Names) -> Iterator[DoctorFinding]:
    """Columns of objects, lists, or texts that nearly all differ: no detector can watch them."""
    columns = one.column("column")
    category = one.column("category")
    nested, scattered = list[str](), list[tuple[str, str]]()
    for column in np.unique(columns).tolist():
        held = category[columns == column]
        name = names.columns.names[column]
        if np.count_nonzero(held == MISFIT) > len(held) / 2:
            nested.append(name)
        texts = held[held > 0]
        if len(texts) >= FEW and len(texts) > MOST * len(held) and len(np.unique(texts)) >= MOST * len(texts):
            scattered.append((name, names.categories.names[int(texts[0])]))
    if nested:
        yield DoctorFinding(
            Level.WARNING, f"columns of {one.sample.topic}",
            f"{', '.join(nested[:SHOWN])}: objects or lists, which no detector watches",
            "open objects by fields.depth, and name items of lists in fields.lists, as in "
            f"lists: {{{nested[0]}: 0..15}}",
        )  # fmt: skip
    for name, text in scattered[:SHOWN]:
        yield DoctorFinding(
            Level.WARNING, f"columns of {one.sample.topic}",
            f"{name}: nearly every text is another one, as {text!r:.40}, so its categories mean nothing",
            _spelling_step(name, text),
        )  # fmt: skip


def _spelling_step(name: str, text: str) -> str:
    """What to do about texts that nearly all differ."""
    if fitting := spellings_of(text):
        return f"say how its numbers are written: fields.numbers: {{{name}: {' or '.join(map(repr, fitting))}}}"
    digits = text.strip().strip("%$€£ ").replace(",", "").replace(".", "").replace(" ", "").replace("'", "")
    is_numeral = digits.removeprefix("-").isdecimal()
    return "let producers write numbers as 1234.5" if is_numeral else "leave it out of the features"


def class_findings(config: Config, one: DecodedSample, names: Names) -> Iterator[DoctorFinding]:
    """Labels that are names of classes, whose error is a number by the settings."""
    labels = one.values(config.topics[one.sample.topic].fields, "label")
    texts = [value for value in labels if isinstance(value, str) and number_in(value) is None]
    if not texts or len(texts) <= sum(value not in (UNSET, None) for value in labels) / 2:
        return
    models = {names.models.names[i] for i in np.unique(one.column("model")).tolist()}
    of = {model: first_match(config.labels.errors, model) or config.labels.error for model in sorted(models)}
    wrong = {model: error for model, error in of.items() if error in ("absolute", "squared")}
    if wrong:
        model, error = next(iter(wrong.items()))
        yield DoctorFinding(
            Level.WARNING, f"labels of {one.sample.topic}",
            f"labels are classes, as {texts[0]!r:.40}, but labels.error of {model} is {error}, which needs numbers",
            "set labels.error to zero_one, or labels.errors for single models",
        )  # fmt: skip


def reference_findings(
    references: References, decoded: Sequence[DecodedSample], names: Names
) -> Iterator[DoctorFinding]:
    """Training data of other models, versions, columns or types than the samples have."""
    trained, live = _trained(references), _live(decoded, names)
    if not trained or not live:
        return
    subject, models = "references", {model for model, _, _ in live}
    if not models & {model for model, _ in trained}:
        guess = get_close_matches(min(models), sorted({model for model, _ in trained}), 1, 0.4)
        yield DoctorFinding(
            Level.WARNING, subject,
            f"no model of the samples has training data ({', '.join(sorted(models)[:SHOWN])})",
            f"build them under the names of the models{f'; {guess[0]} is there' if guess else ''}",
        )  # fmt: skip
        return
    for model, version in sorted({(model, version) for model, version, _ in live if model in {m for m, _ in trained}}):
        known = trained.get((model, version)) or trained.get((model, ""))
        if known is None:
            have = ", ".join(sorted(of for name, of in trained if name == model)[:SHOWN])
            yield DoctorFinding(
                Level.WARNING, subject, f"version {version or '(none)'} of {model} has no training data; {have} has",
                "build them for this version, or without a version for all",
            )  # fmt: skip
            continue
        yield from _of_columns(
            model, known, {c: kind for (m, v, c), kind in live.items() if (m, v) == (model, version)}
        )


def _of_columns(model: str, trained: dict[str, bool], live: dict[str, bool]) -> Iterator[DoctorFinding]:
    missing = sorted(trained.keys() - live.keys() - {"prediction", "error"})
    for name in missing[:SHOWN]:
        guess = get_close_matches(name, sorted(live.keys() - trained.keys()), 1, 0.5)
        yield DoctorFinding(
            Level.WARNING, "references", f"{model}: training data have the column {name}, which no event has",
            f"did you mean {guess[0]}? Name the columns of both alike" if guess else "map it, or leave it out of both",
        )  # fmt: skip
    for name in sorted(name for name, is_number in trained.items() if live.get(name, is_number) != is_number)[:SHOWN]:
        trained_as, live_as = ("numbers", "texts") if trained[name] else ("categories", "numbers")
        yield DoctorFinding(
            Level.WARNING, "references", f"{model}: {name} holds {trained_as} in training data and {live_as} in events",
            f"build the reference with --type {name}={'text' if trained[name] else 'number'}, or mend the producer",
        )  # fmt: skip


def _trained(references: References) -> dict[tuple[str, str], dict[str, bool]]:
    """Model and version -> their columns in training data, and whether these are numbers."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for (model, version, column), one in references.by_series.items():
        found.setdefault((model, version), {})[column] = isinstance(one, Reference)
    return found


def _live(decoded: Sequence[DecodedSample], names: Names) -> dict[tuple[str, str, str], bool]:
    """Model, version and column of the samples, and whether most of its values are numbers, or texts that read so."""
    counts: Counter[tuple[int, int, int, bool]] = Counter()
    for batch in (batch for one in decoded for batch in one.batches):
        of = np.repeat(np.arange(len(batch)), np.diff(batch.start))
        is_number = ((batch.category == NUMBER) | (batch.category < MISFIT)) & np.isfinite(batch.number)
        known = is_number | (batch.category >= 0)
        rows = zip(batch.model[of][known].tolist(), batch.version[of][known].tolist(), batch.column[known].tolist(),
                   is_number[known].tolist(), strict=True)  # fmt: skip
        counts.update(rows)
    found: dict[tuple[str, str, str], bool] = {}
    for (model, version, column, is_number), n in counts.items():
        key = (
            names.models.names[model],
            names.versions.names[version] if version >= 0 else "",
            names.columns.names[column],
        )
        found[key] = n >= counts[model, version, column, not is_number] if is_number else found.get(key, False)
    return found
