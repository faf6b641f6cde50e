"""The pytest plugin of replays: fixtures that fold recordings inside tests, and snapshots of what was found.

Loaded in every pytest run where Driftline is installed, so importing it imports nothing but pytest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from driftline.findings import Findings
    from driftline.memory_service import MemoryService

UPDATE = "--driftline-update"


class ReplayOfTest(Protocol):
    """Folds a recording or table; see `driftline.replay`."""

    def __call__(self, recording: Any, **options: Any) -> Findings: ...


class SnapshotOfTest(Protocol):
    """Compares findings with those that the test found before."""

    def __call__(self, findings: Findings, name: str | None = None) -> None: ...


class LogOfTest(Protocol):
    """Makes a service over topics in memory; see `driftline.MemoryService`."""

    def __call__(self, config: Any, settings: Mapping[str, Any] | None = None) -> MemoryService: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that rewrites snapshots."""
    parser.getgroup("driftline").addoption(
        UPDATE, action="store_true", help="write the snapshots of driftline_snapshot instead of comparing them"
    )


@pytest.fixture
def driftline_replay(request: pytest.FixtureRequest) -> ReplayOfTest:
    """`driftline_replay("june.parquet", config=…, reference=…)` folds a recording and returns `Findings`.

    Relative paths of the recording, the configuration and the reference are relative to the file of the test. Findings
    have `assert_quiet`, `assert_drift` and `assert_requests`.
    """
    folder = Path(request.path).parent

    def placed(value: Any) -> Any:
        is_relative = isinstance(value, str | Path) and not Path(value).is_absolute() and "://" not in str(value)
        return folder / value if is_relative else value

    def run(recording: Any, **options: Any) -> Findings:
        from driftline.offline import replay

        for name in ("config", "reference"):
            if name in options:
                options[name] = placed(options[name])
        return replay(placed(recording), **options)

    return run


@pytest.fixture
def driftline_log(request: pytest.FixtureRequest, tmp_path: Path) -> LogOfTest:
    """`driftline_log(config)` is a service over topics in memory: send events, read requests, answer them.

    config: path of a configuration, relative to the file of the test, or the same as a mapping.
    """

    def open_log(config: Any, settings: Mapping[str, Any] | None = None) -> MemoryService:
        from driftline.memory_service import MemoryService
        from driftline.offline import config_of

        placed = config if isinstance(config, Mapping) else Path(request.path).parent / config
        return MemoryService(config_of(placed, settings, tmp_path))

    return open_log


@pytest.fixture
def driftline_snapshot(request: pytest.FixtureRequest) -> SnapshotOfTest:
    """`driftline_snapshot(findings)` fails with a diff unless the findings are those of the stored snapshot.

    The file is `snapshots/<test>.txt` beside the file of the test. `pytest --driftline-update` writes it.
    """
    folder = Path(request.path).parent / "snapshots"
    default = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    update = bool(request.config.getoption(UPDATE))

    def compare(findings: Findings, name: str | None = None) -> None:
        path = folder / f"{name or default}.txt"
        found = "".join(f"{line}\n" for line in findings.lines())
        if update:
            folder.mkdir(exist_ok=True)
            path.write_text(found, encoding="utf-8")
        elif not path.exists():
            pytest.fail(f"there is no snapshot {path}; write it with pytest {UPDATE}, and commit it", pytrace=False)
        elif (stored := path.read_text(encoding="utf-8")) != found:
            pytest.fail(_difference(path, stored, found), pytrace=False)

    return compare


def _difference(path: Path, stored: str, found: str) -> str:
    """What changed, as a diff, and what to do."""
    lines = unified_diff(stored.splitlines(), found.splitlines(), "stored", "found", lineterm="", n=1)
    return "\n".join((
        f"the findings differ from the snapshot {path}:", *lines,
        f"If the change is meant, write it with pytest {UPDATE}, and commit it.",
    ))  # fmt: skip
