"""A real Airflow 3, of an environment of its own outside the tree, which pip makes once for each machine (300 MB).

It is an API server and a scheduler that runs two tasks at once: no triggerer, and no processor of DAG files, as the DAG
is put into the database before. The database is made once, with the environment, and copied.

A task of the DAG runs the script of its model among the trainers of the server, if there is one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mlflow_kit import environment

from streamer.testing.kafka_config import free_ports

PACKAGES = ("apache-airflow>=3.3,<3.4",)
STOP_S = 20
PATIENCE_S = 400  # without a new line of a log; the server answers after 20 s on a free core
TRAINERS = "DRIFTLINE_TEST_TRAINERS"  # variable of the environment with the folder of the scripts
DAG = """
import json, os, subprocess, time
from pathlib import Path
from airflow.sdk import dag, get_current_context, task

@dag(dag_id="retrain_bus", schedule=None, catchup=False)
def retrain_bus():
    @task
    def train():
        request = get_current_context()["dag_run"].conf["request"]
        model = request["model_id"]
        if model == "bus-bad":
            raise RuntimeError("no data")
        time.sleep(3600 if model == "bus-slow" else 0)
        script = Path(os.environ["DRIFTLINE_TEST_TRAINERS"]) / model
        if script.exists():
            subprocess.run([script], env={**os.environ, "DRIFTLINE_REQUEST": json.dumps(request)}, check=True)

    train()

retrain_bus()
"""


def settings(home: Path, python: Path, port: int) -> dict[str, str]:
    """The environment of Airflow's processes."""
    core = {
        "LOAD_EXAMPLES": "False", "PARALLELISM": "2", "DAGS_ARE_PAUSED_AT_CREATION": "False",
        "SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True", "DAGS_FOLDER": str(home / "dags"),
        "EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }  # fmt: skip
    named = {f"AIRFLOW__CORE__{name}": value for name, value in core.items()}
    named |= {
        "AIRFLOW__API_AUTH__JWT_SECRET": "of a test of Driftline", "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"), "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }  # fmt: skip
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"AIRFLOW_HOME": str(home), "HOME": str(home), "PATH": path, "NO_COLOR": "1"}
    return {**os.environ, **named, **own, TRAINERS: str(home / "trainers")}


def prepare(home: Path) -> Path:
    """A home with a database that has the DAG, and the Python that serves it."""
    python = environment("airflow", PACKAGES)
    made = python.parent.parent / "home"
    if not (made / "ready").exists() or (made / "dags" / "retrain_bus.py").read_text() != DAG:
        shutil.rmtree(made, ignore_errors=True)
        (made / "dags").mkdir(parents=True)
        (made / "dags" / "retrain_bus.py").write_text(DAG)
        for command in (["db", "migrate"], ["dags", "reserialize"]):
            run = [str(python), "-m", "airflow", *command]
            done = subprocess.run(run, env=settings(made, python, 1), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        (made / "ready").touch()
    shutil.copytree(made, home, ignore=shutil.ignore_patterns("airflow.cfg", "logs"))  # which name that folder
    return python


class Server(NamedTuple):
    """A running Airflow; user and password may be anything."""

    url: str
    trainers: Path  # the folder of scripts, named after their models


@contextmanager
def airflow(folder: Path) -> Iterator[Server]:
    """A server, until the block ends."""
    home = folder / "airflow"
    python, port = prepare(home), free_ports(["airflow"])["airflow"]
    commands = (
        ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        ["scheduler", "--skip-serve-logs"],
    )
    processes, logs = [], []
    try:
        for command in commands:
            logs.append(home / f"{command[0]}.log")
            with logs[-1].open("w") as log:
                run = [str(python), "-m", "airflow", *command]
                environ: Mapping[str, str] = settings(home, python, port)
                processes.append(
                    subprocess.Popen(run, cwd=home, env=environ, stdout=log, stderr=log, start_new_session=True)
                )
        _wait(f"http://127.0.0.1:{port}", processes, logs)
        (home / "trainers").mkdir()
        yield Server(f"http://127.0.0.1:{port}", home / "trainers")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        _end_sessions({process.pid for process in processes})
        for process in processes:
            process.wait(PATIENCE_S)


def _end_sessions(leaders: set[int]) -> None:
    """Kill what is left of these sessions: a task has a process group of its own, and outlives the scheduler."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) in leaders:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def _wait(url: str, processes: list[subprocess.Popen[bytes]], logs: list[Path]) -> None:
    deadline, before = time.monotonic() + PATIENCE_S, -1
    while True:
        said = "".join(log.read_text() for log in logs)
        if len(said) != before:
            before, deadline = len(said), time.monotonic() + PATIENCE_S
        assert all(process.poll() is None for process in processes), said
        assert time.monotonic() < deadline, said
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/api/v2/version", timeout=5)  # noqa: S310 - a loopback address
            return
        time.sleep(0.3)
