"""Two sliding windows: the decision of scipy at every event."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from detectors.ks.critical import scale_of
from detectors.ks.sliding import KsSlidingBank
from detectors.ks.window import KsWindowSettings


def feed(bank, values):
    values = np.asarray(values, np.float64)
    rows = np.zeros(len(values), np.int64)
    return bank.update(rows, values, rows)


def compare(reference, window, alpha, values):
    """Event by event; returns how many alarms there were."""
    bank = KsSlidingBank(KsWindowSettings(window, reference, alpha, sliding=True), 1)
    scale = scale_of(reference, window, alpha)
    over, alarms_seen = True, 0  # whether the last drift is
    for i in range(len(values)):
        alarms = feed(bank, values[i : i + 1])
        result = None
        if i + 1 >= window + reference:
            old = values[i + 1 - window - reference : i + 1 - window]
            result = ks_2samp(old, values[i + 1 - window : i + 1], method="asymp")
        drift = result is not None and bool(result.pvalue <= alpha)
        assert bank.drifted(0) == drift, f"at {i}"
        assert len(alarms) == (drift and over)
        if len(alarms):
            assert alarms.statistic[0] == pytest.approx(result.statistic, abs=1e-15)
            new = values[i - int(alarms.onset_ago[0]) : i + 1]
            location = np.mean if np.median(old) == np.median(new) else np.median
            assert alarms.before[0] == pytest.approx(location(old))
            assert alarms.after[0] == pytest.approx(location(new))
        alarms_seen += len(alarms)
        released = result is not None and 2 * round(result.statistic * scale.unit) < scale.critical
        over = not drift and (over or released)
    return alarms_seen


@pytest.mark.parametrize("rounded", [None, 1, 0])
@pytest.mark.parametrize("size", [(100, 100), (64, 90), (120, 40), (7, 13), (13, 7)], ids=str)
def test_decision_is_scipy_s_at_every_event(size, rounded):
    """Equal and unequal windows, with ties and without."""
    random = np.random.default_rng(size)
    values = np.concatenate([random.normal(mean, 1.0, 300) for mean in (0.0, 1.5, 0.0)])
    assert compare(*size, 0.01, values if rounded is None else np.round(values, rounded)) > 0


@given(st.lists(st.integers(-2, 2), max_size=40), st.sampled_from([0.5, 0.2, 0.05]))
def test_small_whole_numbers_of_any_order(values, alpha):
    """Ties between and within the windows, in every pattern hypothesis thinks of."""
    compare(4, 5, alpha, np.array(values, float))


def test_a_new_regime_is_accepted_in_time():
    """Once both windows hold the new regime there is no drift left, and the next change is seen again."""
    random = np.random.default_rng(3)
    bank = KsSlidingBank(KsWindowSettings(sliding=True), 1)
    alarms = []
    for mean in (0.0, 5.0, 0.0):
        alarms.append(len(feed(bank, random.normal(mean, 1.0, 2000))))
        assert not bank.drifted(0)
    assert alarms == [0, 1, 1]
