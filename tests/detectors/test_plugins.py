"""A detector of another package can be named as ours can; one that is broken harms nobody."""

import subprocess
import sys

import pytest

PACKAGE = '''
from dataclasses import dataclass

from detectors.adwin import AdwinBank, AdwinSettings
from detectors.registry import Detector


@dataclass(frozen=True, slots=True)
class MineSettings:
    """Settings of mine.

    delta: significance.
    """

    delta: float = 1e-6


DETECTOR = Detector(MineSettings, lambda settings, rows: AdwinBank(AdwinSettings(delta=settings.delta), rows))
NOT_ONE = 7
'''
ENTRIES = """[driftline.detectors]
mine = mine:DETECTOR
adwin = mine:DETECTOR
seven = mine:NOT_ONE
lost = nowhere:DETECTOR
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python with the package installed beside ours, and gives what it prints."""
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "mine.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "d.yaml").write_text("kafka: {bootstrap: 'a:1'}\ntopics: {t: }\ndetectors: {mine: {delta: 0.01}}\n")
    (tmp_path / "bad.yaml").write_text("kafka: {bootstrap: 'a:1'}\ntopics: {t: }\ndetectors: {lost: }\n")

    def run(*arguments):
        path = f"import sys; sys.path.insert(0, {str(site)!r}); "
        command = [sys.executable, "-c", path + arguments[0], *arguments[1:]]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def test_it_is_made_checked_and_listed_like_ours(run):
    """`detector` makes it, the public checks run on it, and no default nor any of ours is replaced."""
    ran = run(
        "from detectors.registry import DEFAULT, DETECTORS; from detectors.checks import yield_checks\n"
        "from detectors import detector\n"
        "d = detector('mine', delta=0.01)\n"
        "checks = list(yield_checks('mine'))\n"
        "[check() for check in checks[:2]]\n"
        "print(len(checks), 'mine' in DEFAULT, DETECTORS['adwin'].settings.__module__, 'seven' in DETECTORS)"
    )
    assert ran.stdout.split() == ["12", "False", "detectors.adwin.bank", "False"], ran.stderr


def test_a_configuration_may_name_it(run):
    """`check-config` takes it with its settings."""
    ran = run("from streamer.cli import main; main()", "check-config", "--config", "d.yaml")
    assert (ran.returncode, "by mine" in ran.stdout) == (0, True), ran.stderr


def test_what_cannot_be_loaded_is_an_error_where_it_is_named(run):
    """The sentence says which package and why, in a program and in a configuration."""
    ran = run("from detectors import detector; detector('seven')")
    assert "the detector 'seven' can't be used: mine:NOT_ONE of mine is of type int" in ran.stderr
    ran = run("from streamer.cli import main; main()", "check-config", "--config", "bad.yaml")
    assert ran.returncode == 2
    assert "can't be used: nowhere:DETECTOR of mine can't be loaded: ModuleNotFoundError" in ran.stderr
