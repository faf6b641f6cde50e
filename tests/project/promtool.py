"""`promtool`, the tool of Prometheus that runs rules over given series."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

VARIABLE = "DRIFTLINE_PROMTOOL"
PACKAGE = "prometheus"  # of Debian and Ubuntu
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "promtool"
MISSING = (
    f"promtool is missing, which tests the Prometheus rules. Install Prometheus (apt-get install {PACKAGE}, "
    f"brew install {PACKAGE}), or set {VARIABLE} to its path."
)


@cache
def promtool() -> str:
    """The path of the command: that of the variable, of PATH, of the cache, or of Debian's package, fetched once.

    Raises FileNotFoundError with the command that mends it.
    """
    found = os.environ.get(VARIABLE) or shutil.which("promtool") or (str(CACHE) if CACHE.exists() else None)
    if found is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        found = _fetched()
    if found is None:
        raise FileNotFoundError(MISSING)
    return found


def _fetched() -> str | None:
    """From Debian's package, which is unpacked and not installed; None when it can't be had."""
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "--quiet", PACKAGE]
        if _run(download, folder):  # the lists of packages may be missing or old
            _run(["apt-get", "update", "--quiet"], folder)
            _run(download, folder)
        packages = list(Path(folder).glob("*.deb"))
        if not packages or _run(["dpkg-deb", "--extract", str(packages[0]), "unpacked"], folder):
            return None
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        torn = CACHE.with_suffix(f".{os.getpid()}")
        shutil.copy2(Path(folder) / "unpacked" / "usr" / "bin" / "promtool", torn)
        torn.replace(CACHE)
    return str(CACHE)


def _run(command: list[str], folder: str) -> int:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode
