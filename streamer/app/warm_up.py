"""What the first record would wait for, loaded while a worker joins its group: kernels, and what detectors import."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Thread
from typing import Any

import numpy as np

from detectors.registry import bank


def warm_up(detectors: Mapping[str, Any]) -> Thread:
    """Begin, in a thread of its own, to let each of these detectors (name -> settings) see a value."""

    def see_a_value() -> None:
        first = np.zeros(1, np.int64)
        for name, settings in detectors.items():
            one = bank(name, settings, 1)
            one.update(first, np.zeros((1, settings.columns) if one.takes == "rows" else 1), first)

    thread = Thread(target=see_a_value, name="warm-up", daemon=True)
    thread.start()
    return thread
