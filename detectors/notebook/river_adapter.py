"""Detectors of this package for pipelines of the library river: `RiverDetector` is a `river.base.DriftDetector`.

>>> from river import drift, linear_model
>>> model = drift.DriftRetrainingClassifier(linear_model.LogisticRegression(), RiverDetector("hddm_w"))
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from river.base import DriftAndWarningDetector, Estimator

from detectors.notebook.single import SingleDetector, detector


class RiverDetector(DriftAndWarningDetector, Estimator):
    """A detector of the registry under river's interface: `update`, `drift_detected`, `clone`.

    name: of the detector.
    settings: those that differ from its defaults.
    reference: a sample of training data, where the detector takes one.

    It passes river's `check_estimator`, which is made for estimators; river's own detectors are none.

    It gives no warnings: `warning_detected` is always False.

    `detector` is the detector itself, with its state. ValueError as `detectors.detector`.
    """

    def __init__(
        self, name: str = "adwin", settings: dict[str, Any] | None = None, reference: ArrayLike | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.reference = reference
        self.detector: SingleDetector = detector(name, reference=reference, **(settings or {}))

    @property
    def drift_detected(self) -> bool:
        """Whether the latest value raised an alarm."""
        return self.detector.drift_detected

    def update(self, x: float) -> None:
        """Process the next value."""
        self.detector.update(x)

    @classmethod
    def _unit_test_params(cls) -> Any:
        """What river's checks try."""
        yield {"name": "adwin"}
        yield {"name": "shiryaev_roberts", "settings": {"arl0": 1e6}}
        yield {"name": "ks_window", "reference": np.linspace(0.0, 1.0, 50).tolist()}
