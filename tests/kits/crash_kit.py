"""A log in memory whose commits can fail half way, and that can be opened again as after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from streamer.errors import InDoubtError
from streamer.eventlog.base import Epoch, Output
from streamer.eventlog.memory import MemoryLog


class AfterFailure(StrEnum):
    """What is in the log after a commit that went wrong."""

    NOTHING = "nothing"
    EPOCHS = "epochs"  # their outputs are to be published again
    OUTPUTS = "outputs"  # nothing in the log says that they are there
    EVERYTHING = "everything"


class CrashingLog(MemoryLog):
    """A `MemoryLog` for tests of crash and recovery."""

    _doubt: AfterFailure | None = None

    def reopen(self) -> CrashingLog:
        """A fresh session on the same store, as after a restart."""
        return CrashingLog(self.subscribed, self.store, self._poll_records_max)

    def doubt_next_commit(self, kept: AfterFailure) -> None:
        """Let the next commit raise `InDoubtError` after it has kept no more than this."""
        self._doubt = kept

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        kept, self._doubt = self._doubt, None
        if kept in (None, AfterFailure.EVERYTHING):
            placed = super().commit(outputs, epochs)
        elif kept is AfterFailure.EPOCHS:
            for epoch in epochs:
                self.store.add_epoch(epoch)
        elif kept is AfterFailure.OUTPUTS:
            self.store.publish(outputs)
        if kept is not None:
            raise InDoubtError(f"The commit was interrupted as the test asked; kept: {kept}.")
        return placed
