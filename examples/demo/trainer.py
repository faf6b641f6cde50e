"""A trainer, as the target `command` starts it: least squares on the window that the request names.

The launcher gives it the request in its environment; `streamer.training` reads the window and reports the result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.training import job, parts

F64 = NDArray[np.float64]

VERSION = "2"
NUMBERS = ("headway_s", "dwell_time_s", "temperature_c")


def inputs(columns: Mapping[str, Sequence[Any]]) -> F64:
    """The features of events as columns of a matrix: 1, numbers, rain, and the evening rush as a bump."""
    hour = np.asarray(columns["hour"], float)
    rain = np.array([one == "rain" for one in columns["weather"]], float)
    rush = np.exp(-(((hour + 0.5 - 17.2) / 2.0) ** 2))
    numbers = [np.asarray(columns[name], float) for name in NUMBERS]
    return np.column_stack([np.ones(len(hour)), *numbers, rain, rush])


def mean_error(label: F64, prediction: F64) -> float:
    """The mean absolute error, in seconds."""
    return float(np.abs(label - prediction).mean())


def train() -> None:
    """Fit on the earlier part of the window, and compare with the champion on the later one."""
    with job() as training:
        fitted_on, holdout = (
            part.filter(part["label"].is_valid()).to_pydict() for part in parts(training.table(holdout=0.25))
        )
        weights, *_ = np.linalg.lstsq(inputs(fitted_on), np.array(fitted_on["label"]), rcond=None)
        artifact = Path(os.environ["DRIFTLINE_RESULT"]).with_name("model.json")
        artifact.write_text(json.dumps(weights.tolist()))
        label = np.array(holdout["label"])
        training.trained(
            VERSION,
            champion={"mae": mean_error(label, np.array(holdout["prediction"]))},
            challenger={"mae": mean_error(label, inputs(holdout) @ weights)},
            artifact=str(artifact),
        )


if __name__ == "__main__":
    train()
