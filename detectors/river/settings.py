"""Settings of river's detectors, under river's names and with river's defaults.

River's own classes accept nearly anything and fail at the first value that shows it. Here a setting out of range is a
ValueError at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from detectors.arrays.bounds import require_inside

SIZE_MAX = 1 << 16  # values a window may hold
COUNT_MAX = 1 << 30
SEED_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class PageHinkleySettings:
    """Settings of Page-Hinkley, `river.drift.PageHinkley`: cumulative sums of the distance from the running mean.

    min_instances: values before the first decision, from 1.
    delta: distance from the mean that is ignored, in the column's units, from 0.
    threshold: sum at which drift is declared, in the column's units, above 0. River's 50 suits values of about 1.
    alpha: factor by which the sums fade at each value, in (0, 1].
    mode: `up`, `down` or `both`: the direction of shifts of the mean that are detected.
    """

    min_instances: int = 30
    delta: float = 0.005
    threshold: float = 50.0
    alpha: float = 1 - 0.0001
    mode: Literal["up", "down", "both"] = "both"

    def __post_init__(self) -> None:
        _whole(self, "page_hinkley", "min_instances", 1, COUNT_MAX)
        _require(0.0 <= self.delta < float("inf"), self, "page_hinkley", "delta", "be finite and not negative")
        _require(0.0 < self.threshold < float("inf"), self, "page_hinkley", "threshold", "be finite and above 0")
        _require(0.0 < self.alpha <= 1.0, self, "page_hinkley", "alpha", "lie above 0 and not above 1")
        _require(self.mode in ("up", "down", "both"), self, "page_hinkley", "mode", "be up, down or both")


@dataclass(frozen=True, slots=True)
class KswinSettings:
    """Settings of KSWIN, `river.drift.KSWIN`: the last values against as many drawn from the window before them.

    alpha: level of a single test, in (0, 1). Every value is tested, so it must be small.
    window_size: values in the window, 2 to 65,536.
    stat_size: values of each side of the test, from 1 to half of `window_size`.
    seed: seed of the random draws, from 0; the same for each series, and again after each alarm.
    """

    alpha: float = 0.005
    window_size: int = 100
    stat_size: int = 30
    seed: int = 1

    def __post_init__(self) -> None:
        require_inside(self, "kswin", alpha=(0, 1))
        _whole(self, "kswin", "window_size", 2, SIZE_MAX)
        _whole(self, "kswin", "stat_size", 1, self.window_size // 2)
        _whole(self, "kswin", "seed", 0, SEED_MAX)


@dataclass(frozen=True, slots=True)
class DdmSettings:
    """Settings of DDM, `river.drift.binary.DDM`: the share of errors against its least so far.

    warm_start: values before the first decision, from 1.
    warning_threshold: has no effect here, because warnings are not reported; above 0.
    drift_threshold: standard deviations above the least share at which drift is declared, above 0.
    """

    warm_start: int = 30
    warning_threshold: float = 2.0
    drift_threshold: float = 3.0

    def __post_init__(self) -> None:
        _whole(self, "ddm", "warm_start", 1, COUNT_MAX)
        for name in ("warning_threshold", "drift_threshold"):
            _require(0.0 < getattr(self, name) < float("inf"), self, "ddm", name, "be finite and above 0")


@dataclass(frozen=True, slots=True)
class EddmSettings:
    """Settings of EDDM, `river.drift.binary.EDDM`: the number of values between two errors against its greatest.

    warm_start: errors before the first decision, from 1.
    alpha: has no effect here, because warnings are not reported; at least `beta`, not above 1.
    beta: share of the greatest below which drift is declared, in (0, 1].
    """

    warm_start: int = 30
    alpha: float = 0.95
    beta: float = 0.9

    def __post_init__(self) -> None:
        _whole(self, "eddm", "warm_start", 1, COUNT_MAX)
        _require(0.0 < self.beta <= 1.0, self, "eddm", "beta", "lie above 0 and not above 1")
        _require(self.beta <= self.alpha <= 1.0, self, "eddm", "alpha", "lie between beta and 1")


@dataclass(frozen=True, slots=True)
class FhddmSettings:
    """Settings of FHDDM, `river.drift.binary.FHDDM`: the share of right values in a window against its greatest.

    sliding_window_size: values of the window, 1 to 65,536; it is judged once it is full.
    confidence_level: level of a single test, in (0, 1).
    short_window_size: values of a second, shorter window, 1 to `sliding_window_size`; null for none.
    """

    sliding_window_size: int = 100
    confidence_level: float = 0.000001
    short_window_size: int | None = None

    def __post_init__(self) -> None:
        _whole(self, "fhddm", "sliding_window_size", 1, SIZE_MAX)
        require_inside(self, "fhddm", confidence_level=(0, 1))
        if self.short_window_size is not None:
            _whole(self, "fhddm", "short_window_size", 1, self.sliding_window_size)


@dataclass(frozen=True, slots=True)
class HddmASettings:
    """Settings of HDDM_A, `river.drift.binary.HDDMA`: the share of errors since the best moment, by Hoeffding's bound.

    drift_confidence: level of a single test, in (0, 1).
    warning_confidence: has no effect here, because warnings are not reported; in (0, 1).
    two_sided_test: declare drift also when errors become fewer.
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    two_sided_test: bool = False

    def __post_init__(self) -> None:
        require_inside(self, "hddm_a", drift_confidence=(0, 1))
        require_inside(self, "hddm_a", warning_confidence=(0, 1))


@dataclass(frozen=True, slots=True)
class HddmWSettings:
    """Settings of HDDM_W, `river.drift.binary.HDDMW`: as HDDM_A, with weights that fade, by McDiarmid's bound.

    drift_confidence: level of a single test, in (0, 1).
    warning_confidence: has no effect here, because warnings are not reported; in (0, 1).
    lambda_val: weight of the newest value, in (0, 1].
    two_sided_test: declare drift also when errors become fewer.
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    lambda_val: float = 0.05
    two_sided_test: bool = False

    def __post_init__(self) -> None:
        require_inside(self, "hddm_w", drift_confidence=(0, 1))
        require_inside(self, "hddm_w", warning_confidence=(0, 1))
        _require(0.0 < self.lambda_val <= 1.0, self, "hddm_w", "lambda_val", "lie above 0 and not above 1")


def _whole(settings: Any, detector: str, name: str, least: int, most: int) -> None:
    value = getattr(settings, name)
    _require(
        value == int(value) and least <= value <= most, settings, detector, name, f"lie between {least} and {most}"
    )


def _require(holds: bool, settings: Any, detector: str, name: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{detector}: {name} must {rule}, got {getattr(settings, name)}")
