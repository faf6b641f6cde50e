"""The service in a simulated world, hurt wherever a seed says: what comes out is what an undisturbed fold gives.

`make sim SEEDS=1000 FIRST=0` runs any number; a seed that fails is printed, and runs again alone.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

SEEDS = int(os.environ.get("DRIFTLINE_SIM_SEEDS", "2000"))
FIRST = int(os.environ.get("DRIFTLINE_SIM_FIRST", "0"))
PART = 50  # seeds a process is given at once
PLANTED_SEEDS_MAX = 2000  # within so many, a bug must be noticed; the rarest is at seed 1,067

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 + SEEDS)]


def processes() -> ProcessPoolExecutor:
    """As many as there are cores, each with this folder on its path."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


def live(first: int, seeds: int) -> tuple[Counter[str], list[str]]:
    """What happened in these simulations, and what was wrong. In a process of its own: seeds share nothing."""
    from sim_plan import Plan
    from sim_schedule import simulate

    logging.disable(logging.CRITICAL)
    happened: Counter[str] = Counter()
    wrong = []
    for seed in range(first, first + seeds):
        try:
            found, what = simulate(Plan.of(seed))
            happened += found + what
        except Exception as error:  # whatever it is, this seed has found it
            wrong.append(f"make sim SEEDS=1 FIRST={seed}    # {type(error).__name__}: {str(error)[:300]}")
    return happened, wrong


def test_outputs_equal_the_uninterrupted_fold():
    """Crashes at any call, zombies, rebalances, faults, torn checkpoints, gaps, deadly records, changed settings."""
    happened: Counter[str] = Counter()
    wrong: list[str] = []
    parts = [(first, min(PART, FIRST + SEEDS - first)) for first in range(FIRST, FIRST + SEEDS, PART)]
    with processes() as pool:
        for what, problems in pool.map(live, *zip(*parts, strict=True)):
            happened += what
            wrong += problems
    print(f"\n{SEEDS:,} simulations from seed {FIRST}: {dict(sorted(happened.items()))}")
    assert not wrong, "\n".join(["these seeds fail:", *wrong])
    if SEEDS >= PART:
        assert happened["driftline.alerts"] > 0
        assert happened["driftline.watermarks"] > 0
        assert happened["driftline.retrain-requests"] > 0


def planted() -> list[str]:
    from sim_planted import PLANTED

    return [bug.__name__ for bug in PLANTED]


def noticed(name: str) -> str | None:
    """Which seed fails, and how, when this mistake is planted; None when none does. In a process of its own."""
    import sim_planted
    from sim_plan import Plan
    from sim_schedule import simulate

    logging.disable(logging.CRITICAL)
    bug = getattr(sim_planted, name)
    kinds = sim_planted.PLANTED[bug]
    for seed in (seed for seed in range(PLANTED_SEEDS_MAX) if not kinds or Plan.of(seed).kind in kinds):
        with bug():
            try:
                simulate(Plan.of(seed))
            except Exception as problem:  # however it shows
                return f"seed {seed}: {type(problem).__name__}: {str(problem)[:120]}"
    return None


@pytest.fixture(scope="module")
def notices():
    """For each mistake, what `noticed` says, or will say."""
    with processes() as pool:
        yield {name: pool.submit(noticed, name) for name in planted()}


@pytest.mark.parametrize("bug", planted())
def test_a_bug_is_noticed(bug, notices):
    """Each kind of mistake, planted, makes some seed fail."""
    found = notices[bug].result()
    print(f"{bug}: {found}")
    assert found
