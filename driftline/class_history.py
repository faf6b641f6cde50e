"""Precision, recall, F1 and calibration of a classifier by class and interval of time, and their drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from detectors.notebook.named import ShiryaevRoberts
from detectors.profile.classes import calibration, class_scores
from driftline.offline import arrow_of
from streamer.clock import seconds_of
from streamer.codecs.times import UNREADABLE, times_ms
from streamer.errors import UsageError

Z_95: Final = 1.959964
_TIME: Final = pa.timestamp("ms", "UTC")
_SCORES: Final = pa.schema([
    ("start", _TIME), ("class", pa.string()), ("n_labels", pa.int64()), ("n_predicted", pa.int64()),
    *((f"{name}{end}", pa.float64()) for name in ("precision", "recall") for end in ("", "_low", "_high")),
    ("f1", pa.float64()), ("calibration_error", pa.float64()), ("brier", pa.float64()),
])  # fmt: skip
_DRIFTS: Final = pa.schema([
    ("class", pa.string()), ("score", pa.string()), ("onset", _TIME), ("seen_at", _TIME), ("before", pa.float64()),
    ("after", pa.float64()),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassHistory:
    """What `class_history` found, as tables of Arrow."""

    scores: pa.Table  # a row an interval and class, in order; null where a score has no case
    drifts: pa.Table  # a row a class and score that changed: since when, when it was seen, its mean before and after


def class_history(
    frame: Any, *, time: str, prediction: str, label: str, every: str = "1d",
    probabilities: Mapping[str, str] | None = None, arl0: float = 1e5,
) -> ClassHistory:  # fmt: skip
    """The scores of each class of a table whose rows have a prediction and a label, and which of them drifted.

    By name:

        frame: a table in memory; see `replay`. Rows without a prediction or label are left out.
        time, prediction, label: columns: when the event happened, the predicted class, the true one. Classes are
            compared as texts.
        every: length of an interval, as in "1d".
        probabilities: for each class whose calibration is wanted, the column with its predicted probability.
        arl0: events of a class between false alarms of a drift, on average.

    `_low` and `_high` bound precision and recall at 95 %, by the score interval of E. B. Wilson (1927), for events that
    do not depend on each other. `calibration_error` is the mean absolute difference of probability and share, in ten
    bins. Drifts are those of `ShiryaevRoberts` on whether each event of a class was predicted so (recall), and whether
    each one predicted so was of it (precision). Raises `UsageError` for a table without the columns, and ValueError for
    times and probabilities that are none.
    """
    table = arrow_of(frame)
    wanted = [time, prediction, label, *(probabilities or {}).values()]
    if lacking := [name for name in wanted if name not in table.column_names]:
        raise UsageError(f"the table has no column {lacking[0]}; it has {', '.join(table.column_names)}")
    table = table.select(list(dict.fromkeys(wanted))).drop_null()
    at_ms = _times(table[time], time)
    order = np.argsort(at_ms, kind="stable")
    at_ms, truth, said = at_ms[order], _texts(table[label])[order], _texts(table[prediction])[order]
    chances = {of: table[name].to_numpy()[order] for of, name in (probabilities or {}).items()}
    step_ms = 1000 * seconds_of(every, least=1)
    rows = [
        row
        for start in np.unique(at_ms // step_ms)
        for row in _scores(int(start * step_ms), at_ms // step_ms == start, truth, said, chances)
    ]
    drifts = [row for name in np.unique(truth) for row in _drifts(name, at_ms, truth, said, arl0)]
    return ClassHistory(pa.Table.from_pylist(rows, _SCORES), pa.Table.from_pylist(drifts, _DRIFTS))


def _scores(start_ms: int, here: Any, truth: Any, said: Any, chances: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = class_scores(truth[here], said[here])
    for i, name in enumerate(found.name.tolist()):
        n, predicted, both = int(found.n_labels[i]), int(found.n_predicted[i]), int(found.n_both[i])
        row = {"start": start_ms, "class": name, "n_labels": n, "n_predicted": predicted}
        for score, of in (("precision", predicted), ("recall", n)):
            row |= dict(zip((score, f"{score}_low", f"{score}_high"), _wilson(both, of), strict=True))
        row["f1"] = 2 * both / (n + predicted) if n + predicted else None
        if name in chances:
            of_class = calibration(chances[name][here], truth[here] == name)
            row |= {"calibration_error": of_class.error, "brier": of_class.brier}
        yield row


def _wilson(part: int, whole: int) -> tuple[float | None, float | None, float | None]:
    """A share, and its bounds."""
    if not whole:
        return None, None, None
    share, z2 = part / whole, Z_95**2 / whole
    middle = (share + z2 / 2) / (1 + z2)
    reach = Z_95 / (1 + z2) * (share * (1 - share) / whole + z2 / whole / 4) ** 0.5
    return share, max(middle - reach, 0.0), min(middle + reach, 1.0)


def _drifts(name: str, at_ms: Any, truth: Any, said: Any, arl0: float) -> Iterator[dict[str, Any]]:
    for score, of in (("precision", said == name), ("recall", truth == name)):
        times, hits = at_ms[of], (truth[of] == said[of]).astype(np.float64)
        for alarm in ShiryaevRoberts(arl0=arl0).update_many(hits):
            onset = alarm.at + 1 - alarm.n_current
            when = {"onset": int(times[onset]), "seen_at": int(times[alarm.at])}
            yield {"class": name, "score": score, **when, "before": alarm.before, "after": alarm.after}


def _texts(column: pa.ChunkedArray) -> Any:
    return np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)


def _times(column: pa.ChunkedArray, name: str) -> Any:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
    found = times_ms(column.to_pylist(), "auto", np.full(len(column), UNREADABLE))
    if len(wrong := np.flatnonzero(found == UNREADABLE)):
        raise ValueError(f"{name} of row {wrong[0]} is no time: {column[int(wrong[0])].as_py()!r}")
    return found
