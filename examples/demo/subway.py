"""Ten years of the Toronto subway as the events of four models, one for each line, fitted once, on 2014.

A report of a delay has a place, a time and a code for the cause. The model of a line predicts the delay in minutes from
such reports of 2014; the true delay follows as a label. The model is simple: a mean for each code and block of hours,
shrunk towards the mean of the code, and that towards the mean of the line; few reports shrink more. Its training data
end with 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from examples.demo.stream import HOUR_MS, I64, MINUTE_MS, Stream, rfc3339

F64 = NDArray[np.float64]

DATA = Path(__file__).parents[1] / "data" / "ttc_subway_delays.parquet"
LINES = ("YU", "BD", "SHP", "SRT")
MODELS = tuple(f"subway-{line.lower()}" for line in LINES)
TRAINING_END_MS = 1_420_070_400_000  # 2015-01-01; before it, reports are training data
BLOCK_HOURS = 6
DELAY_MAX_MIN = 60.0  # cap of delays in training, so that one flood does not move a mean
PRIOR_REPORTS = 20  # weight of a coarser mean, in reports
REPORTING_MIN = 5  # from the end of a delay to its label
PARTITIONS = 2
PREDICTIONS, LABELS = "subway.predictions", "subway.labels"


@dataclass(frozen=True, slots=True)
class Reports:
    """Delay reports in order of time. Times are those of Toronto clocks, read as UTC."""

    time_ms: I64
    line: I64  # index into LINES
    code: I64  # index into `codes`
    codes: list[str]
    delay_min: F64
    gap_min: F64  # from train to train while the delay lasted; NaN where there was none (the data say 0)
    bound: list[str]  # direction, "n" where none is given

    @property
    def hour(self) -> I64:
        return self.time_ms // HOUR_MS % 24


@dataclass(frozen=True, slots=True)
class Subway:
    """The two topics, and the training data of the models as a table of `driftline`'s `references.file`."""

    streams: tuple[Stream, Stream]
    training: pa.Table
    left_out: int  # reports without a single line


def subway(path: Path = DATA) -> Subway:
    """Read the reports and predict their delays."""
    reports, left_out = read_reports(path)
    prediction = predictions(reports, training=reports.time_ms < TRAINING_END_MS)
    return Subway(_streams(reports, prediction), _training(reports, prediction), left_out)


def read_reports(path: Path) -> tuple[Reports, int]:
    """The reports of the four lines, and the number of others: two lines at once, bus routes, typing errors."""
    table = pq.read_table(path)
    order = np.argsort(table["timestamp"].to_numpy(), kind="stable")
    table = table.take(order)
    line = _index_of(table["line"].to_pylist(), LINES)
    table = table.filter(pa.array(line >= 0))
    code = table["code"].combine_chunks().dictionary_encode()
    reports = Reports(
        table["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64),
        line[line >= 0],
        code.indices.to_numpy().astype(np.int64),
        code.dictionary.to_pylist(),
        table["delay_min"].to_numpy().astype(np.float64),
        np.where((gap := table["gap_min"].to_numpy()) > 0, gap, np.nan),
        table["bound"].to_pylist(),
    )
    return reports, int(np.count_nonzero(line < 0))


def predictions(reports: Reports, training: NDArray[np.bool_]) -> F64:
    """What the models say to each report, in minutes; they know the delays of the `training` reports alone."""
    delay = np.minimum(reports.delay_min, DELAY_MAX_MIN)
    block = reports.hour // BLOCK_HOURS
    by_code = reports.line * len(reports.codes) + reports.code
    answer: Any = delay[training].mean()
    for group in (reports.line, by_code, by_code * (24 // BLOCK_HOURS) + block):
        size = int(group.max()) + 1
        total = np.bincount(group[training], delay[training], size)[group]
        count = np.bincount(group[training], minlength=size)[group]
        answer = (total + PRIOR_REPORTS * answer) / (count + PRIOR_REPORTS)
    return np.round(answer, 2)


def _streams(reports: Reports, prediction: F64) -> tuple[Stream, Stream]:
    live = np.flatnonzero(reports.time_ms >= TRAINING_END_MS)
    asked_ms, line, delay = reports.time_ms[live], reports.line[live], reports.delay_min[live]
    known_ms = asked_ms + ((delay + REPORTING_MIN) * MINUTE_MS).astype(np.int64)
    models = [MODELS[i] for i in line.tolist()]
    ids = [f"{i:06d}" for i in range(len(live))]
    facts = zip(
        models, ids, rfc3339(asked_ms), _json(reports.gap_min[live]), reports.hour[live].tolist(),
        [reports.codes[i] for i in reports.code[live].tolist()], [reports.bound[i] for i in live.tolist()],
        prediction[live].tolist(), strict=True,
    )  # fmt: skip
    questions = [
        f'{{"model_id":"{model}","model_version":"2014","prediction_id":"{i}","event_time":"{at}","features":'
        f'{{"gap_min":{gap},"hour":{hour},"code":"{code}","bound":"{bound}"}},"prediction":{answer}}}'
        for model, i, at, gap, hour, code, bound, answer in facts
    ]
    labels = [
        f'{{"model_id":"{model}","prediction_id":"{i}","event_time":"{at}","label":{truth}}}'
        for model, i, at, truth in zip(models, ids, rfc3339(known_ms), delay.tolist(), strict=True)
    ]
    later = np.argsort(known_ms, kind="stable")
    partition = line % PARTITIONS
    return (
        Stream(PREDICTIONS, asked_ms, partition, models, questions),
        Stream(LABELS, known_ms[later], partition[later], [models[i] for i in later], [labels[i] for i in later]),
    )


def _training(reports: Reports, prediction: F64) -> pa.Table:
    past = reports.time_ms < TRAINING_END_MS
    return pa.table(
        {
            "model_id": [MODELS[i] for i in reports.line[past].tolist()],
            "gap_min": reports.gap_min[past],
            "hour": reports.hour[past].astype(np.float64),
            "prediction": prediction[past],
            "error": np.abs(reports.delay_min[past] - prediction[past]),
        }
    )


def _json(numbers: F64) -> list[str]:
    return ["null" if number != number else f"{number:g}" for number in numbers.tolist()]


def _index_of(texts: list[str], names: tuple[str, ...]) -> I64:
    """The place of each text among the names; -1 for others."""
    places = {name: i for i, name in enumerate(names)}
    return np.array([places.get(text, -1) for text in texts], np.int64)
