"""Alerts in, actions out: when drift is worth a retrain. Pure: no clock, no I/O; time arrives as data."""
