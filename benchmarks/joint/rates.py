"""False alarms of `joint` as a multiple of those asked for: `python -m benchmarks.joint.rates` measures the table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.joint.streams import CONTROLS, ROWS, STREAMS
from benchmarks.page import written
from detectors.joint.bank import JointBank, JointSettings

ARL0 = 1e4  # rows between false alarms, as asked
SEEDS = 10  # times that each law is drawn
COLUMNS = ("rows", "2 columns", "12 columns")


def ratio(name: str, columns: int) -> str:
    """Alarms raised over alarms asked for; every seed is a stretch of the same streams."""
    bank = JointBank(JointSettings(arl0=ARL0, columns=columns), STREAMS)
    rows = np.tile(np.arange(STREAMS), ROWS)
    raised = 0
    for seed in range(SEEDS):
        x = CONTROLS[name](np.random.default_rng(seed), columns)
        raised += len(bank.update(rows, x.reshape(-1, columns), rows))
    return f"{raised * ARL0 / (SEEDS * ROWS * STREAMS):.2f}"


def lines() -> Iterator[list[str]]:
    for name in CONTROLS:
        if "null" not in name:  # which names one of twelve columns
            yield [name, ratio(name, 2), ratio(name, 12)]


def main() -> None:
    written("joint rates", COLUMNS, lines())


if __name__ == "__main__":
    main()
