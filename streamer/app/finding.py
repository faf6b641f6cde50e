"""What `driftline doctor` finds: one line with its level, its cause and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # models are watched, but less well than they could be
    FAULT = "fault"  # the service would not start, or would not watch something


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One result of a check."""

    level: Level
    subject: str
    text: str
    next_step: str = ""
    exit_code: int = 0  # of the command, if this is its first fault
