"""Profiles of a real service on a broker, killed on its way: published once, and those of a replay of its topic."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest
from driftline_process import Place, driftline, ends, running

from streamer.contracts.profiles import profile_objects, read_profiles

pytestmark = [pytest.mark.broker, pytest.mark.slow]

N, MODELS, PARTITIONS = 6000, 6, 3
FIRST_MS = int(time.time() * 1000) // 3_600_000 * 3_600_000 - N * 10_000


class Profiled(Place):
    """A place whose service publishes profiles of each hour."""

    def with_profiles(self) -> Profiled:
        self.profiles = f"{self.outputs['profiles']}.hourly"
        text = self.config.read_text().replace(self.outputs["profiles"], self.profiles)
        self.config.write_text(f"{text}profiles: {{interval_s: 3600, values_min: 20}}\n")
        return self

    def send(self, start: int, end: int) -> None:
        random = Random(start)
        rows = {p: [] for p in range(PARTITIONS)}
        for i in range(start, end):
            features = {"x": random.gauss(0.0, 1.0), "c": random.choice("abc"), "gap": random.choice([None, 1.0])}
            event = {"model_id": f"m{i % MODELS}", "event_time": FIRST_MS + 10_000 * i, "features": features}
            rows[i % PARTITIONS].append((FIRST_MS + 10_000 * i, json.dumps(event).encode()))
        for partition, stretch in rows.items():
            self.produce_at(self.events, partition, stretch)


@pytest.fixture
def place(kafka_broker, tmp_path) -> Profiled:
    return Profiled(kafka_broker.bootstrap, tmp_path, partitions=PARTITIONS, records_max=500).with_profiles()


def in_order(profiles: list[dict]) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in profiles)


def test_live_profiles_are_those_of_a_replay(place, tmp_path: Path):
    """Before the topic exists, `run` names the command that makes it. Each interval is published once, kill or not."""
    place.send(0, N // 2)
    said = ends("run", "--config", str(place.config), exit_code=3)
    assert f"lacks the output topic {place.profiles} (`driftline topics --config FILE --create` creates them)" in said
    driftline("topics", "--config", str(place.config), "--create")
    with running(place.config) as service:
        service.wait_for_records(place.events, 1000)
        service.kill()
    place.send(N // 2, N)
    place.run_to_end()
    published = place.read(place.profiles)
    assert len({key for key, _, _ in published}) == len(published) > 3 * 10
    live = [one for _, value, _ in published for one in profile_objects(read_profiles(value))]
    out = str(tmp_path / "events.parquet")
    driftline("record", "--config", str(place.config), "--until-end", "--out", out)
    lines = driftline("replay", out, "--config", str(place.config)).stdout.splitlines()
    replayed = [one for line in lines if (one := json.loads(line)).pop("type") == "profile"]
    assert in_order(live) == in_order(replayed)
    assert {one["column"] for one in live} == {"x", "c", "gap"}
