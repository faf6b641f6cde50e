"""Expected outputs as files beside the tests; `make golden` rewrites them, and the diff is read like code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with `expected/<name>`; with DRIFTLINE_GOLDEN=write, write it there instead."""

    def compare(name: str, text: str) -> None:
        path = EXPECTED / name
        if os.environ.get("DRIFTLINE_GOLDEN") == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} has changed; if that is meant, run `make golden`"

    return compare
