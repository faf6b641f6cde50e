"""Profiles of all columns of a unit, published when the unit's clock leaves an interval.

A value belongs to the interval of the unit's clock when it comes, whatever its own event time is: so one interval is
open, and a late event counts where it is read. The clock moves with single events, so cuts of the stream never show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Self

import numpy as np

from detectors.arrays.types import I64
from detectors.profile.bank import ProfileBank, ProfileSettings, Summaries
from detectors.reference import CategoryReference, Reference
from streamer.contracts.profiles import profile_outputs
from streamer.detect.alarm import category_name
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays, Remaps, compact
from streamer.detect.subjects import Subjects
from streamer.eventlog.base import Output
from streamer.eventlog.units import DETECT

KEY: Final = "profile"
NOT_YET: Final = -1


class ProfilePublisher:
    """The profiles of a fold unit; None of them where the settings switch them off."""

    def __init__(self, context: Context, settings: ProfileSettings) -> None:
        self._context, self._settings = context, settings
        self._bank = ProfileBank()
        self._open = NOT_YET  # number of the open interval

    @classmethod
    def create(cls, context: Context) -> Self | None:
        """The profiles before the first event; None if the settings switch them off."""
        settings = context.settings.profiles
        return cls(context, settings) if settings.publish else None

    def update(self, batch: Batch, clock_ms: I64) -> Iterator[tuple[int, Output]]:
        """Count the values of a batch; the messages of intervals that end in it, each with the index of its event.

        `clock_ms` [n]: the unit's clock after each event. The event that ends an interval belongs to the next one.
        """
        self._make_rows()
        interval = clock_ms // (self._settings.interval_s * 1000)
        if self._open == NOT_YET and len(interval):
            self._open = int(interval[0])
        done = 0
        for event in np.flatnonzero(np.diff(interval, prepend=self._open)).tolist():
            upto = int(np.searchsorted(batch.values.event, event))
            self._count(batch, done, upto)
            done = upto
            for output in self._close(batch.events.partition):
                yield event, output
            self._open = int(interval[event])
        self._count(batch, done, len(batch.values.event))

    def dump(self) -> Arrays:
        """The state; it shows this memory until the next batch."""
        references = self._context.settings.references.digest
        clock = np.array([self._open, self._settings.interval_s, references], np.int64)
        return {"clock": clock} | self._bank.dump()

    def load(self, arrays: Mapping[str, Array], *, owned: bool) -> None:
        """Restore what was dumped, perhaps with intervals of another length, or by a fold without profiles.

        Under other training data, all profiles begin empty.
        """
        if not arrays:
            return
        at, length_s, references = arrays["clock"].tolist()
        if references != self._context.settings.references.digest:
            return
        self._bank.load({"state": arrays["state"]}, owned=owned)
        if length_s != self._settings.interval_s and at != NOT_YET:
            self._bank.shift_starts(length_s, self._settings.interval_s)
            at = at * length_s // self._settings.interval_s
        self._open = at

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without evicted series."""
        if not arrays:
            return {}
        known = len(arrays["state"])
        kept = remaps.series._replace(kept=remaps.series.kept[:known])
        return {"clock": arrays["clock"], "state": compact(arrays["state"], kept)}

    def _count(self, batch: Batch, start: int, end: int) -> None:
        routed = batch.values.routed
        self._bank.update(routed.series[start:end], routed.kind[start:end], routed.value[start:end], self._open)

    def _make_rows(self) -> None:
        """Make rows of the series that are new, and give them their training data."""
        table, known = self._context.series, self._bank.rows
        self._bank.grow(len(table))
        for series in range(known, len(table)) if self._context.references else ():
            reference = self._context.references.of_any(self._context.subjects.name_of(*table.key_of(series)))
            if isinstance(reference, Reference):
                self._bank.set_numbers(series, reference)
            elif isinstance(reference, CategoryReference):
                ids = self._context.references.ids_of(reference)[: len(reference.names)]
                order = np.argsort(-reference.counts, kind="stable")
                shares = reference.counts[order] / reference.n_seen
                self._bank.set_categories(series, ids[order].astype(float), shares, reference.n_seen)

    def _close(self, partition: int) -> Iterator[Output]:
        found = self._bank.close(self._settings.values_min)
        if not len(found.row):
            return iter(())
        names = self._names(found.row)
        categories = self._categories(found)
        return profile_outputs(
            f"{DETECT}{partition}", self._open, self._settings.interval_s, names, found,
            self._context.settings.outputs.profiles, self._trained(found.row), categories,
        )  # fmt: skip

    def _names(self, rows: I64) -> dict[str, list[str]]:
        """The texts that name each of these series, by column of a message."""
        subjects = self._context.subjects
        subject, column = self._context.series.keys(rows)
        known = {one: _names_of(subjects, one) for one in np.unique(subject).tolist()}
        columns = {one: subjects.column(one) for one in np.unique(column).tolist()}
        of = [known[one] for one in subject.tolist()]
        keys = ("model_id", "model_version", "segment", "topic")
        found = {key: [names[j] for names in of] for j, key in enumerate(keys)}
        return found | {"column": [columns[one] for one in column.tolist()]}

    def _trained(self, rows: I64) -> Array:
        """Whether the reference of each of these series is training data."""
        references, subjects, table = self._context.references, self._context.subjects, self._context.series
        if not references:
            return np.zeros(len(rows), bool)
        keys = (subjects.name_of(*table.key_of(row)) for row in rows.tolist())
        return np.array([references.of_any(key) is not None for key in keys], bool)

    def _categories(self, found: Summaries) -> list[list[str | None]]:
        names, ids = self._context.names.categories, found.ids
        known = {one: category_name(int(one), names) for one in np.unique(ids[~np.isnan(ids)]).tolist()}
        return [[known.get(one) for one in row] for row in ids.tolist()]


def _names_of(subjects: Subjects, subject: int) -> tuple[str, str, str, str]:
    model, segment = subjects.model_and_segment(subject)
    return model, subjects.version_of(subject), segment, subjects.topic_of(subject)
