"""Kolmogorov-Smirnov tests over sliding windows, against a training reference or an earlier window."""

from detectors.ks.window import KsWindowSettings

__all__ = ["KsWindowSettings"]
