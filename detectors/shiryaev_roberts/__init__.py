"""The default detector of numbers: rank-based, with a stated false-alarm rate."""

from detectors.shiryaev_roberts.bank import ShiryaevRobertsBank, ShiryaevRobertsSettings

__all__ = ["ShiryaevRobertsBank", "ShiryaevRobertsSettings"]
