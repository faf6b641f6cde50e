"""Compaction of the state of a fold: the ids that survive an eviction, and the new value of each.

Survivors keep their order, so every table is what it would be if the evicted ids had never come. Names of columns and
categories stay, because the state of detectors refers to them by id. Each part of a fold remaps its own arrays, beside
its `dump` and `load`; this file holds what they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.series.table import WATCHED, ValueKind

Array = NDArray[Any]
Arrays = dict[str, Array]
Mask = NDArray[np.bool_]

GONE: Final = -1
ENTRIES: Final = 4096  # of an array, moved at once


class Survivors(NamedTuple):
    """What an eviction keeps of a fold unit."""

    models: Mask  # by id
    subjects: Mask


class Remap(NamedTuple):
    """Which ids of a table survive, and the new id of each."""

    kept: Mask
    place: I64  # by old id; GONE for those that are evicted

    @classmethod
    def of(cls, kept: Mask) -> Remap:
        return cls(kept, np.where(kept, np.cumsum(kept) - 1, GONE))

    def new(self, old: Array) -> Array:
        """New ids of old ones, of the same type; a negative id stays."""
        if not len(self.place):
            return old
        return np.where(old >= 0, self.place[np.maximum(old, 0)], old).astype(old.dtype)

    def chosen(self, names: list[str]) -> list[str]:
        """The names, by old id, that survive."""
        return [name for name, kept in zip(names, self.kept.tolist(), strict=True) if kept]


class Remaps(NamedTuple):
    """The shared tables of a fold unit after an eviction."""

    models: Remap
    versions: Remap
    subjects: Remap
    series: Remap
    rows: Mapping[ValueKind, Remap]  # rows of the detectors of each kind of value


def compact(array: Array, remap: Remap, *, keep_size: bool = False) -> Array:
    """The entries that survive, moved to the front within the array's own memory: a state may be half of all there is.

    `keep_size`: the array keeps its length, with zeros behind them. An array that is read-only is copied.
    """
    kept = np.flatnonzero(remap.kept)
    if len(kept) == len(remap.kept):
        return array
    array = array if array.flags.writeable else array.copy()
    for start in range(0, len(kept), ENTRIES):
        part = kept[start : start + ENTRIES]
        array[start : start + len(part)] = array[part]
    if not keep_size:
        return array[: len(kept)]
    array[len(kept) :] = 0
    return array


def compact_all(arrays: Mapping[str, Array], remap: Remap) -> Arrays:
    """Several arrays that have one entry an id."""
    return {name: compact(array, remap) for name, array in arrays.items()}


def remap_series(arrays: Mapping[str, Array], remaps: Remaps) -> Arrays:
    """The table of series: its keys hold subjects, its rows are those of the detectors."""
    keys, kind, row = arrays["keys"], arrays["kind"], arrays["row"].copy()
    for one in WATCHED:
        row[kind == one] = remaps.rows[one].new(row[kind == one])
    keys = remaps.subjects.new(keys >> 32) << 32 | keys & 0xFFFFFFFF
    abandoned = arrays["abandoned"][remaps.series.kept[arrays["abandoned"][:, 2]]]
    for one in WATCHED:
        mine = abandoned[:, 0] == one
        abandoned[mine, 1] = remaps.rows[one].new(abandoned[mine, 1])
    abandoned[:, 2] = remaps.series.new(abandoned[:, 2])
    of_series = {name: array for name, array in arrays.items() if name != "abandoned"}
    return compact_all({**of_series, "keys": keys, "row": row}, remaps.series) | {"abandoned": abandoned}


def series_remaps(arrays: Mapping[str, Array], subjects: Remap) -> tuple[Remap, dict[ValueKind, Remap]]:
    """Of the table of series, the series and the rows of each kind that survive with their subjects."""
    keys, kind, row, abandoned = (arrays[name] for name in ("keys", "kind", "row", "abandoned"))
    series, rows = Remap.of(subjects.kept[keys >> 32]), dict[ValueKind, Remap]()
    for one in WATCHED:
        mine, left = np.flatnonzero(kind == one), abandoned[abandoned[:, 0] == one]
        kept = np.zeros(len(mine) + len(left), bool)
        kept[row[mine]], kept[left[:, 1]] = series.kept[mine], series.kept[left[:, 2]]
        rows[one] = Remap.of(kept)
    return series, rows
