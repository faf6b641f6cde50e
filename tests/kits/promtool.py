"""The tools of Prometheus: `promtool` and `amtool` test files, and both servers run in tests against a real service."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "prometheus"
PROMETHEUS, ALERTMANAGER = "prometheus", "prometheus-alertmanager"  # packages of Debian and Ubuntu
# command -> its names on PATH, and the package that has it
TOOLS = {
    "promtool": (("promtool",), PROMETHEUS),
    "prometheus": (("prometheus",), PROMETHEUS),
    "alertmanager": (("alertmanager", "prometheus-alertmanager"), ALERTMANAGER),
    "amtool": (("amtool",), ALERTMANAGER),
}


@cache
def tool(name: str) -> str:
    """The path of a command: that of its variable, of PATH, of the cache, or of Debian's package, fetched once.

    Raises FileNotFoundError with the command that mends it.
    """
    names, package = TOOLS[name]
    variable = f"DRIFTLINE_{name.upper()}"
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None) or _cached(names)
    if found is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _fetch(package)
        found = _cached(names)
    if found is None:
        raise FileNotFoundError(
            f"{name} is missing, which tests the rules and dashboards. Install it (apt-get install {package}, "
            f"brew install {names[0]}), or set {variable} to its path."
        )
    return found


def promtool() -> str:
    """The path of `promtool`."""
    return tool("promtool")


def _cached(names: tuple[str, ...]) -> str | None:
    return next((str(CACHE / name) for name in names if (CACHE / name).exists()), None)


def _fetch(package: str) -> None:
    """The commands of Debian's package, which is unpacked and not installed; nothing when it can't be had."""
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "--quiet", package]
        if _run(download, folder):  # the lists of packages may be missing or old
            _run(["apt-get", "update", "--quiet"], folder)
            _run(download, folder)
        packages = list(Path(folder).glob("*.deb"))
        if not packages or _run(["dpkg-deb", "--extract", str(packages[0]), "unpacked"], folder):
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        for command in (Path(folder) / "unpacked" / "usr" / "bin").iterdir():
            torn = CACHE / f"{command.name}.{os.getpid()}"
            shutil.copy2(command, torn)
            torn.replace(CACHE / command.name)


def _run(command: list[str], folder: str) -> int:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode
