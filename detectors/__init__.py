"""Drift detectors: numbers in, alarms out, for one series or a hundred thousand.

    from detectors import detector

    d = detector("adwin", delta=0.002)
    if d.update(x):
        print(d.onset, d.effect)

`base.py` says what a detector is, `registry.py` which there are. Importing this package is cheap; numba comes with the
first detector made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detectors.single import SingleDetector, detector

__all__ = ["SingleDetector", "detector"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from detectors import single

        return getattr(single, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
