"""Two versions that predict the same events: the better one is found once, by the errors of the labels of both."""

from __future__ import annotations

import json
from random import Random

import pytest
from alert_kit import alerts_of
from fold_kit import START_MS, fold, records

from retrain.policy.paired import paired_evidence
from streamer.detect.settings import LabelSettings

N = 400


def event(i: int, version: str = "", **more) -> bytes:
    about = {"model_id": "eta", "prediction_id": f"p{i}", "event_time": START_MS + 60_000 * i}
    return json.dumps(about | ({"model_version": version} if version else {}) | more).encode()


def errors(seed: int = 3) -> list[tuple[float, float]]:
    """Of the versions 7 and 8, which errs half as much."""
    random = Random(seed)
    return [(round(random.expovariate(1), 3), round(random.expovariate(2), 3)) for _ in range(N)]


def both(pairs, order=("7", "8", "label")):
    """Predictions of both versions, and the label 100, in this order."""
    for i, (seven, eight) in enumerate(pairs):
        of = {"7": {"prediction": 100 + seven}, "8": {"prediction": 100 + eight}, "label": {"label": 100.0}}
        yield from (event(i, one if one in of and one != "label" else "", **of[one]) for one in order)


def compared(values, **changes):
    """The alerts that compare versions."""
    found = alerts_of(fold(detectors={}, **changes).step([records("predictions", list(values))]))
    return [one for one in found if one["kind"] == "better_version"]


def test_the_better_version_is_named_once_with_its_evidence(conforms):
    """At the first pair with which the evidence reaches 2 / error_rate; its numbers are those of the pairs so far."""
    pairs = errors()
    (alert,) = compared(both(pairs))
    n = alert["n_current"]
    found, before = (paired_evidence(*zip(*pairs[:k], strict=True)) for k in (n, n - 1))
    assert before.for_challenger < 40 <= found.for_challenger
    assert alert["threshold"] == pytest.approx(40)
    assert alert["statistic"] == pytest.approx(found.for_challenger)
    assert (alert["model_version"], alert["category"], alert["state"]) == ("8", "7", "firing")
    means = [sum(one[k] for one in pairs[:n]) / n for k in (0, 1)]
    assert (alert["before"], alert["after"]) == pytest.approx(means)
    assert alert["effect"] == pytest.approx(1 - means[1] / means[0])
    assert alert["at"]["offset"] == 3 * n - 1
    words = f"error is smaller with version 8 than with 7: {means[1]:.3g} and {means[0]:.3g} on average of {n} events"
    assert alert["summary"].startswith(words)
    conforms("alert.v1", json.dumps(alert).encode())


def test_a_challenger_that_is_worse_is_found_as_well():
    """Then the champion is the better one, with the same numbers."""
    (better,) = compared(both(errors()))
    (worse,) = compared(both([(eight, seven) for seven, eight in errors()]))
    assert (worse["model_version"], worse["category"]) == ("7", "8")
    assert [worse[name] for name in ("before", "after", "statistic", "at")] == [
        better[name] for name in ("before", "after", "statistic", "at")
    ]


def test_each_two_of_three_versions_are_compared():
    """Alerts of one event have ids of their own."""
    pairs = [(4.0, 2.0)] * N
    values = [
        one
        for i, (a, b) in enumerate(pairs)
        for one in (
            event(i, "7", prediction=a), event(i, "8", prediction=b), event(i, "9", prediction=1.0), event(i, label=0.0)
        )
    ]  # fmt: skip
    found = compared(values)
    assert {(one["model_version"], one["category"]) for one in found} == {("8", "7"), ("9", "7"), ("9", "8")}
    assert len({one["alert_id"] for one in found}) == 3
    assert len({one["at"]["offset"] for one in found}) < 3


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        (both(errors(), ("7", "label", "8")), {}),
        (both(errors()), {"shadow_error_rate": None}),
        (both(errors()), {"labels": LabelSettings(timeout_s=60, corrections="last")}),
        ((event(i, "7", prediction=x) for i, (x, _) in enumerate(errors())), {}),
        (both([(x, x) for x, _ in errors()]), {}),
    ],
    ids=["label before one of them", "switched off", "corrections", "one version", "equal errors"],
)
def test_what_is_no_pair_decides_nothing(values, changes):
    """A label that finds only one of the predictions, settings without a comparison, and errors that are equal."""
    assert compared(values, **changes) == []
