"""ADWIN (Bifet and Gavaldà 2007): a window that shrinks when its mean changes.

`bank` is the detector, `kernels` its arithmetic, `cut` the onset of a change.
"""

from detectors.adwin.bank import AdwinBank, AdwinSettings

__all__ = ["AdwinBank", "AdwinSettings"]
