"""The tables that all parts of a fold unit share: names, topics, subjects, segments, series, offsets, references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from detectors.arrays.types import I64
from detectors.series.calendar import Calendar
from detectors.series.evidence import FIRM, MIXED, NUMBERS
from detectors.series.offsets import Offsets, PartnerRanges, Traffic
from detectors.series.table import SeriesTable, ValueKind
from retrain.messages.patterns import first_match
from streamer.detect.reference_lookup import ReferenceLookup
from streamer.detect.references.store import Digests
from streamer.detect.remap import Arrays, Remap, Remaps, Survivors, compact_all, remap_series, series_remaps
from streamer.detect.segments import Segments
from streamer.detect.settings import TOPICS_MAX, Cast, DetectSettings
from streamer.detect.subjects import Subjects, model_ids, remap_subjects, version_ids
from streamer.errors import UsageError
from streamer.events import LAG_COLUMN, Names, NameTable
from streamer.runtime.snapshot import Snapshot, nested, unnested

NO_COLUMN = -1
_NAMES = ("models", "versions", "columns", "categories")


@dataclass(frozen=True, slots=True)
class Context:
    """The shared tables of one fold unit. A monitor reads them; only the fold writes them."""

    settings: DetectSettings
    names: Names
    topics: NameTable  # in canonical order: that of the settings, then that of first sight
    segments: Segments
    subjects: Subjects
    series: SeriesTable
    offsets: Offsets
    label_ranges: PartnerRanges  # where the labels lie that joined predictions of a subject
    references: ReferenceLookup
    calendar: Calendar
    traffic: Traffic

    @classmethod
    def create(cls, settings: DetectSettings) -> Self:
        """The tables before the first record. Raises `UsageError` for more than `TOPICS_MAX` topics."""
        limits = settings.limits
        names = Names.fresh(limits.models_max, limits.columns_max, limits.categories_max)
        topics, segments = NameTable(TOPICS_MAX), Segments(settings.segments, names)
        subjects = Subjects(limits.models_max, names, topics, segments)
        references = ReferenceLookup(settings.references, names.categories, settings.reference_store)
        series = SeriesTable(limits.series_max)
        own = Offsets(), PartnerRanges(subjects.ids.limit), references, Calendar(), Traffic()
        context = cls(settings, names, topics, segments, subjects, series, *own)
        if settings.cast or settings.references:
            series.expect = context.expected
        for topic in settings.codecs:
            context.rank_of(topic)
        context._name_lag_column()
        return context

    @property
    def lag_column(self) -> int:
        """The id of the column of label lags; `NO_COLUMN` if it is not watched or the table of columns is full."""
        return self.names.columns.ids.get(LAG_COLUMN, NO_COLUMN) if self.settings.labels.watch_lag else NO_COLUMN

    def rank_of(self, topic: str) -> int:
        """The place of a topic in the canonical order. Raises `UsageError` for one topic too many."""
        rank = self.topics.id_of(topic)
        if rank < 0:
            raise UsageError(f"{topic} is one event topic too many: a service folds at most {TOPICS_MAX}")
        return rank

    def dump(self) -> tuple[dict[str, Any], Arrays]:
        """The tables as JSON-able data and as arrays; it shows their own memory until the next step."""
        meta = {
            "topics": self.topics.names,
            "names": {name: getattr(self.names, name).names for name in _NAMES},
            "segments": self.segments.dump(),
        }
        arrays = {"subjects": self.subjects.ids.keys}
        calendar = self.calendar.dump(int(self.series.rows[ValueKind.NUMBER]))
        arrays |= nested("series", self.series.dump()) | nested("calendar", calendar)
        if self.settings.false_alarm_spans:
            arrays |= nested("traffic", self.traffic.dump(len(self.subjects.ids)))
        if own := self.references.digests():
            meta["references"] = own
        return meta, arrays | nested("marks", self.offsets.dump()) | nested("label_marks", self.label_ranges.dump())

    def load(self, snapshot: Snapshot) -> None:
        """Restore what was dumped, perhaps under other settings."""
        meta, arrays = snapshot.meta, snapshot.arrays
        self.topics.load(meta["topics"])
        for table, names in meta["names"].items():
            getattr(self.names, table).load(names)
        self.references.name_categories()
        self.refer(meta.get("references", {}))
        self._name_lag_column()
        self.segments.load(meta["segments"])
        self.subjects.load(arrays["subjects"])
        self.series.load(unnested("series", arrays))
        self.offsets.load(unnested("marks", arrays))
        self.label_ranges.load(unnested("label_marks", arrays))
        self.calendar.load(unnested("calendar", arrays))
        self.traffic.load(unnested("traffic", arrays))

    def refer(self, digests: Digests) -> None:
        """Give versions that have not been seen references of their own. Raises `GapError`."""
        if digests:
            self.references.add(digests)
            self.series.expect = self.expected

    def new_references(self) -> Digests:
        """The references in the store for versions that have not been seen, of models that have."""
        return self.references.new(self.names.models.ids.keys(), self._seen)

    def _seen(self) -> set[tuple[str, str]]:
        """The versions of models with events."""
        keys, names = self.subjects.ids.keys, self.names
        pairs = set(zip(model_ids(keys).tolist(), version_ids(keys).tolist(), strict=True))
        return {(names.models.names[model], names.versions.names[of]) for model, of in pairs if of >= 0}

    def remaps(self, survivors: Survivors, versions: Iterable[I64]) -> Remaps:
        """The new ids of the survivors. `versions`: ids that the state of monitors names for surviving models."""
        subjects, keys = Remap.of(survivors.subjects), self.subjects.ids.keys
        used = np.zeros(len(self.names.versions) + 1, bool)  # the last is for none
        for ids in (version_ids(keys[subjects.kept]), *versions):
            used[ids] = True
        series, rows = series_remaps(self.series.dump(), subjects)
        return Remaps(Remap.of(survivors.models), Remap.of(used[:-1]), subjects, series, rows)

    def remap(self, remaps: Remaps) -> tuple[dict[str, Any], Arrays]:
        """The tables without the evicted ids, as `dump` gives them."""
        meta, arrays = self.dump()
        names: Mapping[str, list[str]] = meta["names"]
        kept = {name: getattr(remaps, name).chosen(names[name]) for name in ("models", "versions")}
        known = set(kept["models"])
        segments = {model: of_model for model, of_model in meta["segments"].items() if model in known}
        meta |= {"names": {**names, **kept}, "segments": segments}
        versions, before = set(kept["versions"]), self.names.versions.ids
        if "references" in meta:
            meta["references"] = {
                model: {of: digest for of, digest in own.items() if of in versions or of not in before}
                for model, own in meta["references"].items()
                if model in known
            }
        marks = compact_all(unnested("marks", arrays), remaps.subjects)
        ranges = unnested("label_marks", arrays)
        ranges = PartnerRanges.remap(ranges, remaps.subjects.kept, remaps.subjects.place)
        series = remap_series(unnested("series", arrays), remaps)
        subjects = remap_subjects(arrays["subjects"], remaps)
        calendar = Calendar.remap(unnested("calendar", arrays), remaps.rows[ValueKind.NUMBER].kept)
        shared = nested("series", series) | nested("marks", marks) | nested("calendar", calendar)
        shared |= nested("traffic", compact_all(unnested("traffic", arrays), remaps.subjects))
        return meta, {"subjects": subjects} | shared | nested("label_marks", ranges)

    def expected(self, subject: int, column: int) -> int:
        """What a column of a subject holds by settings or training data, as `detectors.series.evidence` names it."""
        key = self.subjects.name_of(subject, column)
        cast = first_match(self.settings.cast, key[2])
        if cast is not None:
            return FIRM | (NUMBERS if cast is Cast.NUMBER else MIXED)
        return self.references.expected(key)

    def model_of_subjects(self) -> I64:
        """The model of each subject."""
        return model_ids(self.subjects.ids.keys)

    def _name_lag_column(self) -> None:
        if self.settings.labels.watch_lag:
            self.names.columns.id_of(LAG_COLUMN)
