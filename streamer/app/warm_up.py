"""Warm-up while a worker joins its group: compiles kernels and imports what the detectors need."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Thread
from typing import Any

import numpy as np

from detectors.registry import bank


def warm_up(detectors: Mapping[str, Any]) -> Thread:
    """Start a thread that feeds one value to each of these detectors (name -> settings)."""

    def feed_a_value() -> None:
        first = np.zeros(1, np.int64)
        for name, settings in detectors.items():
            one = bank(name, settings, 1)
            one.update(first, np.zeros((1, settings.columns) if one.takes == "rows" else 1), first)

    thread = Thread(target=feed_a_value, name="warm-up", daemon=True)
    thread.start()
    return thread
