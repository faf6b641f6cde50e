"""Durations with units, such as `cooldown_s: 7d`, as the seconds that settings take.

Every setting whose name ends in `_s` takes a number of seconds or a text with units; `streamer.clock` has the grammar.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from streamer.clock import seconds_of
from streamer.config.problems import SettingPath
from streamer.config.schema import is_duration, schema_at


def convert_durations(section: dict[str, Any], path: SettingPath = ()) -> None:
    """Replace each duration with units by its seconds, in place. Other texts stay, and the check of types names them."""
    for key, value in section.items():
        here = (*path, key)
        if isinstance(value, dict):
            convert_durations(value, here)
        elif isinstance(value, str) and (schema := schema_at(here)) is not None and is_duration(schema):
            with suppress(ValueError):
                section[key] = seconds_of(value, least=0)
