"""Drift detectors: numbers in, alarms out, for one series or a hundred thousand.

    from detectors import detector

    d = detector("adwin", delta=0.002)
    if d.update(x):
        print(d.onset, d.effect)

Public: `detector` (one series, by name), one class a detector (`Adwin`, `KsWindow`, ...), `ColumnDetectors` (a frame),
`RiverDetector` (for pipelines of river), `class_scores` and `calibration`; `base` (the interface of a bank), `registry`
(the table of detectors), `checks` (what a bank must pass), `plugins` (detectors of other packages), `reference`
(training samples).

Rooms: `shiryaev_roberts`, `rate` and `categories` run by default; `adwin`, `ks`, `joint` and `river` where a
configuration names them. `delivery` and `segment_gap.py` detect more than drift of one column, `recovery` ends alerts,
and `profile` sums up intervals.
`series` numbers series and locates their events. `arrays` holds what all of them share: storage, kernels, the loop of
`update`. Importing this package is cheap; the first detector imports numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detectors.notebook.columns import ColumnDetectors
    from detectors.notebook.named import (
        Adwin,
        CategoryRates,
        CategoryWindow,
        Ddm,
        Eddm,
        Fhddm,
        HddmA,
        HddmW,
        Joint,
        Kswin,
        KsWindow,
        PageHinkley,
        Rate,
        ShiryaevRoberts,
    )
    from detectors.notebook.single import SingleDetector, detector
    from detectors.profile.classes import calibration, class_scores

__all__ = [
    "Adwin",
    "CategoryRates",
    "CategoryWindow",
    "ColumnDetectors",
    "Ddm",
    "Eddm",
    "Fhddm",
    "HddmA",
    "HddmW",
    "Joint",
    "KsWindow",
    "Kswin",
    "PageHinkley",
    "Rate",
    "RiverDetector",
    "ShiryaevRoberts",
    "SingleDetector",
    "calibration",
    "class_scores",
    "detector",
]
_ELSEWHERE = {
    "ColumnDetectors": "notebook.columns",
    "RiverDetector": "notebook.river_adapter",
    "SingleDetector": "notebook.single",
    "calibration": "profile.classes",
    "class_scores": "profile.classes",
    "detector": "notebook.single",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"detectors.{_ELSEWHERE.get(name, 'notebook.named')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
