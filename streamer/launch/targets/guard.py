"""The guard of a `command`: a program of its own, of the standard library alone, so that it starts at once.

`python guard.py FOLDER` runs the command in `FOLDER/command.json` to its end, unless that was done before.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

FAILED_TO_START = 127


def guard(folder: Path) -> None:
    """Run the command of a folder once. The lock is held as long as it runs; `started` is made before it starts."""
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / "started").open("xb").close()
        except (BlockingIOError, FileExistsError):
            return
        code = run(folder, json.loads((folder / "command.json").read_bytes()))
        part = folder / "exit.part"
        part.write_text(str(code))
        part.replace(folder / "exit")


def run(folder: Path, given: dict[str, object]) -> int:
    """The exit code of the command, whose output goes to a file."""
    argv, more = [str(part) for part in given["argv"]], dict(given["environment"])  # type: ignore[attr-defined, call-overload]
    with (folder / "output.log").open("ab", buffering=0) as output:
        try:
            process = subprocess.Popen(  # noqa: S603
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **more}, start_new_session=True,
            )  # fmt: skip
        except OSError as problem:
            output.write(f"{argv[0]}: {problem}\n".encode())
            return FAILED_TO_START
        part = folder / "pid.part"
        part.write_text(str(process.pid))
        part.replace(folder / "pid")
        return process.wait()


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
