"""A real MLflow server, of an environment of its own outside the tree, which pip makes once for each machine.

It is the package without the libraries of data science, and what its server imports: 120 MB instead of 620 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from promtool import CACHE

from streamer.testing.kafka_config import free_ports

PACKAGES = (
    "mlflow-skinny>=3.17,<3.18",
    *("flask<4", "flask-cors<7", "sqlalchemy>=2,<3", "alembic<2", "graphene<4", "gunicorn<28"),
)
PATIENCE_S = 400  # tables are made at the first start, which takes 10 s on a free core
GONE = (400, 404)


class Registry:
    """A client of the registry, which is not ours."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer as plain data; None where there is no such thing."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}/api/2.0/mlflow/{path}"
        kind = {"content-type": "application/json"}
        asked = urllib.request.Request(url, data, kind, method=method)  # noqa: S310 - a loopback address
        try:
            return json.loads(urllib.request.urlopen(asked, timeout=60).read() or b"{}")  # noqa: S310
        except urllib.error.HTTPError as problem:
            if problem.code in GONE:
                return None
            raise

    def version_of(self, model: str, alias: str) -> str | None:
        """The version that an alias names."""
        found = self.call("GET", f"registered-models/alias?name={model}&alias={alias}")
        return found and found["model_version"]["version"]

    def tags_of(self, model: str, version: str) -> dict[str, str]:
        """The tags of a version."""
        found = self.call("GET", f"model-versions/get?name={model}&version={version}")
        return {one["key"]: one["value"] for one in found["model_version"].get("tags", [])}


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages, outside the tree; made once."""
    folder = CACHE.parent / name
    python, mark = folder / "bin" / "python", folder / "packages"
    if not mark.exists() or mark.read_text() != " ".join(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True)
        mark.write_text(" ".join(packages))
    return python


@contextmanager
def mlflow(folder: Path) -> Iterator[Registry]:
    """A server with a database in a folder, until the block ends."""
    port = free_ports(["mlflow"])["mlflow"]
    store, address = f"sqlite:///{folder}/mlflow.db", ["--host", "127.0.0.1", "--port", str(port)]
    python = environment("mlflow", PACKAGES)
    # With gunicorn, the server is the application of Flask alone, which has the registry and needs no numpy.
    serve = ["--workers", "1", "--gunicorn-opts", f"--timeout {PATIENCE_S}", *address]
    command = [str(python), "-m", "mlflow", "server", "--backend-store-uri", store, *serve]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (folder / "mlflow.log").open("w") as log:
        started = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield _answering(f"http://127.0.0.1:{port}", started, folder / "mlflow.log")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, 15)
            started.wait(PATIENCE_S)


def _answering(url: str, server: subprocess.Popen[bytes], log: Path) -> Registry:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=5)  # noqa: S310 - a loopback address
            return Registry(url)
        time.sleep(0.3)
