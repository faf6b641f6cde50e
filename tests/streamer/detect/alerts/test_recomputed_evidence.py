"""The numbers of a ready alert are a plain recomputation over the recorded values, written here a second time."""

import json
import math
from statistics import fmean, median, pstdev

import numpy as np
import pytest
from alert_kit import alerts_of
from fold_kit import fold, prediction, records
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.reference import CategoryReference, Reference
from detectors.registry import settings_of
from streamer.detect.references.table import References

ENOUGH, START, LENGTH = 100, 450, 800
DETECTORS = {
    "shiryaev_roberts": settings_of("shiryaev_roberts"),
    "adwin": settings_of("adwin"),
    "ks_window": settings_of("ks_window", window=60, reference_size=60),
    "category_window": settings_of("category_window", window=60, reference_size=60),
}
UNITS = {"shiryaev_roberts": "ks", "ks_window": "ks", "adwin": "sd", "category_window": "tv"}
TAKES_TRAINING = {"shiryaev_roberts", "ks_window", "category_window"}


def folds(values):
    """The indices of five parts of the values: each block of five is turned by its golden multiple."""
    of = [(i + ((i // 5 * 0x9E3779B97F4A7C15) % 2**64 >> 61)) % 5 for i in range(len(values))]
    return [[i for i, one in enumerate(of) if one == fold] for fold in range(5)]


def share(values, chosen):
    return sum(map(chosen, values)) / len(values)


def share_se(p, n, q, m):
    p, q = (p * n + 0.5) / (n + 1), (q * m + 0.5) / (m + 1)
    return math.sqrt(p * (1 - p) / n + q * (1 - q) / m)


def farthest(before, after):
    points = sorted({*before, *after})
    gone = [sum(v <= x for v in after) * len(before) - sum(v <= x for v in before) * len(after) for x in points]
    far = max(range(len(points)), key=lambda i: (abs(gone[i]), -i))
    return lambda v: (v <= points[far]) == (gone[far] > 0)


def gaining(before, after):
    more = {c for c in {*before, *after} if after.count(c) / len(after) > before.count(c) / len(before)}
    return lambda v: v in more


def crossed(before, after, find):
    """A distance and its standard error: each part of the values counts by what the others show."""
    gained, lost = 0, 0
    for of_before, of_after in zip(folds(before), folds(after), strict=True):
        others = [
            [v for i, v in enumerate(one) if i not in out] for one, out in ((before, of_before), (after, of_after))
        ]
        chosen = find(*others)
        gained += sum(chosen(after[i]) for i in of_after)
        lost += sum(chosen(before[i]) for i in of_before)
    p, q = lost / len(before), gained / len(after)
    return max(q - p, 0.0), share_se(p, len(before), q, len(after))


def in_sd(before, after):
    sd, centre, n, m = pstdev(before), fmean(before), len(before), len(after)
    apart = (fmean(after) - centre) / sd
    skew, kurtosis = (fmean(((v - centre) / sd) ** k for v in before) for k in (3, 4))
    of_before = (1 + apart * skew + apart**2 * (kurtosis - 1) / 4) / n
    return abs(apart), math.sqrt((pstdev(after) ** 2 / sd**2 + 1 / m) / m + max(of_before, 0.0))


def kept_stretches(now):
    """The stretches of value numbers of which the history of a series keeps one value each, at value `now`."""
    found, first = [(i, i + 1) for i in range(min(64, now + 1))], 64
    while first <= now:
        length = first >> 4
        found += [(first + k * length, first + (k + 1) * length) for k in range(16)]
        first *= 2
    newest = next(i for i, (a, b) in enumerate(found) if a <= now < b)
    return {i: found[i] for i in range(max(newest - 63, 0), newest + 1)}


def picked(a, b):
    """The number of the value that a stretch keeps."""
    length = b - a
    hashed = (((a // length) * 0x9E3779B97F4A7C1) % 2**64 >> 20) & (length - 1)
    return next(i for i in range(a, b) if i & (length - 1) == hashed)


def history(values, now, n):
    """The `n` oldest values that the history keeps at value `now`, as it orders them."""
    oldest = list(kept_stretches(now).items())[:n]
    return [values[picked(a, b)] for _, (a, b) in sorted(oldest, key=lambda one: one[0] % 64)]


def series_of(seed, by, step, gaps, is_text):
    """Values with ties and gaps that change at `START`, as JSON has them; and training data."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, LENGTH + 300)
    values[START:LENGTH] += by
    if step:
        values = np.round(values / step) * step
    known = values.astype(np.float32).astype(np.float64).tolist()
    if is_text:
        known = [f"c{round(min(max(v, -2), 3))}" for v in known]
    missing = rng.random(LENGTH) < gaps
    return [None if gone else v for v, gone in zip(known, missing, strict=False)], known[LENGTH:]


def alerts_on(values, cut, detector, training):
    trained = {}
    if training:
        is_text = isinstance(training[0], str)
        counts = {name: training.count(name) for name in set(training)} if is_text else {}
        trained[("m0", "", "x")] = CategoryReference.of(counts) if is_text else Reference.of(training, 1000)
    one = fold(
        min_events_after_onset=ENOUGH,
        detectors={detector: DETECTORS[detector]},
        references=References(trained),
        codecs={"t": fold().settings.codecs["predictions"]},
    )
    given = [prediction("m0", i, 0.0, features={"x": v}, prediction=0.0) for i, v in enumerate(values)]
    found = [alerts_of(one.step([records("t", given[i : i + cut], i)])) for i in range(0, len(given), cut)]
    return [alert for alerts in found for alert in alerts if alert["column"] == "x"]


def check(alert, firing, values, training, unit):
    """Every number of a ready alert, recomputed."""
    present = [(i, v) for i, v in enumerate(values) if v is not None]
    until = sum(i <= alert["ready_at"]["offset"] for i, _ in present)
    after = [v for _, v in present[until - alert["n_current"] : until]]
    now = sum(i <= firing["at"]["offset"] for i, _ in present) - 1
    before = sorted(training) if training else history([v for _, v in present], now, alert["n_reference"])
    assert (len(before), len(after)) == (alert["n_reference"], alert["n_current"])
    if unit == "tv":
        was, now = (share(side, lambda v: v == alert["category"]) for side in (before, after))
        if alert["category"] == "(unseen)":
            was, now = 0.0, share(after, lambda v: v not in before)
        effect, se = crossed(before, after, gaining)
    else:
        few = max(len(set(before)), len(set(after))) <= 10
        was, now = (fmean(side) if few or unit == "sd" else median(side) for side in (before, after))
        effect, se = in_sd(before, after) if unit == "sd" else crossed(before, after, farthest)
        assert alert["shift_sd"] == pytest.approx((now - was) / pstdev(before), rel=1e-5, abs=1e-6)
    plain = {"before": was, "after": now, "effect": effect, "effect_se": se}
    assert {name: alert[name] for name in plain} == pytest.approx(plain, rel=1e-5, abs=1e-6)
    assert len(json.dumps(alert["distribution"])) < 1024
    check_distribution(alert["distribution"], before, after)
    if None not in values:
        ring, at = (32 if unit == "tv" else 64), alert["ready_at"]["offset"]
        since_onset, kept = at - alert["onset"]["offset"] + 1, at - firing["at"]["offset"] + ring
        assert alert["n_current"] == min(since_onset, kept, ENOUGH + ring)


def check_distribution(drawn, before, after):
    """The shares of its cells are those of the values."""
    for shares, side in ((drawn["before"], before), (drawn["after"], after)):
        if drawn.get("categories"):
            named = [name for name in drawn["categories"] if name != "(rest)"]
            plain = [share(side, lambda v, name=name: v == name) for name in named]
        else:
            inner = drawn["edges"][1:-1]
            cells = zip([-math.inf, *inner], [*inner, math.inf], strict=True)
            plain = [share(side, lambda v, low=low, high=high: low <= v < high) for low, high in cells]
        assert shares[: len(plain)] == pytest.approx(plain, abs=1e-4)


@given(
    seed=st.integers(0, 10_000),
    by=st.sampled_from([-4.0, 1.5, 3.0]),
    step=st.sampled_from([0.0, 0.25, 1.0]),
    gaps=st.sampled_from([0.0, 0.2]),
    cut=st.integers(1, LENGTH),
    detector=st.sampled_from(sorted(DETECTORS)),
    is_trained=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_evidence_at_ready_is_recomputed(seed, by, step, gaps, cut, detector, is_trained):
    """Before, after, effect, standard error, shift, counts and distribution; with ties, gaps and any cut."""
    values, training = series_of(seed, by, step, gaps, UNITS[detector] == "tv")
    known = training if is_trained and detector in TAKES_TRAINING else []
    alerts = alerts_on(values, cut, detector, known)
    if not alerts:
        return
    name = alerts[0]["alert_id"]  # later alerts rest on a baseline of their own
    ready = [a for a in alerts if a["alert_id"] == name and a["state"] == "ready"]
    for alert in ready:
        check(alert, alerts[0], values, known, UNITS[detector])


@pytest.mark.parametrize("detector", sorted(DETECTORS))
def test_there_are_alerts_to_recompute(detector):
    """Of clear jumps, every detector's alerts become ready; none of the cases above is empty for want of them."""
    values, _ = series_of(3, 3.0, 0.0, 0.0, UNITS[detector] == "tv")
    assert [a["state"] for a in alerts_on(values, 300, detector, [])][:2] == ["firing", "ready"]
