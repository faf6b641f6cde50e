"""Recovery of an alert: whether a series that drifted is back at its baseline.

`judge`: `RecoveryJudge`, which watches drifted series. `history_sample`: `HistorySample`, the values before a drift.
"""

from detectors.recovery.history_sample import HistorySample
from detectors.recovery.judge import RecoveryJudge

__all__ = ["HistorySample", "RecoveryJudge"]
