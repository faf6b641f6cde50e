"""`driftline run` with its worker, watched through its metrics."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 180
COMMAND = [sys.executable, "-m", "streamer.cli"]


class Service:
    """The parent and its worker."""

    def __init__(self, config: Path, command: Sequence[str] = (*COMMAND, "run")) -> None:
        self.parent = subprocess.Popen([*command, "--config", str(config)], stderr=subprocess.PIPE, text=True)
        self.url = ""
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def worker(self) -> int:
        """The process id of the worker."""
        return int(Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()[0])

    def page(self) -> dict[str, float]:
        """What it says of itself; nothing while it does not answer."""
        try:
            text = urllib.request.urlopen(self.url, timeout=5).read().decode()  # noqa: S310 - a loopback address
        except (OSError, ValueError):
            return {}
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}

    def wait_for(self, condition: Any) -> None:
        end_s = time.perf_counter() + PATIENCE_S
        while not ((page := self.page()) and condition(page)):
            if time.perf_counter() > end_s:
                raise TimeoutError("".join(self.said[-20:]))
            time.sleep(0.02)

    def _listen(self) -> None:
        for line in self.parent.stderr or ():
            self.said.append(line)
            if found := re.search(r"http://\S+/metrics", line):
                self.url = found[0]


@contextmanager
def service(config: Path, command: Sequence[str] = (*COMMAND, "run")) -> Any:
    running = Service(config, command)
    try:
        yield running
    finally:
        running.parent.terminate()
        running.parent.wait(PATIENCE_S)
