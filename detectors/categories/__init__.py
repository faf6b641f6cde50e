"""Detectors of categories.

`rates`: whether one category becomes more frequent, with a stated false-alarm rate. `window`: a G-test of the last
values against a reference.
"""

from detectors.categories.rates import CategoryRatesBank, CategoryRatesSettings
from detectors.categories.window import CategoryWindowBank, CategoryWindowSettings

__all__ = ["CategoryRatesBank", "CategoryRatesSettings", "CategoryWindowBank", "CategoryWindowSettings"]
