"""ADWIN (Bifet and Gavaldà 2007): a window that shrinks when its mean changes."""

from detectors.adwin.bank import AdwinBank, AdwinSettings

__all__ = ["AdwinBank", "AdwinSettings"]
