"""What labels bring to light: the errors of predictions, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.events import ERROR_COLUMN, LAG_COLUMN, Names

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors that a batch's labels brought to light; `k` of them, in order of the label events."""

    event: I64  # [k] index of the label's event in the batch
    subject: I64  # [k] subject of the prediction
    number: I64  # [k] the prediction's number in its subject's life
    error: F64  # [k] of its model's kind
    lag_s: F64  # [k] from the prediction's event time to the label's; 0 where they are one event
    segment: I64  # [k, 2] subject of the prediction's segment and number in its life; [k, 0] without segments

    def values(self, lag_column: int) -> Brought:
        """What they are as values of columns: the errors, and after them the lags if those have a column (not -1)."""
        values = [(ERROR_COLUMN, self.error), (lag_column, self.lag_s)][: 1 if lag_column < 0 else 2]
        n = len(values)
        return Brought(
            np.tile(self.event, n),
            np.tile(self.subject, n),
            np.tile(self.number, n),
            np.repeat(np.array([column for column, _ in values], np.int32), len(self.event)),
            np.concatenate([value for _, value in values]),
            np.tile(self.segment, (n, 1)),
        )


class Brought(NamedTuple):
    """Values that labels bring to light; `m` of them."""

    event: I64  # [m]
    subject: I64  # [m]
    number: I64  # [m]
    column: NDArray[np.int32]  # [m]
    value: F64  # [m]
    segment: I64  # [m, 2], or [m, 0]


def lag_column(names: Names, is_watched: bool) -> int:
    """The id of the column of label lags; -1 where they are not watched, or no column has room."""
    return names.columns.id_of(LAG_COLUMN) if is_watched else -1
