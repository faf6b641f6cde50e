"""Values as streams bring them: odd first values, numbers as text, mixed codes, nested values, floats, calendars."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from alert_kit import alerts_of
from fold_kit import START_MS, fold, records
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.reference import CategoryReference, Reference
from detectors.registry import settings_of
from streamer.detect.inspect import columns_of
from streamer.detect.references.table import References
from streamer.detect.settings import Cast
from streamer.eventlog.base import Records

N, TURN = 1300, 800
ALL = {
    "shiryaev_roberts": settings_of("shiryaev_roberts"),
    "category_window": settings_of("category_window", window=100, reference_size=100, alpha=1e-6),
    "rate": settings_of("rate"),
}


def event(i, features, step_ms=60_000, **more):
    of = {"model_id": "m", "prediction_id": str(i), "event_time": START_MS + step_ms * i, "features": features}
    return json.dumps(of | more).encode()


def firing(values, **changes):
    one = fold(**{"detectors": ALL} | changes)
    alerts = [a for a in alerts_of(one.step([records("predictions", values)])) if a["state"] == "firing"]
    return one, {(a["column"], a["kind"], a["category"]) for a in alerts}


def states(one):
    return {column.column: (column.kind, column.states) for column in columns_of("u", one, "m")}


def test_one_odd_first_value_decides_nothing():
    """Numbers behind a token, and categories behind a number, are watched; the turns are counted."""
    rng = np.random.default_rng(1)
    level = np.where(np.arange(N) < TURN, 10, 13) + rng.normal(size=N)
    values = [event(0, {"x": "N/A", "zone": 0}, prediction="warmup")]
    values += [event(i, {"x": level[i], "zone": "ab"[i % 2]}, prediction=level[i] / 2) for i in range(1, N)]
    one, found = firing(values)
    assert {column for column, kind, _ in found if kind == "drift"} == {"x", "prediction"}
    assert one.tally["retyped",] == 3
    assert {name: kind for name, (kind, has) in states(one).items() if "retyped" in has} == {
        "x": "numbers", "prediction": "numbers", "zone": "categories",
    }  # fmt: skip


def test_numbers_as_text_are_numbers():
    """They drift as numbers, and take no room in the table of categories."""
    rng = np.random.default_rng(2)
    amounts = rng.lognormal(2, 1, N) * np.where(np.arange(N) < TURN, 1, 4)
    one, found = firing([event(i, {"amount": f"{x:.2f}"}, prediction=f"{1 / x:.4f}") for i, x in enumerate(amounts)])
    assert {("amount", "drift", ""), ("prediction", "drift", "")} <= found
    assert len(one.context.names.categories) == 1


def test_texts_and_whole_numbers_are_categories():
    """The category whose share rose is named as it is written; nothing is a fault."""
    rng = np.random.default_rng(3)
    codes = [rng.choice(["b", 7, 123], p=[0.4, 0.4, 0.2] if i < TURN else [0.2, 0.2, 0.6]) for i in range(N)]
    codes = [code if code == "b" else int(code) for code in codes]
    _, found = firing([event(i, {"code": code}) for i, code in enumerate(codes)])
    assert found == {("code", "drift", "123")}


def test_settings_and_training_data_come_first():
    """`cast` is for good; training data hold unless all of the first values differ."""
    values = [event(i, {"zip": 10_000 + i % 3, "n": "x" if i < 50 else "7"}) for i in range(300)]
    cast = {"z*": Cast.CATEGORY, "n": Cast.NUMBER}
    assert {name: kind for name, (kind, _) in states(firing(values, cast=cast)[0]).items()} == {
        "zip": "categories", "n": "numbers",
    }  # fmt: skip
    trained = References({("m", "", "zip"): CategoryReference.of({"10000": 5, "10001": 5, "10002": 5})})
    one, found = firing(values, references=trained)
    assert states(one)["zip"][0] == "categories"
    assert not [alert for alert in found if alert[0] == "zip"]
    trained = References({("m", "", "n"): Reference.of([1.0, 2.0, 3.0], 9)})
    one, _ = firing([event(i, {"n": "x"}) for i in range(300)], references=trained)
    assert states(one)["n"] == ("categories", ("constant", "retyped"))


def test_a_float32_equals_its_double():
    """No alert for training in doubles and service in floats."""
    rng = np.random.default_rng(4)
    training = rng.choice([0.1, 0.2, 0.3, 0.4], 2000)
    detectors = {"ks_window": settings_of("ks_window", window=100, reference_size=500), "rate": settings_of("rate")}
    trained = References({("m", "", "discount"): Reference.of(training, 1000)})
    served = [event(i, {"discount": float(np.float32(x))}) for i, x in enumerate(rng.choice(training, 900))]
    assert firing(served, detectors=detectors, references=trained)[1] == set()


def test_calendars_do_not_drift():
    """Three weeks with a weekend and the day of the month raise nothing, with training data of one week too."""
    times = [datetime(2026, 3, 2, 6, tzinfo=UTC) + timedelta(minutes=5 * i) for i in range(6048)]
    features = [{"weekend": int(t.weekday() > 4), "day_of_month": t.day} for t in times]
    values = [event(i, f, event_time=t.isoformat()) for i, (t, f) in enumerate(zip(times, features, strict=True))]
    trained = References(
        {("m", "", name): Reference.of([f[name] for f in features[:2016]], 1000) for name in features[0]}
    )
    for references in (References(), trained):
        one, found = firing(values, references=references)
        assert found == set()
        assert {name for name, (_, has) in states(one).items() if "calendar" in has} == {"weekend", "day_of_month"}


def test_what_is_not_watched_is_said_once(caplog):
    """Each column of objects or lists that are not opened, with the settings that open it."""
    one, _ = firing([event(i, {"emb": list(range(20)), "x": 1.0}) for i in range(50)])
    (line,) = [record.getMessage() for record in caplog.records if "not watched" in record.getMessage()]
    assert "column 'emb' of 'm'" in line
    assert "fields.lists" in line
    assert one.tally["nested",] == 1
    assert states(one)["emb"] == ("", ("nested",))


ODD = st.sampled_from([1, 7, 2.5, "7", "2.50", "x", "true", True, None, [1], "12345678901234567"])


@given(st.lists(st.tuples(ODD, ODD), max_size=150), st.integers(0, 150), st.sampled_from([{}, {"a": Cast.CATEGORY}]))
@settings(deadline=None, max_examples=60)
def test_cuts_of_a_stream_of_odd_values_never_show(rows, cut, cast):
    """Two steps, with a load between them, leave the state of one."""
    values = [event(i, {"a": a, "b": b}, step_ms=3_600_000) for i, (a, b) in enumerate(rows)]
    trained = References({("m", "", "b"): CategoryReference.of({"7": 2, "x": 1})})
    whole, first, second = (fold(cast=cast, references=trained) for _ in range(3))
    expected = whole.step([records("predictions", values)])
    found = first.step([records("predictions", values[:cut])])
    second.load(first.dump())
    found += second.step([records("predictions", values[cut:], first=len(values[:cut]))])
    assert found == expected
    one, other = whole.dump(), second.dump()
    assert one.meta == other.meta
    assert all(np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays)


@pytest.mark.parametrize("zone_h", [9, 5.5, 14])
def test_a_local_time_without_a_zone_is_no_dead_letter(zone_h):
    """East of Greenwich it seems to be ahead of its record; the nearest zone in which it is not is taken."""
    time = datetime.fromtimestamp(START_MS / 1000, UTC)
    local = (time + timedelta(hours=zone_h)).replace(tzinfo=None).isoformat()
    rows = [(0, START_MS + 200, None, event(0, {"x": 1.0}, event_time=local), ())]
    one = fold()
    assert one.step([Records.build("predictions", 3, rows)]) == []
    assert one.newest_event_time_ms == START_MS
