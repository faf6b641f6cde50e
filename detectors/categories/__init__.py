"""Detectors of categories: counts against a reference, and category rates with a stated false-alarm rate."""
