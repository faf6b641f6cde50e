"""One small file a case in `cases/`: what is said of it stands beside it, line by line; nothing, if it is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import ConfigError, load_config

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


def reported(name: str) -> list[str]:
    try:
        load_config(f"{name}.yaml", environ={})
    except ConfigError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("name", NAMES)
def test_each_case_is_told_as_expected(name, monkeypatch):
    """A file is accepted in silence, or each of its problems is reported on one line with its place."""
    monkeypatch.chdir(CASES)
    assert reported(name) == (CASES / f"{name}.expected").read_text().splitlines()


def test_every_expectation_has_its_case():
    """No `.expected` is left over, and there are both accepted and rejected cases."""
    assert sorted(path.stem for path in CASES.glob("*.expected")) == NAMES
    assert {bool((CASES / f"{name}.expected").read_text()) for name in NAMES} == {True, False}
