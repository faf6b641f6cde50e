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
# Debian's Alertmanager reads its templates from this folder only, which an unpacked package does not have. The copy in
# the cache has another path there, of the same length, which is relative to the folder that it is started in.
TEMPLATES = Path("usr/share/prometheus/alertmanager")
OWN_TEMPLATES = "alertmanager-templates"
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
    """The command in the cache, under the first of its names."""
    return str(CACHE / names[0]) if (CACHE / names[0]).exists() else None


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
        _keep(Path(folder) / "unpacked")


def _keep(unpacked: Path) -> None:
    """Copy the commands of a package to the cache, under their names in `TOOLS`."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if (unpacked / TEMPLATES).exists():
        shutil.copytree(unpacked / TEMPLATES, CACHE / OWN_TEMPLATES, dirs_exist_ok=True)
    for names, _ in TOOLS.values():
        for command in filter(Path.exists, ((unpacked / "usr" / "bin" / name) for name in names)):
            fixed, own = f"/{TEMPLATES}".encode(), OWN_TEMPLATES.encode()
            torn = CACHE / f"{names[0]}.{os.getpid()}"
            torn.write_bytes(command.read_bytes().replace(fixed, b"./".ljust(len(fixed) - len(own), b"/") + own))
            torn.chmod(0o755)
            torn.replace(CACHE / names[0])


def _run(command: list[str], folder: str) -> int:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode
