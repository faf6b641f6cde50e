"""`command`: a process on this machine.

The process belongs to a small guard (`guard.py`), not to the launcher, so it outlives restarts. The guard holds
a lock in the folder of the run, and marks its start there before anything else. So one request gives one process,
however often it is launched and whoever was killed in between.

    <folder>/<request_id>/  request.json  command.json  lock  started  pid  output.log  result.json  exit
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Final

from annotated_types import MinLen
from pydantic import Field

from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, TargetRefused, Tools
from streamer.launch.http import traceparent_of

START_S: Final = 20.0  # longest wait for the guard to mark the start
LOOK_S: Final = 0.02
REASON_BYTES: Final = 500  # of the end of the output, in the reason of a failure
GUARD: Final = Path(__file__).with_name("guard.py")


class Command:
    """A process on this machine, with the request as a file: the program and its arguments."""

    settings = Annotated[list[str], MinLen(1), Field(description="the program and its arguments")]
    has_handle: ClassVar[bool] = True

    def __init__(self, settings: Sequence[str], tools: Tools) -> None:
        self._argv, self._tools = settings, tools
        self._folder = tools.folder.absolute()

    def launch(self, request: LaunchRequest) -> Run:
        folder = self._folder / request.request_id
        argv = [request.fill(part) for part in self._argv]
        environment = {
            "DRIFTLINE_REQUEST": str(folder / "request.json"),
            "DRIFTLINE_REQUEST_ID": request.request_id,
            "DRIFTLINE_MODEL": request.model_id,
            "DRIFTLINE_RESULT": str(folder / "result.json"),
            "DRIFTLINE_CONFIG": self._tools.config_file,
            "TRACEPARENT": traceparent_of(request.request_id),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "started").exists():
                _put(folder / "request.json", request.raw + b"\n")
                _put(folder / "command.json", json.dumps({"argv": argv, "environment": environment}).encode())
                self._guard(folder)
        except OSError as problem:
            raise TargetDown(f"{folder}: the run can't be started: {problem}") from problem
        return Run(str(folder), str(folder / "output.log"))

    def look(self, run: Run) -> RunStatus:
        folder = Path(run.ref)
        if not (folder / "started").exists():
            return RunStatus(RunState.GONE, f"{folder} is gone")
        running = _is_locked(folder)  # first, because a run that ends meanwhile leaves its exit code before the lock
        report = _read(folder / "result.json")
        code = _read(folder / "exit")
        if code is None:
            if running:
                return RunStatus(RunState.RUNNING, report=report)
            return RunStatus(
                RunState.FAILED, "the process ended without an exit code: it or its guard was killed", report
            )
        if code.strip() == b"0":
            return RunStatus(RunState.SUCCEEDED, report=report)
        return RunStatus(
            RunState.FAILED, f"exit code {code.decode().strip()}: {_end_of(folder / 'output.log')}", report
        )

    def cancel(self, run: Run) -> None:
        folder = Path(run.ref)
        pid = _read(folder / "pid")
        if pid and _is_locked(folder):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(pid), signal.SIGTERM)

    def _guard(self, folder: Path) -> None:
        """Start a guard and wait for its mark; one that finds the lock taken ends at once."""
        guard = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(GUARD), str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        waited_s, pause = 0.0, threading.Event()
        while not (folder / "started").exists():
            if guard.poll() is not None and not (folder / "started").exists() and not _is_locked(folder):
                raise TargetRefused(f"{folder}: the guard of the process ended with {guard.returncode}")
            if waited_s > START_S:
                raise TargetDown(f"{folder}: the guard of the process has not started within {START_S:.0f} s")
            pause.wait(LOOK_S)
            waited_s += LOOK_S
        threading.Thread(target=guard.wait, daemon=True).start()  # so that it leaves no zombie


def _put(path: Path, data: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(data)
    part.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _end_of(path: Path) -> str:
    text = (_read(path) or b"")[-REASON_BYTES:].decode(errors="replace").strip()
    return text or "no output"


def _is_locked(folder: Path) -> bool:
    """Whether the guard of the run lives."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False
