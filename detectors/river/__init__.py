"""The drift detectors of the library river, as banks.

`bank` runs them; `catalog` lists them and `state` saves them, by way of attributes that are private to river
(`river>=0.26.1,<0.27`). `settings` holds the settings of each, `summary` the values around a change.
"""

from detectors.river.bank import RiverBank

__all__ = ["RiverBank"]
