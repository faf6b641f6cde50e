"""Scores of classes: those of river's metrics, and calibration by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics

from detectors.profile.classes import calibration, class_scores

EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=60)


@given(events=EVENTS)
def test_scores_are_those_of_river(events):
    """Precision, recall and F1 of each class, one against the rest; NaN where there is no case, river has 0."""
    labels, predictions = zip(*events, strict=True)
    found = class_scores(labels, predictions)
    assert found.name.tolist() == sorted(set(labels) | set(predictions))
    for k, name in enumerate(found.name):
        scores = [metrics.Precision(), metrics.Recall(), metrics.F1()]
        for label, prediction in events:
            for score in scores:
                score.update(label == name, prediction == name)
        ours = [found.precision[k], found.recall[k], found.f1[k]]
        assert [0.0 if math.isnan(x) else x for x in ours] == pytest.approx([score.get() for score in scores])
        assert math.isnan(found.precision[k]) == (name not in predictions)
        assert math.isnan(found.recall[k]) == (name not in labels)
        assert (found.n_labels[k], found.n_predicted[k]) == (labels.count(name), predictions.count(name))


def test_calibration_compares_what_was_said_with_what_came():
    """Two bins of two and three events; a bin without events is NaN and counts for nothing."""
    found = calibration([0.1, 0.3, 0.9, 1.0, 0.8], [0, 1, 1, 1, 0], bins=2)
    assert found.n.tolist() == [2, 3]
    assert found.predicted == pytest.approx([0.2, 0.9])
    assert found.observed == pytest.approx([0.5, 2 / 3])
    assert found.error == pytest.approx((2 * 0.3 + 3 * (0.9 - 2 / 3)) / 5)
    assert found.brier == pytest.approx((0.01 + 0.49 + 0.01 + 0.0 + 0.64) / 5)
    sparse = calibration([0.05], [0.0])
    assert np.isnan(sparse.predicted[1:]).all()
    assert sparse.error == pytest.approx(0.05)
    random = np.random.default_rng(3)
    chance = random.random(100_000)
    assert calibration(chance, random.random(100_000) < chance).error < 0.01


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: class_scores(["a"], ["a", "b"]), "two rows of one length"),
        (lambda: class_scores([], []), "two rows of one length"),
        (lambda: class_scores(["1"], [1]), "pass both as texts or as numbers"),
        (lambda: class_scores(np.arange(20_000.0), np.arange(20_000.0)), "numbers of a regression"),
        (lambda: calibration([0.5], [0.5]), "an outcome must be 0 or 1"),
        (lambda: calibration([1.5], [1.0]), "between 0 and 1"),
        (lambda: calibration([0.5], []), "of one length"),
        (lambda: calibration([0.5], [1], bins=0), "bins must lie between 1 and 1,000"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, sentence):
    """The sentence names what came."""
    with pytest.raises(ValueError, match=sentence):
        call()
