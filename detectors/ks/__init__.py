"""Kolmogorov-Smirnov tests over sliding windows.

`window` compares with a fixed reference, `sliding` with the values before. `kernels` holds the arithmetic, `critical`
the critical distance.
"""

from detectors.ks.sliding import ks_bank
from detectors.ks.window import KsWindowSettings

__all__ = ["KsWindowSettings", "ks_bank"]
