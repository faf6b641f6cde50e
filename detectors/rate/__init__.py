"""The rate of rare events, such as missing values: an e-detector on zeros and ones.

`bank` is the detector, `kernels` its arithmetic.
"""

from detectors.rate.bank import RateBank, RateSettings

__all__ = ["RateBank", "RateSettings"]
