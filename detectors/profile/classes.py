"""How right the classes and probabilities of a classifier are: precision, recall, F1 and calibration by class.

All are functions of predictions and labels; a share without any case is NaN.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detectors.base import F64, I64

BINS: Final = 10
CLASSES_MAX: Final = 10_000


class ClassScores(NamedTuple):
    """Scores of each class, [classes] each, in order of the classes."""

    name: NDArray[np.object_]
    n_labels: I64  # events that are of the class ...
    n_predicted: I64  # ... that were predicted to be ...
    n_both: I64  # ... and both
    precision: F64  # of those predicted, the share that are
    recall: F64  # of those that are, the share predicted
    f1: F64  # harmonic mean of the two


class Calibration(NamedTuple):
    """Predicted probabilities of a class beside how often it came, in bins of equal width, [bins] each."""

    n: I64
    predicted: F64  # mean probability of the bin
    observed: F64  # share of the events of the bin that are of the class
    error: float  # mean of |predicted - observed| over all events (expected calibration error)
    brier: float  # mean squared difference of probability and outcome


def class_scores(labels: ArrayLike, predictions: ArrayLike) -> ClassScores:
    """Scores of each class of these events [n], given by texts or numbers. ValueError for other shapes, or no event."""
    truth, said = np.asarray(labels), np.asarray(predictions)
    if truth.ndim != 1 or truth.shape != said.shape or not len(truth):
        raise ValueError(f"labels and predictions must be two rows of one length, got {truth.shape} and {said.shape}")
    if (truth.dtype.kind in "OU") != (said.dtype.kind in "OU"):
        raise ValueError(f"labels are {truth.dtype} and predictions {said.dtype}: pass both as texts or as numbers")
    names, codes = np.unique(np.concatenate([truth, said]), return_inverse=True)
    if len(names) > CLASSES_MAX:
        raise ValueError(f"got {len(names):,} classes, at most {CLASSES_MAX:,}: are these numbers of a regression?")
    is_class, is_said = codes[: len(truth)], codes[len(truth) :]
    of = np.bincount(is_class, minlength=len(names))
    predicted = np.bincount(is_said, minlength=len(names))
    both = np.bincount(is_class[is_class == is_said], minlength=len(names))
    precision, recall = _share(both, predicted), _share(both, of)
    return ClassScores(names.astype(object), of, predicted, both, precision, recall, _share(2 * both, of + predicted))


def calibration(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = BINS) -> Calibration:
    """Of one class: its predicted probabilities [n], 0 to 1, and whether each event is of the class [n].

    Of many classes, call it for each column of probabilities, with `labels == name`. ValueError for other shapes, for a
    probability outside [0, 1], an outcome other than 0 and 1, no event, or bins outside 1 to 1,000.
    """
    chance, came = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    if chance.ndim != 1 or chance.shape != came.shape or not len(chance):
        raise ValueError(f"probabilities and outcomes must be of one length, got {chance.shape} and {came.shape}")
    if not ((chance >= 0.0) & (chance <= 1.0)).all():
        raise ValueError("a probability must lie between 0 and 1")
    if not ((came == 0.0) | (came == 1.0)).all():
        raise ValueError("an outcome must be 0 or 1: pass labels == name")
    if not 1 <= bins <= 1000:
        raise ValueError(f"bins must lie between 1 and 1,000, got {bins}")
    at = np.minimum((chance * bins).astype(np.int64), bins - 1)
    n = np.bincount(at, minlength=bins)
    predicted, observed = (_share(np.bincount(at, weights=x, minlength=bins), n) for x in (chance, came))
    filled = n > 0
    error = float((n[filled] * np.abs(predicted[filled] - observed[filled])).sum() / len(chance))
    return Calibration(n, predicted, observed, error, float(((chance - came) ** 2).mean()))


def _share(part: NDArray[np.generic], whole: I64) -> F64:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
