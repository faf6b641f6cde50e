"""How often Python looks for cycles among objects: less often than it does by itself.

What the folds remember holds no cycles, and counting references frees it. But a look that goes through everything takes
the longer the more is remembered: by Python's own threshold, 700 new objects, such looks take a third of the time in
which the decide fold makes requests.
"""

from __future__ import annotations

import gc
from typing import Final

OBJECTS: Final = 50_000  # new ones, until the next look; so many may be garbage that nothing has freed yet


def look_for_cycles_less_often() -> None:
    """For this process, from now on."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
