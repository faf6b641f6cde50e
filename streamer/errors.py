"""All errors of Driftline, as one tree.

    DriftlineError          the base of all; a command exits with `exit_code`
    ├── UsageError      2   the command line, the config file or a recording is wrong: correct it and restart
    ├── BrokerError     3   Kafka is unreachable, refuses the client, or lacks a topic
    ├── GapError        4   the log has lost records that the state needs
    ├── DivergenceError 5   a replay of the log gives other outputs than were published
    ├── NotUnderstoodError 6   no record could be understood, so nothing was watched
    ├── RefusedError    7   the service refused a command
    ├── NoAnswerError   8   a command is in the log, but the service has not answered in time
    └── InDoubtError   75   the outcome of a commit is not certain: the process ends, and a fresh one resolves it

Exit codes are part of the interface: 0 done, 1 an unexpected error (a bug), the rest as above. 75 is `EX_TEMPFAIL` of
sysexits.h: a restart is the cure, so supervisors should restart on it at once.
"""

from __future__ import annotations

from typing import ClassVar


class DriftlineError(Exception):
    """An error with a message for the user: what happened, where, and what to do next."""

    exit_code: ClassVar[int] = 1

    def report(self) -> str:
        """The message of the command line, without a traceback."""
        return f"driftline: {self}"


class UsageError(DriftlineError):
    """The command line, the config file or a recording is wrong."""

    exit_code = 2


class BrokerError(DriftlineError):
    """Kafka is unreachable, refuses the client, or lacks a topic."""

    exit_code = 3


class GapError(DriftlineError):
    """The log has lost records that the state needs."""

    exit_code = 4


class DivergenceError(DriftlineError):
    """A replay of the log gives other outputs than were published."""

    exit_code = 5


class NotUnderstoodError(DriftlineError):
    """Records were read, and nothing of them was watched."""

    exit_code = 6


class RefusedError(DriftlineError):
    """The service refused a command, such as the promotion of a request that nobody trained."""

    exit_code = 7


class NoAnswerError(DriftlineError):
    """A command is in the log, but the service has published no answer in time. It will answer when it folds it."""

    exit_code = 8


class InDoubtError(DriftlineError):
    """A commit failed or exceeded its deadline, so its outcome is unknown. A fresh process reads it from the log."""

    exit_code = 75


class OutputsInDoubtError(InDoubtError):
    """Outputs did not get into the log in time, and fewer of them might."""
