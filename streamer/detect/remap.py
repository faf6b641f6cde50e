"""A fold's state without some of its models and versions: as if their events had never come.

What is kept keeps its order, so that a table of ids is what it would be without the others. Names of columns and
categories stay, as what detectors have learnt goes by their ids; so does the clock of each topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.delivery.flow_kernels import LAST_VERSION
from detectors.recovery.judge import ROW as WATCHED_ROW
from detectors.recovery.judge import RecoveryState
from detectors.segment_gap import OTHER_ROW, ROW
from detectors.series.table import WATCHED
from streamer.detect.batch import TAKES
from streamer.detect.eviction import Survivors
from streamer.detect.label_join import WHO
from streamer.detect.label_join_kernels import TAIL, WAITING
from streamer.detect.monitors.flow import RANK_BITS
from streamer.detect.monitors.joint import JOINT, NO_PLACE
from streamer.detect.monitors.quality import FAULT_BITS
from streamer.detect.subjects import MODEL_MASK
from streamer.events import Limit
from streamer.runtime.snapshot import Snapshot

Arrays = dict[str, NDArray[Any]]
Mask = NDArray[np.bool_]

GONE: Final = -1
ENTRIES: Final = 4096  # of an array, moved at once
FLOW_BITS: Final = RANK_BITS + 1


class Remap(NamedTuple):
    """Which of many are kept, and what becomes of their indices."""

    kept: Mask
    place: I64  # by old index; GONE for those that are not kept

    @classmethod
    def of(cls, kept: Mask) -> Remap:
        return cls(kept, np.where(kept, np.cumsum(kept) - 1, GONE))

    def new(self, old: NDArray[Any]) -> NDArray[Any]:
        """New indices of old ones, of the same type; what is negative stays as it is."""
        if not len(self.place):
            return old
        return np.where(old >= 0, self.place[np.maximum(old, 0)], old).astype(old.dtype)


def without(snapshot: Snapshot, kept: Survivors) -> Snapshot:
    """The state of which just this is kept. It takes over the arrays of the one it is made of, and moves them."""
    arrays, meta = dict(snapshot.arrays), dict(snapshot.meta)
    models, subjects = Remap.of(kept.models), Remap.of(kept.subjects)
    versions = _versions(arrays, len(meta["names"]["versions"]), models, subjects)
    series, rows = _series(arrays, subjects)
    _subjects(arrays, models, subjects, versions)
    _labels(arrays, subjects)
    joint = _joint(arrays, subjects, rows[TAKES[WATCHED[0]]])
    _gaps(arrays, subjects)
    _only(arrays, "absent/", Remap.of(series.kept[: len(arrays["absent/known"])]))
    _quality(arrays, series)
    _flows(arrays, models, versions)
    names = meta["names"]
    meta["names"] = names | {
        "models": _chosen(names["models"], models),
        "versions": _chosen(names["versions"], versions),
    }
    known = set(meta["names"]["models"])
    meta["segments"] = {model: segments for model, segments in meta["segments"].items() if model in known}
    _living(arrays, rows)
    alerts = meta["alerts"]
    meta["alerts"] = {
        "waiting": list(_waiting(alerts["waiting"], arrays, subjects, rows | {JOINT: joint})),
        "live": [
            [takes, int(rows[takes].place[row]), int(subjects.place[subject]), *live]
            for takes, row, subject, *live in alerts["live"]
            if subjects.kept[subject]
        ],
    }
    meta["full"] = {limit: n for limit, n in meta["full"].items() if limit not in {Limit.MODELS, Limit.SERIES}}
    return Snapshot(meta, arrays, is_private=True)


def _versions(arrays: Arrays, n: int, models: Remap, subjects: Remap) -> Remap:
    """The versions that something which is kept goes by."""
    used = np.zeros(n + 1, bool)  # the last is no version
    used[(arrays["subjects"][subjects.kept] >> 8 & 0xFFFFFF) - 1] = True
    of_flow = models.kept[arrays["flow/keys"] >> FLOW_BITS]
    used[arrays["flow/flows/head"][of_flow, LAST_VERSION]] = True
    return Remap.of(used[:n])


def _subjects(arrays: Arrays, models: Remap, subjects: Remap, versions: Remap) -> None:
    keys = arrays["subjects"][subjects.kept]
    model, version = models.new(keys >> 32 & MODEL_MASK), versions.new((keys >> 8 & 0xFFFFFF) - 1) + 1
    arrays["subjects"] = keys & ~(MODEL_MASK << 32 | 0xFFFFFF << 8) | model << 32 | version << 8
    _only(arrays, "marks/", subjects)
    arrays["idle/models"], arrays["idle/subjects"] = (
        arrays[f"idle/{name}"][moved.kept] for name, moved in (("models", models), ("subjects", subjects))
    )


def _series(arrays: Arrays, subjects: Remap) -> tuple[Remap, dict[str, Remap]]:
    """The series, and the rows of each panel."""
    keys, kind, row = (arrays[f"series/{name}"] for name in ("keys", "kind", "row"))
    series = Remap.of(subjects.kept[keys >> 32])
    rows: dict[str, Remap] = {}
    for one in WATCHED:
        mine = np.flatnonzero(kind == one)
        kept = np.zeros(len(mine), bool)
        kept[row[mine]] = series.kept[mine]
        rows[TAKES[one]] = Remap.of(kept)
        row[mine] = rows[TAKES[one]].place[row[mine]]
        _only(arrays, f"{TAKES[one]}/", rows[TAKES[one]], has_room=f"{TAKES[one]}/bank.")
    arrays["series/keys"] = subjects.new(keys >> 32) << 32 | keys & 0xFFFFFFFF
    _only(arrays, "series/", series)
    return series, rows


def _labels(arrays: Arrays, subjects: Remap) -> None:
    """The predictions that wait for their label."""
    who, meta = arrays["labels/who"], arrays["labels/meta"]
    kept = subjects.kept[who[:, 0]]
    who[:, 0] = subjects.new(who[:, 0])
    if who.shape[1] > WHO:
        who[:, WHO] = subjects.new(who[:, WHO])
    for name in ("id", "who", "value"):
        arrays[f"labels/{name}"] = arrays[f"labels/{name}"][kept]
    meta[TAIL] = meta[WAITING] = np.count_nonzero(kept)


def _joint(arrays: Arrays, subjects: Remap, numbers: Remap) -> Remap:
    """The rows of columns; there are none where the detector does not run."""
    if f"{JOINT}/subjects" not in arrays:
        return Remap.of(np.zeros(0, bool))
    of, place = arrays.pop(f"{JOINT}/subjects"), arrays.pop(f"{JOINT}/place")[numbers.kept]
    rows = Remap.of(subjects.kept[of])
    has_place = place[:, 1] != NO_PLACE
    place[has_place, 0] = rows.place[place[has_place, 0]]
    _only(arrays, f"{JOINT}/", rows)
    arrays |= {f"{JOINT}/subjects": subjects.new(of[rows.kept]), f"{JOINT}/place": place}
    return rows


def _gaps(arrays: Arrays, subjects: Remap) -> None:
    rows, groups = (Remap.of(subjects.kept[arrays[f"gaps/{name}"] >> 1]) for name in ("rows", "groups"))
    latest = arrays["gaps/bank/groups"][groups.kept]
    for column in (ROW, OTHER_ROW):
        latest[:, column] = rows.new(latest[:, column].astype(np.int64))
    arrays["gaps/bank/groups"] = latest
    for name, moved in (("rows", rows), ("groups", groups)):
        keys = arrays[f"gaps/{name}"][moved.kept]
        arrays[f"gaps/{name}"] = subjects.new(keys >> 1) << 1 | keys & 1
    for name in ("rows", "rules"):
        arrays[f"gaps/bank/{name}"] = arrays[f"gaps/bank/{name}"][rows.kept]


def _quality(arrays: Arrays, series: Remap) -> None:
    keys = arrays["quality/keys"]
    rows = Remap.of(series.kept[keys >> FAULT_BITS])
    arrays["quality/keys"] = series.new(keys >> FAULT_BITS) << FAULT_BITS | keys & ((1 << FAULT_BITS) - 1)
    _only(arrays, "quality/", rows)


def _flows(arrays: Arrays, models: Remap, versions: Remap) -> None:
    keys, topics = arrays["flow/keys"], {name: arrays.pop(f"flow/{name}") for name in ("flows/topic", "shares/now")}
    arrays["flow/keys"] = models.new(keys >> FLOW_BITS) << FLOW_BITS | keys & ((1 << FLOW_BITS) - 1)
    flows = Remap.of(models.kept[keys >> FLOW_BITS])
    _only(arrays, "flow/", flows)
    head = arrays["flow/flows/head"]
    head[:, LAST_VERSION] = versions.new(head[:, LAST_VERSION])
    arrays |= {f"flow/{name}": array for name, array in topics.items()}


def _living(arrays: Arrays, rows: Mapping[str, Remap]) -> None:
    """The rows that have drifted, and what is known of each row from before."""
    for takes, moved in rows.items():
        of = f"living.{takes}/"
        _only(arrays, f"{of}earlier", moved)
        past, watched = arrays[f"{of}judge/past"], arrays[f"{of}judge/head"][:, WATCHED_ROW]
        arrays[f"{of}judge/past"] = past = past[moved.kept[past[:, 0]]]
        past[:, 0] = moved.new(past[:, 0])
        kept = moved.kept[watched]
        for name in RecoveryState._fields:
            arrays[f"{of}judge/{name}"] = arrays[f"{of}judge/{name}"][kept]
        head = arrays[f"{of}judge/head"]
        head[:, WATCHED_ROW] = moved.new(head[:, WATCHED_ROW])


def _waiting(
    waiting: list[Any], arrays: Mapping[str, Any], subjects: Remap, rows: Mapping[str, Remap]
) -> Iterator[list[Any]]:
    """The alerts that wait to be ready, with the rows of their detectors."""
    for subject, row, detector, alert, due in waiting:
        if subjects.kept[subject]:
            takes = next((takes for takes in TAKES.values() if f"{takes}/feeds/{detector}" in arrays), detector)
            yield [int(subjects.place[subject]), int(rows[takes].place[row]), detector, alert, due]


def _only(arrays: Arrays, prefix: str, moved: Remap, has_room: str = "(none)") -> None:
    """Keep those entries of all arrays whose names begin so; of banks, the room of the others is kept, in zeros."""
    kept = np.flatnonzero(moved.kept)
    if len(kept) < len(moved.kept):
        for name in [name for name in arrays if name.startswith(prefix)]:
            arrays[name] = arrays[name] if arrays[name].flags.writeable else arrays[name].copy()
            _move_up(arrays[name], kept)
            if name.startswith(has_room):
                arrays[name][len(kept) :] = 0
            else:
                arrays[name] = arrays[name][: len(kept)]


def _move_up(array: NDArray[Any], kept: I64) -> None:
    """The entries that are kept to the front, within the memory of all: a state may be half of what there is."""
    for start in range(0, len(kept), ENTRIES):
        part = kept[start : start + ENTRIES]
        array[start : start + len(part)] = array[part]


def _chosen(names: list[str], moved: Remap) -> list[str]:
    return [name for name, kept in zip(names, moved.kept.tolist(), strict=True) if kept]
