"""Every way Driftline says no, as one tree.

    DriftlineError          catch this to catch them all; `exit_code` is what the command exits with
    ├── UsageError      2   the command line, the config file or a recording is wrong: mend it and start again
    ├── BrokerError     3   Kafka can't be reached, refuses us, or lacks a topic
    ├── GapError        4   the log no longer holds what the state needs
    ├── DivergenceError 5   folded again, the log gives something else than was published
    └── InDoubtError   75   a commit whose outcome is not certain: the process ends and a fresh one finds out

Exit codes are part of the interface: 0 done, 1 an error nobody foresaw (a bug), the rest as above. 75 is `EX_TEMPFAIL`
of sysexits.h: starting again is the cure, so supervisors should restart on it at once.
"""

from __future__ import annotations

from typing import ClassVar


class DriftlineError(Exception):
    """An error with a sentence for the user: what happened, where, and what to do next."""

    exit_code: ClassVar[int] = 1

    def report(self) -> str:
        """What the command line says of it, without a traceback."""
        return f"driftline: {self}"


class UsageError(DriftlineError):
    """What the user asked for can't be done as it stands."""

    exit_code = 2


class BrokerError(DriftlineError):
    """Kafka can't be reached, refuses us, or lacks something we need."""

    exit_code = 3


class GapError(DriftlineError):
    """The log no longer holds records that the state is made from."""

    exit_code = 4


class DivergenceError(DriftlineError):
    """Folded again, the log gives something else than was published."""

    exit_code = 5


class InDoubtError(DriftlineError):
    """A commit failed or overran, so nobody knows what the log holds; only a fresh start can tell."""

    exit_code = 75
