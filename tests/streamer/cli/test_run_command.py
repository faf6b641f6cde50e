"""`driftline run`: one worker in this process, and the parent with its workers as processes, the application played."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_kit import cli

import streamer

ROOT = Path(streamer.__file__).parents[1]
PATIENCE_S = 60


def work(*arguments: str):
    return cli("run", "--no-supervise", *arguments)


def test_a_worker_stops_when_told_to(config, fake_live):
    """SIGTERM sets the event that the application looks at, and the command ends well."""

    def run(config, stop, *, worker, progressed):
        assert list(config.topics) == ["bus", "tram"]
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)

    fake_live.run = run
    assert work().exit_code == 0


def test_a_second_sigterm_changes_nothing(config, fake_live):
    """Some supervisors send it twice at once; the commit under way is finished all the same."""

    def run(config, stop, *, worker, progressed):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()

    fake_live.run = run
    assert work().exit_code == 0


def test_a_second_ctrl_c_interrupts(config, fake_live):
    """Whoever asks twice does not want to wait: exit code 130."""

    def run(config, stop, *, worker, progressed):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    fake_live.run = run
    assert work().exit_code == 130


@pytest.mark.parametrize(("arguments", "ordinal"), [((), 0), (("--worker", "3"), 3)])
def test_a_worker_has_an_ordinal(config, fake_live, arguments, ordinal):
    """`--worker` reaches the application, 0 without it; and without a parent nobody gets the progress."""
    assert work(*arguments).exit_code == 0
    assert fake_live.calls["worker"] == ordinal
    fake_live.calls["progressed"]()


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (("--no-supervise", "--workers", "2"), "--workers is for the parent"),
        (("--worker", "1"), "--worker needs --no-supervise"),
        (("--workers", "0"), "--workers"),
        (("--grace-s", "-1"), "--grace-s"),
        (("--no-supervise", "--progress-fd", "0"), "--progress-fd 0 is for `driftline run` itself"),
    ],
)
def test_options_of_parent_and_worker_are_told_apart(config, fake_live, arguments, about):
    """What makes no sense for the one or the other is a usage error."""
    ran = cli("run", *arguments)
    assert ran.exit_code == 2
    assert about in ran.stderr
    assert fake_live.calls == {}


STAND_IN = """
import sys, types
app = sys.modules["streamer.app.run"] = types.ModuleType("streamer.app.run")
exec(open(__file__.replace("sitecustomize", "script")).read(), app.__dict__)
"""
WAITS = """
import os, signal, sys, time
def run(config, stop, *, worker, progressed):
    with open(f"pid-{worker}", "w") as file:
        file.write(str(os.getpid()))
    print("begun", file=sys.stderr, flush=True)
    stop.wait()
    open(f"stopped-{worker}", "w").close()
"""


@contextmanager
def driftline_run(folder: Path, script: str, *options: str, command: tuple[str, ...] = ("-m", "streamer.cli")):
    """`driftline run` with `script` as its application, in `folder`."""
    places = folder / "site"
    places.mkdir()
    (places / "sitecustomize.py").write_text(STAND_IN)
    (places / "script.py").write_text(script)
    environ = os.environ | {"PYTHONPATH": f"{places}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, *command, "run", *options], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for file in folder.glob("pid-*"):
            if alive(int(file.read_text())):
                os.kill(int(file.read_text()), signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie that its new parent has not reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def moments() -> Iterator[None]:
    """Short moments, until patience ends."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        yield
        time.sleep(0.01)
    raise TimeoutError


def test_the_service_starts_and_stops(config):
    """`driftline run --workers 2` starts both; SIGTERM lets both stop in order, and ends with 0."""
    with driftline_run(config.parent, WAITS, "--workers", "2") as process:
        begun = sorted(process.stderr.readline() for _ in range(2))
        assert begun == ["worker 0: begun\n", "worker 1: begun\n"]
        process.terminate()
        _, reported = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, reported) == (0, "")
    assert (config.parent / "stopped-0").exists()
    assert (config.parent / "stopped-1").exists()


def test_workers_end_with_their_parent(config):
    """When the parent is killed with SIGKILL, its worker stops as if it had been asked to."""
    with driftline_run(config.parent, WAITS) as process:
        assert process.stderr.readline() == "begun\n"
        pid = int((config.parent / "pid-0").read_text())
        process.kill()
        for _ in moments():
            if not alive(pid):
                break
    assert (config.parent / "stopped-0").exists()


def test_a_commit_in_doubt_is_met_with_a_new_start(config):
    """The worker's progress reaches the parent, so a new worker starts at once, and the service goes on."""
    script = """
import pathlib
from streamer.errors import InDoubtError
def run(config, stop, *, worker, progressed):
    if not pathlib.Path("begun").exists():
        pathlib.Path("begun").touch()
        progressed()
        raise InDoubtError("a commit took too long")
"""
    with driftline_run(config.parent, script) as process:
        _, reported = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert reported.splitlines() == [
        "driftline: a commit took too long",
        "driftline: the worker ended with exit code 75 (a commit in doubt) and restarts at once",
    ]


def test_a_wrong_configuration_is_told_once(config):
    """As by a single process: the problems, a line each, and exit code 2."""
    config.write_text("kafka: {bootstrap: 'a:1'}\ntopics: {bus: {}}\nmetrics: {prot: 1}\n")
    with driftline_run(config.parent, WAITS) as process:
        _, reported = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert reported.splitlines() == ["driftline.yaml:3: metrics.prot: unknown setting; did you mean port?"]


def test_workers_find_their_modules_where_the_parent_does(config):
    """The installed command works in a folder that holds other packages of our names, and so do its workers."""
    for name in ("streamer", "detectors", "retrain"):
        (config.parent / name).mkdir()
        (config.parent / name / "__init__.py").write_text("raise ImportError('not the one')")
    script = "def run(config, stop, *, worker, progressed):\n    print('ours')"
    installed = ("-P", "-c", "from streamer.cli import main; main()")
    with driftline_run(config.parent, script, command=installed) as process:
        _, reported = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, reported) == (0, "")
