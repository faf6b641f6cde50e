"""Recovery of an alert: whether a series that drifted is back at its baseline.

`judge`: `RecoveryJudge`, which watches drifted series. `history_sample`: `HistorySample`, the values before a drift.
"""
