"""The contracts on imports in `pyproject.toml` bite: an import that breaks one is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_tree import PACKAGES, ROOT

LAYERS = "imports go driftline -> streamer -> retrain -> detectors, never back"
KAFKA = "the client of Kafka is known to its log and the test kit alone"
PURE = "the pure folders know no clock, no I/O and no framework"

BREACHES = {
    "detectors/breach.py": ("from retrain import alert", LAYERS),
    "streamer/face.py": ("def later():\n    import driftline", LAYERS),
    "retrain/breach.py": ("def later():\n    import streamer.errors", LAYERS),
    "streamer/codecs/breach.py": ("def later():\n    from kafka.errors import KafkaError", KAFKA),
    "retrain/wall.py": ("from time import time", PURE),
    "detectors/files.py": ("import os.path", PURE),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the packages with all breaches in it."""
    copy = tmp_path_factory.mktemp("breaches")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, (source, _) in BREACHES.items():
        (copy / path).write_text(source + "\n")
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run(
        [linter, "--no-cache", "--no-logo"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("contract", [LAYERS, KAFKA, PURE])
def test_the_contract_breaks(broken, contract):
    """Each contract is broken by the breaches meant for it."""
    assert f"{contract} BROKEN" in broken


@pytest.mark.parametrize("path", BREACHES)
def test_the_breach_is_named(broken, path):
    """Each breach is reported under its module's name."""
    assert path.removesuffix(".py").replace("/", ".") + " ->" in broken
