"""The drift detectors of the library river, as banks."""

from detectors.river.bank import RiverBank

__all__ = ["RiverBank"]
