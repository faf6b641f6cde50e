"""What must have come of it: every unit's epochs, folded once more by fresh folds from the first record on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from sim_cluster import Cluster, Spot
from sim_folds import PROBE_TOPIC, ProbedFolds

from streamer.app.folds import ConfiguredFolds
from streamer.config import Config
from streamer.contracts.event_clock import STEP_MS
from streamer.eventlog.base import Epoch, Output, Records, Start
from streamer.eventlog.headers import Headers
from streamer.eventlog.history import Gap, SettingsNote, decode_entry
from streamer.eventlog.kafka.commit import owner_header
from streamer.eventlog.units import digest, partition_of

FLEET_AHEAD_MS = 2 * 3_600_000 + 600_000  # what skew grants events and records, and the input's own pace

Row = tuple[str, bytes | None, bytes | None, Headers]  # topic, key, value, headers


@dataclass
class Life:
    """What a unit has done between two gaps, as anyone can read it."""

    starts: dict[str, int]
    epochs: list[Epoch] = field(default_factory=list)

    def ends(self) -> dict[str, int]:
        return self.starts | dict(self.epochs[-1].ends if self.epochs else {})


@dataclass
class History:
    """All lives of a unit; of epochs with one number the first counts."""

    unit: str
    lives: list[Life]
    repeated: int = 0  # epochs whose number had been before
    texts: dict[str, str] = field(default_factory=dict)  # fingerprint -> settings

    @property
    def epochs(self) -> list[Epoch]:
        return [epoch for life in self.lives for epoch in life.epochs]


def history(cluster: Cluster, config: Config, unit: str) -> History:
    partition = 0 if unit == "decide" else partition_of(unit) + 1
    past = History(unit, [Life({})])
    number = 0
    for offset, entry in cluster.partitions[config.outputs.epochs, partition].visible(0):
        match decode_entry(entry.value, offset):
            case Start() as start:
                past.lives[-1].starts = start.starts | past.lives[-1].starts
            case SettingsNote() as note:
                past.texts[note.fingerprint] = note.text
            case Gap() as gap:
                past.lives.append(Life(dict(gap.starts)))
            case Epoch() as epoch if epoch.number <= number:
                past.repeated += 1
            case Epoch() as epoch:
                assert epoch.number == number + 1, f"{unit} lacks epochs before {epoch}"
                number = epoch.number
                past.lives[-1].epochs.append(epoch)
    return past


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
    folds = ProbedFolds(config, deadly=False)
    outputs: list[Output] = []
    for life in past.lives:
        before = life.starts
        settings = life.epochs[0].settings if life.epochs else ""
        fold = folds.fresh(past.unit, past.texts.get(settings, folds.settings))
        for epoch in life.epochs:
            if epoch.settings != settings:
                settings = epoch.settings
                fold, _ = folds.moved(past.unit, fold, past.texts[settings])
            aside: list[Output] = []
            records = []
            for topic, end in epoch.ends.items():
                whole = stretch(cluster, (topic, partition_of(past.unit)), before.get(topic, 0), end)
                out = np.isin(whole.offset, epoch.set_aside.get(topic, ()))
                aside += [fold.to_dead_letter(whole, i) for i in np.flatnonzero(out).tolist()]
                records += [whole.part(i, i + 1) for i in range(len(whole)) if not out[i]] if out.any() else [whole]
            found = aside + fold.step(records)
            assert (epoch.outputs, epoch.digest) == (len(found), digest(found)), f"{epoch} gives other outputs offline"
            outputs += found
            before = {**before, **epoch.ends}
    return outputs


def rows_of(outputs: Sequence[Output], group: str) -> list[Row]:
    """The outputs as the service of this group writes them."""
    owner = owner_header(group)
    return [(o.topic, o.key, o.value, (*((k, v or b"") for k, v in o.headers), owner)) for o in outputs]


def check(cluster: Cluster, config: Config, units: Sequence[str], topics: Sequence[str]) -> Counter[str]:
    """Raises AssertionError where outputs are not those of the epochs; returns how much there was of each topic."""
    exactly_once = config.kafka.delivery == "exactly_once"
    expected: Counter[Row] = Counter()
    found = [(t, e.key, e.value, e.headers) for t in topics for _, e in cluster.partitions[t, 0].visible(0)]
    counted = Counter(found)
    for unit in units:
        past = history(cluster, config, unit)
        assert not (exactly_once and past.repeated), f"{unit} has epochs twice"
        rows = rows_of(unfold(cluster, config, past), config.kafka.group)
        expected += Counter(rows)
        here = set(rows)
        for topic in topics if exactly_once else ():
            mine = [row for row in found if row[0] == topic and row in here]
            assert mine == [row for row in rows if row[0] == topic], f"{unit}: other order in {topic}"
        for topic, end in past.lives[-1].ends().items():
            at = cluster.offsets.get((topic, partition_of(unit)))
            # At least once, a note is in the history before its offsets are: a crash in between leaves none, until an
            # epoch folds something of the topic.
            folded = any(topic in epoch.ends for epoch in past.lives[-1].epochs)
            assert at == end or (at is None and not exactly_once and not folded), (
                f"{unit} committed {at} of {topic} and folded up to {end}"
            )
    assert not expected - counted, f"lost: {expected - counted}"
    assert not set(counted) - set(expected), f"nobody's: {set(counted) - set(expected)}"
    assert not (exactly_once and counted - expected), f"repeated: {counted - expected}"
    return Counter(row[0] for row in found)


def check_times(cluster: Cluster, config: Config, partitions: int) -> None:
    """No output is of a time that has not come, give or take what clocks may differ by: one producer's moves nobody's.

    Where a unit has one model alone, its watermarks are that model's. Decide does not take those for the time.
    """
    for topic, fields, ahead_ms in (
        (config.outputs.requests, ("requested_at",), FLEET_AHEAD_MS),
        (config.outputs.incidents, ("opened_at", "last_alert_at"), FLEET_AHEAD_MS),
        (config.outputs.decisions, ("at",), FLEET_AHEAD_MS),
        (config.outputs.watermarks, ("at",) if partitions == 1 else (), STEP_MS + FLEET_AHEAD_MS),
    ):
        for _, entry in cluster.partitions[topic, 0].visible(0):
            found = json.loads(entry.value or b"{}")
            for name in fields:
                ms = datetime.fromisoformat(found[name]).timestamp() * 1000
                assert ms <= cluster.now_ms() + ahead_ms, f"{topic} is {found[name]}, which has not come yet"


def set_aside(cluster: Cluster, config: Config, units: Sequence[str]) -> list[bytes | None]:
    """The values of the records that were set aside."""
    values: list[bytes | None] = []
    for unit in units:
        for epoch in history(cluster, config, unit).epochs:
            for topic, offsets in epoch.set_aside.items():
                whole = stretch(cluster, (topic, partition_of(unit)), offsets[0], offsets[-1] + 1)
                values += [whole.value_of(i) for i in range(len(whole))]
    return values


def check_uninterrupted(cluster: Cluster, config: Config, unit: str) -> None:
    """With one topic, the unit's outputs must be those of one fold over all there is, whatever happened meanwhile."""
    past = history(cluster, config, unit)
    topic = config.outputs.alerts if unit == "decide" else next(iter(config.topics))
    spot = topic, partition_of(unit)
    aside = [offset for epoch in past.epochs for offset in epoch.set_aside.get(topic, ())]
    whole = stretch(cluster, spot, 0, cluster.partitions[spot].end)
    folds = ConfiguredFolds(config)
    kept = [whole.part(i, i + 1) for i in range(len(whole)) if whole.offset[i] not in aside]
    golden = folds.fresh(unit, folds.settings).step(kept)
    found = [
        output
        for output in unfold(cluster, config, past)
        if output.topic != PROBE_TOPIC and ("__driftline.errors.reason", b"poison_record") not in output.headers
    ]
    assert found == golden, f"{unit} gives other outputs than one fold over everything"
