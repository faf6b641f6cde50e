"""The service in a simulated world, hurt wherever a seed says: what comes out is what an undisturbed fold gives.

`make sim SEEDS=1000 FIRST=0` runs any number; a seed that fails is printed, and runs again alone.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest

SEEDS = int(os.environ.get("DRIFTLINE_SIM_SEEDS", "2000"))
FIRST = int(os.environ.get("DRIFTLINE_SIM_FIRST", "0"))
PART = 50  # seeds a process is given at once
PLANTED_SEEDS_MAX = 1000  # within so many, a bug must be noticed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 + SEEDS)]


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
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for what, problems in pool.map(live, *zip(*parts, strict=True)):
            happened += what
            wrong += problems
    print(f"\n{SEEDS:,} simulations from seed {FIRST}: {dict(sorted(happened.items()))}")
    assert not wrong, "\n".join(["these seeds fail:", *wrong])
    if SEEDS >= PART:
        assert happened["driftline.alerts"] > 0
        assert happened["driftline.retrain-requests"] > 0


def planted() -> list[object]:
    from sim_planted import PLANTED

    return list(PLANTED)


@pytest.mark.parametrize("bug", planted(), ids=lambda bug: bug.__name__)
def test_a_bug_is_noticed(bug, caplog):
    """Each kind of mistake, planted, makes some seed fail."""
    from sim_plan import Plan
    from sim_schedule import simulate

    logging.disable(logging.CRITICAL)
    try:
        for seed in count():
            assert seed < PLANTED_SEEDS_MAX, f"{bug.__name__} was not noticed"
            with bug():
                try:
                    simulate(Plan.of(seed))
                except Exception as noticed:  # however it shows
                    print(f"{bug.__name__}: seed {seed}: {type(noticed).__name__}: {str(noticed)[:120]}")
                    return
    finally:
        logging.disable(logging.NOTSET)
