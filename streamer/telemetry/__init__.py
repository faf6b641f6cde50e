"""Metrics, observers of the loop, the HTTP endpoint, the watchdog."""
