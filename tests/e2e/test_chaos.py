"""Three workers on three brokers, hurt every few seconds: what comes out is what an undisturbed fold gives, once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from chaos import SESSION_TIMEOUT_S, Chaos
from chaos_load import DAY_MS, HOUR_MS, PARTITIONS, START_MS, STEP_MS, Load
from driftline_process import Place, create_topic, driftline, messages

from streamer.app.folds import open_archive
from streamer.config import load_config
from streamer.runtime.recovery import replay_unit
from streamer.testing.kafka_cluster import Cluster

DURATION_S = float(os.environ.get("DRIFTLINE_CHAOS_S", "120"))
SEED = int(os.environ.get("DRIFTLINE_CHAOS_SEED", "1"))
PER_SECOND = 1500
NAIVE_S = 30.0
PATIENCE_S = 180
ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}  # brokers check no producer's clock, as before Kafka 3.6
OUTPUT_TIMES = {"requests": ["requested_at"], "incidents": ["opened_at", "last_alert_at"], "decisions": ["at"]}

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(DURATION_S + 600)]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


def place_on(cluster: Cluster, folder: Path) -> Place:
    """Topics, a group and a configuration with a short session, small epochs and frequent checkpoints."""
    place = Place(
        cluster.bootstrap,
        folder,
        partitions=PARTITIONS,
        labels=f"labels.{folder.name}",
        settings=ANY_TIME,
        extra=(
            "detectors: {adwin: {delta: 1.0e-4}, ks_window: {window: 200, reference_size: 200}}\n"
            "retrain: {min_events_after_onset: 100, cooldown_s: 600}\ncheckpoints: {interval_s: 5}\n"
        ),
    )
    text = place.config.read_text()
    place.config.write_text(text.replace("kafka: {", f"kafka: {{session_timeout_s: {SESSION_TIMEOUT_S}, ", 1))
    return place


def worker_command(place: Place, number: int) -> list[str]:
    run = [sys.executable, "-m", "streamer.cli", "run", "--no-supervise"]
    return [*run, "--config", str(place.config), "--worker", str(number)]


def wait_until_folded(place: Place, chaos: Chaos) -> dict[str, int]:
    """Until the histories stand still and reach all that was produced; returns the records folded by topic.

    It ends `PATIENCE_S` after the last progress: of a history, or of a worker that compiles its kernels and says so.
    """
    deadline, before = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < deadline:
        chaos.look_after()
        ends: dict[str, dict[str, int]] = {}
        for _, value, _ in place.read(place.outputs["epochs"]):
            epoch = json.loads(value)
            if epoch.get("number"):
                ends[epoch["unit"]] = epoch["ends"]
        folded = Counter[str]()
        for of in ends.values():
            folded.update(of)
        wanted = {topic: place.end(topic) for topic in (place.events, place.labels, place.outputs["alerts"])}
        if all(folded[topic] >= wanted[topic] for topic in (place.events, place.labels)) and _reaches(
            folded[place.outputs["alerts"]], wanted[place.outputs["alerts"]]
        ):
            return dict(folded)
        if (now := f"{folded} {[worker.log.stat().st_size for worker in chaos.workers]}") != before:
            deadline, before = time.monotonic() + PATIENCE_S, now
        time.sleep(1)
    raise AssertionError(f"not all is folded: {folded} of {wanted}")


def _reaches(folded: int, end: int) -> bool:
    return folded >= end - 1  # the last offset may be a transaction's marker


def outputs_of(place: Place) -> dict[str, Counter[tuple[bytes | None, bytes | None]]]:
    """What a read_committed reader sees in each output topic, with how often."""
    topics = [place.outputs[what] for what in ("alerts", "watermarks", "incidents", "requests", "decisions")]
    ours = [place.outputs[what] for what in ("alerts", "control", "watermarks")]
    topics += [f"{topic}-dlt" for topic in (place.events, place.labels, *ours)]
    return {topic: Counter((key, value) for key, value, _ in place.read(topic)) for topic in topics}


def folded_offline(place: Place) -> dict[str, Counter[tuple[bytes | None, bytes | None]]]:
    """What comes of folding the topics in this process, along the recorded cuts, from the very beginning."""
    found: dict[str, Counter[tuple[bytes | None, bytes | None]]] = {}
    with open_archive(load_config(str(place.config))) as (recoveries, units):
        for name in units:
            for one in replay_unit(recoveries[0], recoveries[0].unit(name)):
                for output in one.outputs:
                    found.setdefault(output.topic, Counter())[output.key, output.value] += 1
    return found


def longest_stall(place: Place) -> float:
    """Seconds for which no unit committed anything, while records came."""
    times = sorted(place.times(place.outputs["epochs"]))
    return max(later - earlier for earlier, later in pairwise(times)) / 1000


def times_of(place: Place, what: str, *fields: str) -> list[int]:
    """These times of the records of an output, in ms since 1970."""
    return [int(datetime.fromisoformat(one[name]).timestamp() * 1000) for one in place.jsons(what) for name in fields]


def check_times(place: Place, load: Load) -> None:
    """One producer's clock moves nobody's: no output is of a time that has not come, give or take what is granted."""
    newest_ms = START_MS + STEP_MS * load.produced
    assert max(times_of(place, "watermarks", "at")) <= newest_ms + DAY_MS
    for what, fields in OUTPUT_TIMES.items():
        ahead = [ms for ms in times_of(place, what, *fields) if ms > newest_ms + 2 * HOUR_MS]
        assert not ahead, f"{what} are of times that have not come: {ahead[:3]}, and it is {newest_ms}"


def test_everything_comes_out_exactly_once(cluster, tmp_path):
    """Killed, frozen, made zombies, on brokers that are killed: each output once, equal to the offline fold.

    So it is while the clock of a producer jumps, which no other model notices.
    """
    place = place_on(cluster, tmp_path)
    load = Load(cluster.bootstrap, {"predictions": place.events, "labels": place.labels}, PER_SECOND, SEED)
    chaos = Chaos(cluster, [worker_command(place, number) for number in range(3)], tmp_path, SEED)
    try:
        chaos.run(DURATION_S, load)
        load.finish()
        folded = wait_until_folded(place, chaos)
        assert chaos.stop() == [0, 0, 0]
    finally:
        chaos.close()
    visible, expected = outputs_of(place), folded_offline(place)
    lost = {topic: len(counts - visible[topic]) for topic, counts in expected.items()}
    extra = {topic: len(counts - expected.get(topic, Counter())) for topic, counts in visible.items()}
    print(f"\n{load.produced:,} records, {dict(chaos.happened)}, folded {folded}")
    print(f"longest time without a commit of any unit: {longest_stall(place):.1f} s")
    print({topic: counts.total() for topic, counts in visible.items()}, f"lost {lost}, too many {extra}")
    assert not any(lost.values())
    assert not any(extra.values())
    check_times(place, load)
    assert folded[place.events] + folded[place.labels] == load.produced
    ours = {f"{place.outputs[what]}-dlt" for what in ("alerts", "control", "watermarks")}
    may_be_empty = {f"{place.labels}-dlt", place.outputs["decisions"], *ours}
    assert all(counts.total() for topic, counts in visible.items() if topic not in may_be_empty)
    assert chaos.happened["worker killed"] > 0
    assert chaos.happened["broker killed"] > 0
    driftline("verify", "--config", str(place.config))


def test_a_worker_without_the_rules_does_not(cluster, tmp_path):
    """Hurt in the same way, workers that copy records and let the client commit lose some, or copy some twice."""
    source, copies = f"source.{tmp_path.name}", f"copies.{tmp_path.name}"
    for topic in (source, copies):
        create_topic(cluster.bootstrap, topic, PARTITIONS, **ANY_TIME)
    load = Load(cluster.bootstrap, {"predictions": source, "labels": source}, PER_SECOND, SEED)
    script = str(Path(__file__).with_name("naive_worker.py"))
    command = [sys.executable, script, cluster.bootstrap, source, copies, f"group.{tmp_path.name}"]
    chaos = Chaos(cluster, [command] * 3, tmp_path, SEED)
    try:
        chaos.run(NAIVE_S, load)
        load.finish()
        time.sleep(2 * SESSION_TIMEOUT_S)
    finally:
        chaos.close()
    copied = Counter(message.value() for message in messages(cluster.bootstrap, copies))
    lost, repeated = load.produced - len(copied), copied.total() - len(copied)
    print(f"\n{load.produced:,} records, {dict(chaos.happened)}: lost {lost:,}, copied twice {repeated:,}")
    assert lost + repeated > 0
