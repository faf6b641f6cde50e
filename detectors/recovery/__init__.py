"""Recovery of an alert: whether a series that drifted is back at its baseline."""
