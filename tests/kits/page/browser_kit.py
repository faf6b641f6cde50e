"""A real browser for tests of pages: Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

VARIABLE = "DRIFTLINE_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_S = 600
DESKTOP, PHONE = (1360, 900), (390, 844)


@cache
def chromium() -> str:
    """The path of a Chromium: that of its variable, of PATH, of Playwright, or of Debian's package, fetched once.

    Raises FileNotFoundError with the command that mends it.
    """
    found = os.environ.get(VARIABLE) or _on_path() or _of_playwright()
    if found is None:
        _run([sys.executable, "-m", "playwright", "install", "chromium"])
        found = _of_playwright()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        if _run(["apt-get", "install", "--yes", "--quiet", "chromium"]):  # the lists of packages may be old
            _run(["apt-get", "update", "--quiet"])
            _run(["apt-get", "install", "--yes", "--quiet", "chromium"])
        found = _on_path()
    if found is None:
        raise FileNotFoundError(
            "Chromium is missing, which tests the page. Install it (`.venv/bin/playwright install chromium`, or "
            f"`apt-get install chromium` as root), or set {VARIABLE} to its path."
        )
    return found


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _of_playwright() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _run(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False, timeout=INSTALL_S).returncode


@dataclass
class Tab:
    """A tab, and what its console said."""

    page: Page
    said: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """What axe finds."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for one in found
            for node in one["nodes"]
        ]

    def is_narrow(self) -> bool:
        """Whether nothing makes the page wider than its window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    path = chromium()  # which may ask Playwright by itself
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@contextmanager
def tab(of: Browser, size: tuple[int, int] = DESKTOP, dark: bool = False, zone: str = "UTC") -> Iterator[Tab]:
    """A tab with a profile of its own; it collects errors and everything that the console says."""
    context = of.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light", bypass_csp=False,
        timezone_id=zone, locale="en-GB",
    )  # fmt: skip
    made = Tab(context.new_page())
    made.page.on("console", lambda message: made.said.append(message.text))
    made.page.on("pageerror", lambda error: made.said.append(str(error)))
    yield made
    context.close()
