"""What kind of world a seed gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

DAY_MS = 86_400_000
JUMPS_MS = (3_600_000, 3 * DAY_MS, 30 * DAY_MS, 3650 * DAY_MS, -10_000 * DAY_MS)


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation before it begins: all that is drawn from its seed at once."""

    seed: int
    kind: str = "crashes"
    delivery: str = "exactly_once"
    workers: int = 1
    partitions: int = 1
    labels: bool = True
    events: int = 200
    interval_s: float = 0.0  # between commits
    actions: int = 60  # before it is left in peace to come to its end
    kills: float = 1.0  # how often, in relation to what else happens
    zombies: float = 0.0
    faults: float = 0.0  # the share of calls to the cluster that fail
    deadly: int = 0  # records that kill
    checkpoint_s: float | None = None  # between checkpoints; None: there are none
    damage: float = 0.0  # to checkpoints
    changes: float = 0.0  # the share of starts with other settings than before
    forgets: float = 0.0  # how often records are deleted
    jump_ms: int = 0  # by which the clock of one model's producer jumps, for a while
    jump_has_time: bool = True  # whether it dates its records as well; else they have no time

    @classmethod
    def of(cls, seed: int) -> Plan:
        random = Random(f"{seed} plan")
        plan = cls(
            seed,
            random.choice(list(KINDS)),
            delivery=random.choice(["exactly_once", "exactly_once", "at_least_once"]),
            partitions=random.choice([1, 2, 3]),
            labels=random.random() < 0.7,
            events=random.choice([60, 120, 240]),
            interval_s=random.choice([0.0, 0.0, 0.5, 2.0]),
            actions=random.choice([20, 60, 120]),
            kills=random.choice([0.2, 1.0, 3.0]),
            faults=random.choice([0.0, 0.0, 0.002, 0.01]),
            checkpoint_s=random.choice([None, 0.1, 5.0]),
            damage=random.choice([0.0, 0.3]),
        )
        clock = Random(f"{seed} clock")
        jump_ms = clock.choice([0, 0, 0, *JUMPS_MS])
        plan = replace(plan, jump_ms=jump_ms, jump_has_time=clock.random() < 0.5)
        return replace(plan, **KINDS[plan.kind](random))


KINDS = {
    "crashes": lambda _: {},
    "faults": lambda random: {"faults": random.choice([0.01, 0.03]), "workers": random.choice([1, 2])},
    "group": lambda random: {
        "workers": random.choice([2, 3]),
        "kills": 0.3,
        "zombies": random.choice([0.5, 1.5]),
        "actions": 120,
    },
    "deadly": lambda random: {
        "workers": random.choice([1, 1, 2]),
        "deadly": random.choice([1, 2]),
        "kills": 0.0,
        "faults": 0.0,
    },
    "changes": lambda random: {"workers": random.choice([1, 2]), "changes": 0.5},
    # Exactly once: at least once, outputs that are not out yet when their records are deleted can't be made again.
    "gaps": lambda random: {"workers": random.choice([1, 2]), "forgets": 1.0, "delivery": "exactly_once"},
}
