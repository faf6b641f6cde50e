"""The interface of launch targets: what starts a training run, follows it and cancels it.

A target is one file in `targets/` and one line in the table of `targets/__init__.py`. Those of other packages use the
entry point group `driftline.launchers`. A target has no state: whatever it must know of a run is in the run's `ref`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from streamer.launch.http import Http


@dataclass(frozen=True, slots=True)
class Run:
    """A training run at its target."""

    ref: str  # what the target knows it by; at most 200 characters
    link: str = ""  # where people look at it

    @property
    def bare(self) -> Run:
        """A run of the ledger as its target knows it, without the name of the target before its `ref`."""
        return Run(self.ref.partition(":")[2], self.link)


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"  # or waiting to run
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"  # the target knows no such run
    UNKNOWN = "unknown"  # the target can't be asked; the trainer reports


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A look at a run."""

    state: RunState
    reason: str = ""  # for people, of a failure
    report: bytes | None = None  # the control record that the trainer has left, if the target keeps one


class TargetDown(Exception):  # noqa: N818 - not a failure of the run
    """The target did not do it for now: it is away, busy, or refuses access. `after_s`: not before."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class TargetRefused(Exception):  # noqa: N818
    """The target will never start this run, and says why."""


class LaunchRequest(msgspec.Struct, frozen=True):
    """A retrain request as a target needs it; `raw` is the record."""

    request_id: str
    model_id: str
    model_version: str = ""
    raw: bytes = b""

    @classmethod
    def of(cls, record: bytes) -> LaunchRequest:
        """Read a record. Raises `msgspec.MsgspecError` for what is no request."""
        return msgspec.structs.replace(msgspec.json.decode(record, type=cls), raw=record)

    @property
    def record(self) -> Any:
        """The whole request as plain data."""
        return msgspec.json.decode(self.raw)

    def fill(self, template: str) -> str:
        """A setting with `{request_id}`, `{model_id}` and `{model_version}` replaced."""
        names = {"request_id": self.request_id, "model_id": self.model_id, "model_version": self.model_version}
        return _PLACE.sub(lambda match: names[match[1]], template)


_PLACE = re.compile(r"\{(request_id|model_id|model_version)\}")


@dataclass(frozen=True, slots=True)
class Tools:
    """What a target works with."""

    http: Http
    folder: Path  # for runs on this machine
    config_file: str = ""  # the configuration of the service, as an absolute path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def secret(self, variable: str) -> str:
        """The secret in a variable of the environment. Raises `TargetDown` where it is not set."""
        if not (found := self.environ.get(variable, "")):
            raise TargetDown(f"the variable {variable}, which must hold a secret, is not set")
        return found


class Target(Protocol):
    """Starts, follows and cancels runs. `settings` are those of its section, a frozen dataclass.

    All methods raise `TargetDown`; `launch` also `TargetRefused`. They run in threads, and at most one call about one
    request runs at once.
    """

    has_handle: ClassVar[bool]  # whether a second `launch` of a request gives the same run, whatever happened between

    def launch(self, request: LaunchRequest) -> Run:
        """Start the run of this request, or find it where it was started before."""
        ...

    def look(self, run: Run) -> RunStatus:
        """Where the run stands."""
        ...

    def cancel(self, run: Run) -> None:
        """End the run, if the target can; a run that is over or gone is left alone."""
        ...
