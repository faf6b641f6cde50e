"""Recognises what the records of a topic hold: their format, and which of their members are the fields of events.

A guess rests on names (`modelName`, `created_at`, `y_pred`) and on values: a time must be one, the id of a prediction
must be different in nearly all records, the model must not. What was found is tried on the sample before it is shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from streamer.codecs import CODECS
from streamer.codecs import json_lenient as json_text
from streamer.codecs.event import Refused
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.presets import PRESETS
from streamer.codecs.schemas.framing import likeness, strip_frame
from streamer.codecs.times import share_of_times
from streamer.eventlog.base import Records
from streamer.events import EventKind, Names

Role = Literal["predictions", "features", "labels"]
TRIED_FIRST: Final = 50  # records, before all of a sample
DEPTH_MAX: Final = 4  # levels of objects that are looked into
PATHS_MAX: Final = 500
MOST: Final = 0.9  # share of the records for "nearly all"
FEW: Final = 0.5  # share of different values of a member that can name the model

# Names of members for each field, best first, without case and punctuation.
NAMES: Final[Mapping[str, Sequence[str]]] = {
    "model_id": (
        "modelid", "modelname", "model", "modelkey", "inferenceservicename", "deploymentname", "deployment", "endpoint",
    ),
    "model_version": ("modelversion", "deploymentversion", "modelrevision", "version"),
    "prediction_id": (
        "predictionid", "inferenceid", "requestid", "reqid", "correlationid", "eventid", "traceid", "uuid", "id",
    ),
    "event_time": (
        "eventtime", "eventtimestamp", "timestamp", "time", "ts", "createdat", "occurredat", "loggedat", "requesttime",
        "datetime", "date",
    ),
    "label": ("label", "groundtruth", "actual", "actualvalue", "ytrue", "truth", "target", "observed"),
    "prediction": (
        "prediction", "predictedvalue", "predictedlabel", "predictedclass", "predicted", "ypred", "yhat", "score",
        "probability", "forecast", "output",
    ),
}  # fmt: skip
# Presets that take no other records than their tool's; of them, those whose records may name no model; and generic
# ones, by the members that their envelope has.
TOOLS: Final = ("kserve-v2", "kserve-v1", "seldon", "azureml", "sagemaker", "vertex", "snowplow", "gtfs-rt")
NAMELESS: Final = ("kserve-v2", "kserve-v1", "seldon", "sagemaker", "vertex")
SIGNED: Final[Mapping[str, frozenset[str]]] = {
    "debezium": frozenset({"op", "after"}),
    "connect-json": frozenset({"schema", "payload"}),
    "cloudevents": frozenset({"specversion", "source"}),
}
FEATURES: Final = ("features", "inputs", "input", "featurevector", "instance", "attributes", "data", "payload")
_TIMELY: Final = re.compile(r"time|stamp|date|at$|ts$")  # in names of times that are not in the list
_SIMPLE: Final = re.compile(r"[^.\[\]'\"\s]+")
STEP: Final = re.compile(r"\.[^.\[\]'\"\s]+|\['[^']+'\]")


@dataclass(frozen=True, slots=True)
class Sample:
    """Records of a topic. A file without keys has none there."""

    topic: str
    records: Sequence[Records]

    def __len__(self) -> int:
        return sum(map(len, self.records))

    def values(self) -> Iterator[bytes]:
        """The values that are there."""
        for records in self.records:
            yield from filter(None, (records.value_of(i) for i in range(len(records))))

    def keys(self) -> list[str]:
        """The keys as texts; "" where a record has none."""
        found = (records.key_of(i) for records in self.records for i in range(len(records)))
        return [(key or b"").decode(errors="replace") for key in found]


@dataclass(slots=True)
class Recognised:
    """What a topic seems to be: its settings, why, what is not sure, and what they make of the sample."""

    topic: str
    role: Role = "predictions"
    settings: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)  # setting -> what was seen
    unsure: list[str] = field(default_factory=list)
    records: int = 0
    events: int = 0
    columns: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    kinds: Counter[EventKind] = field(default_factory=Counter)
    members: dict[str, list[Any]] = field(default_factory=dict)  # path -> its values, where fields were looked for
    dead_letters: Counter[str] = field(default_factory=Counter)


def recognised(sample: Sample, now_ms: int) -> Recognised:
    """The settings of a topic by a sample of its records. `now_ms`: no event is much later, in ms since 1970."""
    found = Recognised(sample.topic, records=len(sample))
    documents = _documents(sample, found)
    if documents and not _is_of_a_tool(sample, documents, found):
        _map_fields(documents, sample.keys(), found, now_ms)
    _look_for_feeds(sample, found)
    try_out(sample, found)
    return found


def _is_of_a_tool(sample: Sample, documents: Sequence[Any], found: Recognised) -> bool:
    """Set the preset whose shape nearly all records have, and that finds columns in them, if canonical fields don't."""
    if _reads(sample, found, {}):
        return False
    signed = [name for name, members in SIGNED.items() if _have(documents, members)]
    for fields, tools in (({}, (*TOOLS, *signed)), ({"model_id": f"={sample.topic}"}, (*NAMELESS, *signed))):
        for tool in tools:
            settings = {"preset": tool, **({"fields": fields} if fields else {})}
            if _reads(sample, found, settings):
                found.settings |= settings
                found.seen["preset"] = "the shape of the records"
                if fields:
                    found.unsure.append("model_id: the tool names no model, so all events are taken for one")
                return True
    return False


def _look_for_feeds(sample: Sample, found: Recognised) -> None:
    """Set the preset of GTFS-realtime, whose schema is an extra of Driftline, if it reads the messages."""
    try:
        if found.settings.get("format") == "protobuf" and _reads(sample, found, {"preset": "gtfs-rt"}):
            found.settings["preset"], found.seen["preset"], found.unsure = "gtfs-rt", "feeds of GTFS-realtime", []
    except (ImportError, ValueError):
        found.unsure.append("preset: to recognise feeds of GTFS-realtime, install the extra driftline[gtfs]")


def _reads(sample: Sample, found: Recognised, settings: dict[str, Any]) -> bool:
    """Whether these settings, beside those that were found, read nearly all records, with columns."""
    few = TRIED_FIRST // max(len(sample.records), 1) + 1
    for one in (Sample(sample.topic, [part.part(0, min(few, len(part))) for part in sample.records]), sample):
        trial = Recognised(sample.topic, settings={**found.settings, **settings}, records=len(one))
        try_out(one, trial)
        if not trial.columns or trial.dead_letters.total() > (1 - MOST) * len(one):
            return False
    return True


def _have(documents: Sequence[Any], members: frozenset[str]) -> bool:
    return sum(isinstance(one, dict) and members <= one.keys() for one in documents) >= MOST * len(documents)


def try_out(sample: Sample, found: Recognised) -> None:
    """Decode the sample by the settings that were found, and count what they make of it."""
    format_ = found.settings.get("format", "json")
    options = {name: value for name, value in found.settings.items() if name not in ("format", "pairing")}
    if (preset := PRESETS.get(options.get("preset", ""))) is not None:
        options = {**preset.defaults.get(format_, {}), **options}
    if "fields" in options:
        options["fields"] = FieldMap(**options["fields"])
    settings_class, codec_class = CODECS[format_]
    codec, names = codec_class(settings_class(**options)), Names.fresh()
    found.events, found.dead_letters, found.kinds, used = 0, Counter(), Counter(), set[int]()
    for records in sample.records:
        batch, dead = codec.decode(records, names)
        found.events += len(batch)
        found.dead_letters.update(reason.value for reason in dead.reason)
        used.update(batch.column.tolist())
        found.kinds.update(map(EventKind, batch.kind.tolist()))
    found.models = list(names.models.names)
    found.columns = [name for i, name in enumerate(names.columns.names) if i in used]


def _documents(sample: Sample, found: Recognised) -> list[Any]:
    """The values as documents; none, with the likely format, where they are no JSON."""
    documents, framed, other = list[Any](), 0, Counter[str]()
    for value in sample.values():
        frame, payload = strip_frame(value)
        framed += frame is not None
        try:
            documents.append(json_text.parse(payload))
        except Refused:
            other[likeness(value) or "the values are in no format that Driftline knows"] += 1
    if len(documents) < len(sample) * MOST and other:
        (what, _), *_ = other.most_common(1)
        found.seen["format"] = what
        if (match := re.search(r"use format (\w+)", what)) is not None:
            found.settings["format"] = match[1]
        found.unsure.append(f"format: {what}. Its schema is needed to map the fields: see docs/formats.md")
        return []
    if framed > len(documents) * MOST:
        found.settings["format"] = "json_schema"
        found.seen["format"] = "JSON behind the framing of a schema registry"
    return documents


def _map_fields(documents: list[Any], keys: Sequence[str], found: Recognised, now_ms: int) -> None:
    fields: dict[str, Any] = {}
    rows_at, rows = _rows(documents)
    if rows_at:
        fields["rows"] = rows_at
        found.seen["rows"] = f"{len(rows):,} rows in {len(documents):,} records"
    root, events = ("$row", rows) if rows_at else ("$", [one for doc in documents for one in _items(doc)])
    members = found.members = {**(members_of("$", documents) if rows_at else {}), **members_of(root, events)}
    taken: set[str] = set()
    for name, likely in NAMES.items():
        path = _best(name, likely, members, taken, len(events), len(documents), now_ms)
        if path is not None:
            taken.add(path)
            fields[name] = path
            found.seen[name] = _example(members[path])
    if "model_id" not in fields:
        fields["model_id"] = _model(keys, found)
    features = _features(root, events, members, taken)
    if features is not None:
        fields["features"] = features
    elif "label" not in fields and "prediction" not in fields:
        found.unsure.append("features: no member looks like the inputs or the output of a model")
    defaults = FieldMap()
    fields = {name: path for name, path in fields.items() if path != getattr(defaults, name)}
    if fields:
        found.settings["fields"] = fields


def _model(keys: Sequence[str], found: Recognised) -> str:
    distinct = len(set(keys))
    if all(keys) and keys and distinct <= max(1, len(keys) * FEW):
        found.seen["model_id"] = f"{distinct:,} keys, as {keys[0]!r}"
        found.unsure.append("model_id: no member names the model, so the key of the record is taken for it")
        return "$key"
    found.unsure.append("model_id: nothing names the model, so all events are taken for one; put its name there")
    return f"={found.topic}"


def _items(document: Any) -> Iterable[Any]:
    return document if isinstance(document, list) else (document,)


def _rows(documents: Sequence[Any]) -> tuple[str, list[Any]]:
    """The path and the items of a list of objects that nearly all records have; "" if there is none."""
    lists: Counter[str] = Counter()
    for document in documents:
        if isinstance(document, dict):
            lists.update(
                _join("$", name)
                for name, value in document.items()
                if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
            )
    if len(likely := [path for path, n in lists.items() if n >= len(documents) * MOST]) != 1:
        return "", []
    name = likely[0].removeprefix("$.").removeprefix("['").removesuffix("']")
    items = [one for doc in documents if isinstance(doc, dict) for one in doc.get(name) or ()]
    is_row = [one for one in items if isinstance(one, dict) and len(one) > 1 and "name" not in one]
    return (likely[0], is_row) if len(is_row) >= len(items) * MOST else ("", [])


def members_of(root: str, documents: Iterable[Any]) -> dict[str, list[Any]]:
    """Path -> its values that are no object and no list, in all documents."""
    found: dict[str, list[Any]] = {}

    def look(path: str, value: Any, depth: int) -> None:
        if isinstance(value, dict):
            for name, inner in value.items() if depth < DEPTH_MAX else ():
                look(_join(path, name), inner, depth + 1)
        elif not isinstance(value, list) and value is not None and (path in found or len(found) < PATHS_MAX):
            found.setdefault(path, []).append(value)

    for document in documents:
        if isinstance(document, dict):
            look(root, document, 0)
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if _SIMPLE.fullmatch(name) else f"{path}['{name}']"


def _best(
    name: str,
    likely: Sequence[str],
    members: Mapping[str, Sequence[Any]],
    taken: Collection[str],
    events: int,
    documents: int,
    now_ms: int,
) -> str | None:
    """The path of a field: by the best of its names, then the one nearest to the root, whose values fit."""
    by_name: dict[str, list[str]] = {}
    for path in members:
        by_name.setdefault(_plain(path), []).append(path)
    others = [one for one in by_name if name == "event_time" and _TIMELY.search(one) and one not in likely]
    for one in (*likely, *others):
        for path in sorted(by_name.get(one, ()), key=lambda path: (_depth(path), path)):
            n = documents if path.startswith("$.") and documents != events else events
            is_there = len(members[path]) >= n * (MOST if name in ("model_id", "event_time") else 0.01)
            if path not in taken and is_there and _fits(name, members[path], now_ms):
                return path
    return None


def _fits(name: str, values: Sequence[Any], now_ms: int) -> bool:
    match name:
        case "event_time":
            return share_of_times(values, now_ms) >= MOST
        case "model_id" | "model_version":
            return all(isinstance(one, str | int) and not isinstance(one, bool) for one in values) and (
                len(set(values)) <= max(1, len(values) * FEW)
            )
        case "prediction_id":
            return all(isinstance(one, str | int) for one in values) and len(set(values)) >= len(values) * MOST
    return True


def _features(
    root: str, events: Sequence[Any], members: Mapping[str, Sequence[Any]], taken: Collection[str]
) -> str | dict[str, str] | None:
    """The object that holds the features: one by its name, else the event itself, else single paths below it."""
    free = [path for path in members if path.startswith(root) and path not in taken]
    objects = [
        _join(root, name)
        for wanted in FEATURES
        for name in {name: None for one in events if isinstance(one, dict) for name in one}
        if _plain(name) == wanted
    ]
    for path in objects:
        if any(one.startswith((f"{path}.", f"{path}['")) and _depth(one) == _depth(path) + 1 for one in free):
            return path
    if any(_depth(path) == _depth(root) + 1 for path in free):
        return root
    return {STEP.findall(path)[-1].strip(".[']"): path for path in free} or None


def _depth(path: str) -> int:
    return len(STEP.findall(path))


def _plain(name: str) -> str:
    """The last name of a path, without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", (STEP.findall(name) or [name])[-1].lower())


def _example(values: Sequence[Any]) -> str:
    return f"{len(values):,} values, {len(set(map(repr, values))):,} of them different, as {str(values[0])[:40]!r}"
