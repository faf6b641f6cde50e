"""What must have come of it: every unit's epochs, folded once more by fresh folds from the first record on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sim_cluster import Cluster, Spot

from streamer.compose import ConfiguredFolds
from streamer.config import Config
from streamer.epochs import digest, partition_of
from streamer.logs.base import Epoch, Output, Records, Start
from streamer.logs.headers import Headers
from streamer.logs.past import Attempt, decode_entry

Row = tuple[str, bytes | None, bytes | None, Headers]  # topic, key, value, headers


@dataclass
class History:
    """A unit's history, as anyone can read it."""

    unit: str
    epochs: list[Epoch]  # the first of each number
    repeated: int  # epochs whose number had been before
    starts: dict[str, int]
    attempts: int


def history(cluster: Cluster, config: Config, unit: str) -> History:
    partition = 0 if unit == "decide" else partition_of(unit) + 1
    entries = [
        decode_entry(entry.value, offset)
        for offset, entry in cluster.partitions[config.outputs.epochs, partition].visible(0)
    ]
    found = History(unit, [], 0, {}, sum(isinstance(entry, Attempt) for entry in entries))
    for entry in entries:
        if isinstance(entry, Start):
            found.starts = entry.starts | found.starts
        if isinstance(entry, Epoch):
            if entry.number <= len(found.epochs):
                found.repeated += 1
            else:
                assert entry.number == len(found.epochs) + 1, f"{unit} lacks epochs before {entry}"
                found.epochs.append(entry)
    return found


def stretch(cluster: Cluster, spot: Spot, start: int, end: int) -> Records:
    """The committed records of [start, end)."""
    found = [
        (offset, entry.timestamp_ms, entry.key, entry.value, entry.headers)
        for offset, entry in cluster.partitions[spot].visible(start)
        if offset < end
    ]
    return Records.build(*spot, found, end)


def unfold(cluster: Cluster, config: Config, past: History) -> list[Output]:
    """All outputs of the unit's epochs. Every epoch's digest must be that of its outputs."""
    folds = ConfiguredFolds(config)
    fold = folds.fresh(past.unit, folds.settings)
    outputs: list[Output] = []
    before = past.starts
    for epoch in past.epochs:
        aside: list[Output] = []
        records = []
        for topic, end in epoch.ends.items():
            whole = stretch(cluster, (topic, partition_of(past.unit)), before.get(topic, 0), end)
            out = np.isin(whole.offset, epoch.set_aside.get(topic, ()))
            aside += [fold.bury(whole, i) for i in np.flatnonzero(out).tolist()]
            records += [whole.part(i, i + 1) for i in range(len(whole)) if not out[i]] if out.any() else [whole]
        found = aside + fold.step(records)
        assert (epoch.outputs, epoch.digest) == (len(found), digest(found)), f"{epoch} gives other outputs offline"
        outputs += found
        before = {**before, **epoch.ends}
    return outputs


def rows_of(outputs: Sequence[Output]) -> list[Row]:
    return [(o.topic, o.key, o.value, tuple((k, v or b"") for k, v in o.headers)) for o in outputs]


def visible(cluster: Cluster, topics: Sequence[str]) -> list[Row]:
    return [(t, e.key, e.value, e.headers) for t in topics for _, e in cluster.partitions[t, 0].visible(0)]


def check(cluster: Cluster, config: Config, units: Sequence[str], topics: Sequence[str]) -> Counter[str]:
    """Raises AssertionError where outputs are not those of the epochs; returns how much there was of each topic."""
    exactly_once = config.kafka.delivery == "exactly_once"
    expected: Counter[Row] = Counter()
    found = visible(cluster, topics)
    counted = Counter(found)
    for unit in units:
        past = history(cluster, config, unit)
        assert not (exactly_once and past.repeated), f"{unit} has epochs twice"
        rows = rows_of(unfold(cluster, config, past))
        expected += Counter(rows)
        here = set(rows)
        if exactly_once:
            for topic in topics:
                mine = [row for row in found if row[0] == topic and row in here]
                assert mine == [row for row in rows if row[0] == topic], f"{unit}: other order in {topic}"
        if past.epochs:
            for topic, end in past.epochs[-1].ends.items():
                at = cluster.offsets.get((topic, partition_of(unit)))
                assert at == end, f"{unit} committed {at} of {topic} and folded up to {end}"
    if exactly_once:
        assert counted == expected, f"lost: {expected - counted}; too many: {counted - expected}"
    else:
        assert set(counted) == set(expected), f"lost: {expected - counted}; other: {set(counted) - set(expected)}"
        assert not expected - counted
    return Counter(row[0] for row in found)


def set_aside(cluster: Cluster, config: Config, units: Sequence[str]) -> list[bytes | None]:
    """The values of the records that were set aside."""
    values: list[bytes | None] = []
    for unit in units:
        for epoch in history(cluster, config, unit).epochs:
            for topic, offsets in epoch.set_aside.items():
                whole = stretch(cluster, (topic, partition_of(unit)), offsets[0], offsets[-1] + 1)
                values += [whole.value_of(i) for i in range(len(whole))]
    return values
