"""One class for each detector of this package, with its settings as keywords.

    from detectors import ShiryaevRoberts

    d = ShiryaevRoberts(arl0=1e6, reference=train["fare"])

`detector(name, ...)` also makes those of plug-ins. A test compares the signatures with the settings.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal

from numpy.typing import ArrayLike

from detectors.notebook.single import SingleDetector
from detectors.registry import DETECTORS, settings_of


class NamedDetector(SingleDetector):
    """A detector whose class has its name: `detector_name` in the registry."""

    detector_name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Take over what the settings say of themselves, so that `help` shows it."""
        about = inspect.getdoc(DETECTORS[cls.detector_name].settings) or ""
        cls.__doc__ = f"{cls.__doc__}\n\n{about}"

    def __init__(self, reference: ArrayLike | None = None, **settings: Any) -> None:
        super().__init__(self.detector_name, settings_of(self.detector_name, **settings), reference)

    def _called(self, options: str) -> str:
        return f"{type(self).__name__}({options})"


class ShiryaevRoberts(NamedDetector):
    """Detector of any change of the law of a number, at a stated rate of false alarms."""

    detector_name: ClassVar[str] = "shiryaev_roberts"

    def __init__(
        self,
        *,
        arl0: float = 100000.0,
        reference_size: int = 2000,
        tolerance: float = 0.0,
        reference: ArrayLike | None = None,
    ) -> None:
        super().__init__(reference, arl0=arl0, reference_size=reference_size, tolerance=tolerance)


class Adwin(NamedDetector):
    """Detector of a change in the mean of a number, by a window of adaptive length."""

    detector_name: ClassVar[str] = "adwin"

    def __init__(
        self,
        *,
        delta: float = 1e-06,
        clock: int = 32,
        max_buckets: int = 5,
        min_window_length: int = 5,
        grace_period: int = 10,
        levels: int = 13,
    ) -> None:
        super().__init__(
            delta=delta,
            clock=clock,
            max_buckets=max_buckets,
            min_window_length=min_window_length,
            grace_period=grace_period,
            levels=levels,
        )


class KsWindow(NamedDetector):
    """Detector of the last values of a number against a reference, tested exactly at every value."""

    detector_name: ClassVar[str] = "ks_window"

    def __init__(
        self,
        *,
        window: int = 500,
        reference_size: int = 500,
        alpha: float = 1e-07,
        sliding: bool = False,
        reference: ArrayLike | None = None,
    ) -> None:
        super().__init__(reference, window=window, reference_size=reference_size, alpha=alpha, sliding=sliding)


class CategoryRates(NamedDetector):
    """Detector of the share of any category, at a stated rate of false alarms."""

    detector_name: ClassVar[str] = "category_rates"

    def __init__(
        self,
        *,
        baseline_size: int = 1000,
        tolerance: float = 0.01,
        arl0: float = 1000000.0,
        categories_max: int = 15,
        reference_size: int = 2000,
        reference: ArrayLike | None = None,
    ) -> None:
        super().__init__(
            reference,
            baseline_size=baseline_size,
            tolerance=tolerance,
            arl0=arl0,
            categories_max=categories_max,
            reference_size=reference_size,
        )


class CategoryWindow(NamedDetector):
    """Detector of the categories of the last values against a reference."""

    detector_name: ClassVar[str] = "category_window"

    def __init__(
        self,
        *,
        window: int = 500,
        reference_size: int = 500,
        alpha: float = 1e-07,
        categories_max: int = 32,
        reference: ArrayLike | None = None,
    ) -> None:
        super().__init__(
            reference, window=window, reference_size=reference_size, alpha=alpha, categories_max=categories_max
        )


class Rate(NamedDetector):
    """Detector of a rise in the rate of ones, at a stated rate of false alarms."""

    detector_name: ClassVar[str] = "rate"

    def __init__(
        self,
        *,
        baseline_size: int = 1000,
        tolerance: float = 0.01,
        arl0: float = 1000000000.0,
        reference: ArrayLike | None = None,
    ) -> None:
        super().__init__(reference, baseline_size=baseline_size, tolerance=tolerance, arl0=arl0)


class Joint(NamedDetector):
    """Detector of correlations between the columns of a row."""

    detector_name: ClassVar[str] = "joint"

    def __init__(self, *, arl0: float = 1000000.0, columns: int = 12, block: int = 24) -> None:
        super().__init__(arl0=arl0, columns=columns, block=block)


class PageHinkley(NamedDetector):
    """Detector of the Page-Hinkley test of river."""

    detector_name: ClassVar[str] = "page_hinkley"

    def __init__(
        self,
        *,
        min_instances: int = 30,
        delta: float = 0.005,
        threshold: float = 50.0,
        alpha: float = 0.9999,
        mode: Literal["up", "down", "both"] = "both",
    ) -> None:
        super().__init__(min_instances=min_instances, delta=delta, threshold=threshold, alpha=alpha, mode=mode)


class Kswin(NamedDetector):
    """Detector of KSWIN of river."""

    detector_name: ClassVar[str] = "kswin"

    def __init__(self, *, alpha: float = 0.005, window_size: int = 100, stat_size: int = 30, seed: int = 1) -> None:
        super().__init__(alpha=alpha, window_size=window_size, stat_size=stat_size, seed=seed)


class Ddm(NamedDetector):
    """Detector of DDM of river, of errors."""

    detector_name: ClassVar[str] = "ddm"

    def __init__(self, *, warm_start: int = 30, warning_threshold: float = 2.0, drift_threshold: float = 3.0) -> None:
        super().__init__(warm_start=warm_start, warning_threshold=warning_threshold, drift_threshold=drift_threshold)


class Eddm(NamedDetector):
    """Detector of EDDM of river, of errors."""

    detector_name: ClassVar[str] = "eddm"

    def __init__(self, *, warm_start: int = 30, alpha: float = 0.95, beta: float = 0.9) -> None:
        super().__init__(warm_start=warm_start, alpha=alpha, beta=beta)


class Fhddm(NamedDetector):
    """Detector of FHDDM of river, of errors."""

    detector_name: ClassVar[str] = "fhddm"

    def __init__(
        self, *, sliding_window_size: int = 100, confidence_level: float = 1e-06, short_window_size: int | None = None
    ) -> None:
        super().__init__(
            sliding_window_size=sliding_window_size,
            confidence_level=confidence_level,
            short_window_size=short_window_size,
        )


class HddmA(NamedDetector):
    """Detector of HDDM_A of river, of errors."""

    detector_name: ClassVar[str] = "hddm_a"

    def __init__(
        self, *, drift_confidence: float = 0.001, warning_confidence: float = 0.005, two_sided_test: bool = False
    ) -> None:
        super().__init__(
            drift_confidence=drift_confidence, warning_confidence=warning_confidence, two_sided_test=two_sided_test
        )


class HddmW(NamedDetector):
    """Detector of HDDM_W of river, of errors."""

    detector_name: ClassVar[str] = "hddm_w"

    def __init__(
        self,
        *,
        drift_confidence: float = 0.001,
        warning_confidence: float = 0.005,
        lambda_val: float = 0.05,
        two_sided_test: bool = False,
    ) -> None:
        super().__init__(
            drift_confidence=drift_confidence,
            warning_confidence=warning_confidence,
            lambda_val=lambda_val,
            two_sided_test=two_sided_test,
        )
