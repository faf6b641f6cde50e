"""The table of codecs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from codec_oracle import records_of

import streamer.codecs
from streamer.codecs import CODECS
from streamer.events import Names


def test_every_codec_can_be_made_and_survives_nonsense():
    """Each codec in the table is made from its default settings, and refuses bytes that mean nothing."""
    for settings_class, codec_class in CODECS.values():
        batch, dead = codec_class(settings_class()).decode(records_of([b"\x00\xff nonsense", None]), Names.fresh())
        assert (len(batch), dead.index) == (0, [0, 1])


def test_the_package_is_cheap_to_import():
    """Importing the package loads no codec; looking at the table does."""
    code = "import sys, streamer.codecs as c; print('msgspec' in sys.modules, bool(c.CODECS), 'msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_other_names_are_unknown():
    """A name that the package does not have is an AttributeError, as anywhere."""
    with pytest.raises(AttributeError, match="no attribute 'CODEC'"):
        _ = streamer.codecs.CODEC
