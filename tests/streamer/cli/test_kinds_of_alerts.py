"""Each kind of alert, end to end: a recording goes in by `driftline replay`, and its alerts come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import cli

from retrain.messages.alert import AlertKind

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
START_MS = 20_500 * DAY_MS
N, CHANGE = 2400, 1200  # events, and the first of them that is another
Event = dict[str, Any]


def features(change: Callable[[Random, Event], None]) -> Iterator[Event]:
    """An event a minute, whose features `change` makes other from the middle on."""
    random = Random(1)
    for i in range(N):
        values = {"x": random.gauss(600, 60), "weather": random.choice(["sun", "rain"])}
        if i >= CHANGE:
            change(random, values)
        yield {"model_id": "bus", "event_time": START_MS + i * MINUTE_MS, "features": values}


def sometimes(**values: object) -> Callable[[Random, Event], None]:
    """These values in three of ten events."""
    return lambda random, event: event.update(values) if random.random() < 0.3 else None


def stuck() -> Iterator[Event]:
    """A producer that sends its event of the middle again and again."""
    events = list(features(lambda *_: None))
    return iter([*events[:CHANGE], *[events[CHANGE]] * 200])


def errors() -> Iterator[Event]:
    """Predictions that bring their label along, and are wrong one time in two instead of one in ten."""
    random = Random(2)
    for i in range(N):
        wrong = random.random() < (0.5 if i >= CHANGE else 0.1)
        yield {"model_id": "bus", "event_time": START_MS + i * MINUTE_MS, "prediction": 1, "label": int(not wrong)}


def lags() -> Iterator[Event]:
    """Labels that come after 20 to 40 minutes, and later after 200 to 400."""
    random, events = Random(3), []
    for i in range(N):
        at, factor = START_MS + i * MINUTE_MS, 10 if i >= CHANGE else 1
        events.append({"model_id": "bus", "event_time": at, "prediction_id": f"p{i}", "prediction": 1})
        lag_ms = int(random.uniform(20, 40) * factor * MINUTE_MS)
        events.append({"model_id": "bus", "event_time": at + lag_ms, "prediction_id": f"p{i}", "label": 1})
    return iter(sorted(events, key=lambda event: event["event_time"]))


def fleet(of_bus: Callable[[int, Random], bool], label: bool = False) -> Iterator[Event]:
    """Four models with an event every 20 minutes for 22 days; those of one, or its labels, come only where it says."""
    random = Random(4)
    for i in range(22 * 72):
        for model in ("bus", "tram", "metro", "ferry"):
            at = START_MS + i * 20 * MINUTE_MS + random.randrange(20 * MINUTE_MS)
            if label:
                yield {"model_id": model, "event_time": at, "prediction_id": f"{model}{i}", "prediction": 1}
            if model != "bus" or of_bus(i, random):
                what = {"prediction_id": f"{model}{i}", "label": 1} if label else {"prediction": 1}
                yield {"model_id": model, "event_time": at, **what}


@dataclass(frozen=True)
class Case:
    """A recording, and what its one alert of this kind must say."""

    events: Callable[[], Iterator[Event]]
    kind: str
    column: str
    detector: str
    config: str = ""
    is_trained: bool = False


CASES = {
    "drift by adwin": Case(lambda: features(lambda _, f: f.update(x=f["x"] + 200)), "drift", "x", "adwin"),
    "drift by ks_window": Case(lambda: features(lambda _, f: f.update(x=f["x"] + 200)), "drift", "x", "ks_window"),
    "drift by shiryaev_roberts": Case(
        lambda: features(lambda _, f: f.update(x=f["x"] + 200)), "drift", "x", "shiryaev_roberts"
    ),
    "drift by category_rates": Case(
        lambda: features(lambda _, f: f.update(weather="sun")), "drift", "weather", "category_rates"
    ),
    "drift by category_rates, against training": Case(
        lambda: features(lambda _, f: f.update(weather="sun")), "drift", "weather", "category_rates", is_trained=True
    ),
    "drift by category_window": Case(
        lambda: features(lambda _, f: f.update(weather="sun")), "drift", "weather", "category_window"
    ),
    "drift of the error": Case(errors, "drift", "error", "adwin", "labels: {error: zero_one}"),
    "missing": Case(lambda: features(sometimes(x=None)), "missing", "x", "rate"),
    "missing, not a number": Case(lambda: features(sometimes(x=float("nan"))), "missing", "x", "rate"),
    "missing, infinite": Case(lambda: features(sometimes(x=float("-inf"))), "missing", "x", "rate"),
    "missing, against training": Case(
        lambda: features(lambda _, f: f.update(x=None)), "missing", "x", "rate", is_trained=True
    ),
    "a number that turns into text": Case(lambda: features(lambda _, f: f.update(x="n/a")), "type_fault", "x", "rate"),
    "text that turns into a number": Case(
        lambda: features(lambda _, f: f.update(weather=3)), "type_fault", "weather", "rate"
    ),
    "out_of_range": Case(lambda: features(sometimes(x=9e9)), "out_of_range", "x", "rate", is_trained=True),
    "unseen": Case(lambda: features(sometimes(weather="hail")), "unseen", "weather", "rate", is_trained=True),
    "absent": Case(lambda: features(lambda _, f: f.pop("x")), "absent", "x", "absence"),
    "limit": Case(
        lambda: features(lambda r, f: f.update(weather=f"rain-{r.random()}")),
        "limit",
        "(categories_max)",
        "limits",
        "limits: {categories_max: 3}\ndetectors: {rate: }",
    ),
    "repeated": Case(stuck, "repeated", "(events)", "repeats"),
    "label_lag": Case(lags, "label_lag", "label_lag_s", "ks_window", "labels: {watch_lag: true}"),
    "silent": Case(lambda: fleet(lambda i, _: i < 1080), "silent", "(events)", "flow"),
    "labels silent": Case(lambda: fleet(lambda i, _: i < 1080, label=True), "silent", "(labels)", "flow"),
    "label_rate": Case(
        lambda: fleet(lambda i, r: i < 1080 or r.random() < 0.6, label=True),
        "label_rate",
        "(labels)",
        "flow",
        "labels: {timeout_s: 86400}",
    ),
    "event_rate": Case(lambda: fleet(lambda i, r: i < 1080 or r.random() < 0.3), "event_rate", "(events)", "flow"),
}


def replayed(case: Case, tmp_path) -> list[Event]:
    """The alerts of a recording."""
    lines = [json.dumps(event) for event in case.events()]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    config = [case.config, "topics: {events: {format: json}}"]
    if case.detector not in {"flow", "absence", "limits", "repeats"}:
        config.append(f"detectors: {{{case.detector}: }}")
    if case.is_trained:
        random = Random(5)
        rows = {"x": [random.gauss(600, 60) for _ in range(5000)], "weather": ["sun", "rain"] * 2500}
        pq.write_table(pa.table(rows), tmp_path / "training.parquet")
        built = cli(
            "reference", "build", str(tmp_path / "training.parquet"), "--model", "bus", "--out", str(tmp_path / "r")
        )
        assert built.exit_code == 0, built.stderr
        config.append(f"references: {{file: {tmp_path / 'r'}}}")
    (tmp_path / "driftline.yaml").write_text("\n".join(config))
    ran = cli(
        "replay", str(tmp_path / "events.jsonl"), "--topic", "events", "--config", str(tmp_path / "driftline.yaml")
    )
    assert ran.exit_code == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return [line for line in found if line["type"] == "alert" and line["state"] == "firing"]


@pytest.mark.parametrize("name", CASES)
def test_a_recording_gives_the_alert_of_its_kind(name, tmp_path):
    """One alert says kind, model, column and detector, and lies where the recording changes; it is the only one."""
    case = CASES[name]
    (alert,) = replayed(case, tmp_path)
    reported = (alert["kind"], alert["model_id"], alert["column"], alert["detector"])
    assert reported == (case.kind, "bus", case.column, case.detector)
    is_flow = case.detector == "flow"
    changes_ms, late_ms = (15 * DAY_MS, 3.2 * DAY_MS) if is_flow else (CHANGE * MINUTE_MS, 420 * MINUTE_MS)
    assert START_MS + changes_ms - late_ms / 4 < ms_of(alert["onset"]) < START_MS + changes_ms + late_ms / 4
    assert START_MS + changes_ms <= ms_of(alert["at"]) < START_MS + changes_ms + late_ms
    assert bool(alert["reference_digest"]) == case.is_trained


def ms_of(place: Event) -> float:
    """The event time of a place in the log."""
    from datetime import datetime

    return datetime.fromisoformat(place["event_time"]).timestamp() * 1000


@pytest.mark.parametrize("label", [False, True])
def test_a_fleet_that_goes_on_raises_nothing(label, tmp_path):
    """Four models whose events, and labels, come as they came raise no alert on how they come."""
    assert replayed(Case(lambda: fleet(lambda *_: True, label=label), "silent", "", "flow"), tmp_path) == []


def test_every_kind_has_its_recording():
    """But for three, in `test_segments.py`, `test_label_accounting.py` and `test_shadow_monitor.py`."""
    others = {"segment_gap", "label_mismatch", "better_version"}
    assert {case.kind for case in CASES.values()} | others == set(AlertKind)


def test_a_limit_is_explained_in_words(tmp_path):
    """`explain` says which name had no room, and which setting to raise."""
    (alert,) = replayed(CASES["limit"], tmp_path)
    ran = cli(
        "replay", str(tmp_path / "events.jsonl"), "--topic", "events", "--config", str(tmp_path / "driftline.yaml")
    )
    (tmp_path / "reported.jsonl").write_text(ran.stdout)
    story = cli("explain", alert["alert_id"], str(tmp_path / "reported.jsonl")).stdout
    assert f"rejected {alert['category']!r}: (categories_max) is reached, 3 names" in story
    assert "not_drift" in story
