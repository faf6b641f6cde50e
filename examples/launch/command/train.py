"""A trainer: corrects the model by the mean error of the window, and compares both on the same hold-out."""

import pyarrow.compute as pc

from streamer.training import job, parts


def mean_error(table, offset):
    """The mean absolute error of the predictions, moved by an offset."""
    labelled = table.filter(pc.is_valid(table["label"]))
    moved = pc.add(labelled["prediction"], offset)
    return pc.mean(pc.abs(pc.subtract(labelled["label"], moved))).as_py()


with job() as training:
    train, holdout = parts(training.table(holdout=0.2))
    offset = pc.mean(pc.subtract(train["label"], train["prediction"])).as_py()
    training.trained(
        version=f"offset{offset:+.2f}",
        champion={"mae": mean_error(holdout, 0.0)},
        challenger={"mae": mean_error(holdout, offset)},
    )
