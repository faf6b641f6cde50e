"""What producers write in a simulation: a small fleet, half of it drifting to and fro, and what goes wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from sim_folds import MAGIC
from sim_plan import Plan

from streamer.config import Config

START_MS = 1_782_889_200_000
MODELS = 4
SKEW_MS = 2000


@dataclass(frozen=True, slots=True)
class Planned:
    """A record to be written some time, by a producer whose clock is off by so much."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    skew_ms: int
    has_time: bool = True  # else its record time is -1


def config(plan: Plan, delta: float = 0.01) -> Config:
    """Detectors that are quick to alarm, so that a few hundred records bring alerts, incidents and requests."""
    sections = {
        "kafka": {"bootstrap": ["simulated:9092"], "group": "group", "delivery": plan.delivery},
        "topics": {topic: {"format": "json"} for topic in ("predictions", "labels")[: 1 + plan.labels]},
        "detectors": {"adwin": {"delta": delta}, "ks_window": {"window": 12, "reference_size": 12, "alpha": 0.01}},
        "retrain": {"min_events_after_onset": 8},
        "commit": {"interval_s": plan.interval_s, "on_gap": "degrade" if plan.forgets else "fail"},
    }
    return Config.model_validate_json(json.dumps(sections))


def jumps(plan: Plan) -> tuple[int, range]:
    """Which model's producer has a wrong clock, and for which events. None is the first of its unit."""
    random = Random(f"{plan.seed} jump")
    first = random.randrange(20, max(21, plan.events // 2))
    return random.randrange(MODELS), range(first, first + random.choice([1, 5, plan.events]) if plan.jump_ms else first)


def events(random: Random, plan: Plan) -> list[Planned]:
    """In order of writing. Models stay on their partitions; so many records kill the process that folds them."""
    planned: list[Planned] = []
    count, partitions = plan.events, plan.partitions
    kills = set(random.sample(range(count), plan.deadly))
    wrong, while_wrong = jumps(plan)
    for i in range(count):
        m = random.randrange(MODELS)
        skew_ms = random.randint(-SKEW_MS, SKEW_MS) if random.random() < 0.02 else 0
        at_ms = START_MS + 1000 * i - (60_000 if random.random() < 0.02 else 0)  # late
        jump_ms = plan.jump_ms if m == wrong and i in while_wrong else 0
        at_ms, skew_ms, has_time = at_ms + jump_ms, skew_ms + jump_ms, plan.jump_has_time or not jump_ms
        of = {"model_id": f"m{m}", "prediction_id": str(i), "event_time": at_ms}
        x = random.gauss(0, 1) + 4 * (m % 2 and 4 * i // count % 2)
        event = Planned(
            "predictions", m % partitions, None, json.dumps(of | {"prediction": x}).encode(), skew_ms, has_time
        )
        planned += [event] * (2 if random.random() < 0.02 else 1)  # a producer tried again
        if random.random() < 0.03:
            broken = random.choice([b"{broken", b"", b'{"model_id": 7}', b"\xff\x00"])
            planned.append(Planned("predictions", random.randrange(partitions), b"k", broken, 0))
        if i in kills:
            topic = random.choice(("predictions", "labels")[: 1 + plan.labels])
            planned.append(Planned(topic, m % partitions, MAGIC, b'{"%s": 1}' % MAGIC, 0))
        if plan.labels and random.random() < 0.3:
            label = {**of, "prediction_id": str(max(i - random.choice([0, 3, 9, 40]), 0)), "label": x}
            planned.append(Planned("labels", m % partitions, None, json.dumps(label).encode(), skew_ms, has_time))
    return planned
