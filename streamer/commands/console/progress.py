"""Progress of a long command on standard error: a bar on a terminal, else ten lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from streamer.commands.console.lines import echo_line

ProgressReport = Callable[[int, int | None], None]

COMPILING: Final = "compiling detectors, a minute or two after an installation; later runs start at once"
LINES: Final = 10  # lines in total, where the end is known
EVERY: Final = 1_000_000  # records or bytes for each line, where the end is unknown


@contextmanager
def progress(what: str) -> Iterator[ProgressReport]:
    """A function to call with (done, total or None), in records or bytes.

    There is no bar where standard output is a terminal too: the lines written there would tear it apart.
    """
    if sys.stderr.isatty() and not sys.stdout.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _Lines(what)


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Say so once when kernels are compiled, as the first run of an installation waits for that without progress."""
    from numba.core import event

    class Once(event.Listener):
        said = False

        def on_start(self, event: object) -> None:  # noqa: ARG002
            if not self.said:
                echo_line(COMPILING, err=True)
            self.said = True

        def on_end(self, event: object) -> None:
            pass

    with event.install_listener("numba:compile", Once()):
        yield


@contextmanager
def _bar(what: str) -> Iterator[ProgressReport]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield report


class _Lines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._reported = 0

    def __call__(self, done: int, total: int | None) -> None:
        step = done * LINES // total if total else done // EVERY
        if step > self._reported:
            self._reported = step
            echo_line(f"{self._what}: {f'{done * 100 // total} %' if total else f'{done:,}'}", err=True)
