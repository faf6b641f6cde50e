"""Input formats, one file each, and the table of them: `CODECS[name]` is (settings class, codec class).

To add one: write `streamer/codecs/<name>_codec.py` with a frozen settings dataclass, whose `__post_init__` refuses bad
settings with a ValueError, and a class that is made from those settings and is a `base.Codec`; then add a line to
`_TABLE`. A format without columns of its own makes `canonical.Event`s and leaves the rest to `assemble.py`.

The classes are imported when `CODECS` is first looked at, so importing this package costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

CODECS: Mapping[str, tuple[type[Any], type[Any]]]

_TABLE = {
    "json": ("streamer.codecs.json_codec", "JsonSettings", "JsonCodec"),
}


def __getattr__(name: str) -> Any:
    if name != "CODECS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    table = {}
    for codec, (module, settings_class, codec_class) in _TABLE.items():
        loaded = import_module(module)
        table[codec] = (getattr(loaded, settings_class), getattr(loaded, codec_class))
    globals()["CODECS"] = table
    return table
