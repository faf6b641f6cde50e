"""A stream in which every monitor finds something, and folds that run one monitor alone."""

from random import Random

from world_kit import START_MS, fold

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from streamer.detect.monitors import table
from streamer.detect.settings import LabelSettings, SegmentSettings

EVENTS = 4500
DETECTORS = {
    "adwin": settings_of("adwin"),
    "category_window": settings_of("category_window", window=30, reference_size=30),
    "joint": settings_of("joint"),
    "rate": settings_of("rate", baseline_size=40),
}
SETTINGS = {
    "detectors": DETECTORS,
    "labels": LabelSettings(watch_lag=True, timeout_s=86_400),
    "flows": FlowSettings(learn_s=20_000, arl0=1e3, window_s=20_000),
    "absence": AbsenceSettings(events_min=20),
    "segments": {"m1": SegmentSettings("depot", gap_baseline=30, gap_arl0=1e3)},
}


def stream(seed):
    """Numbered events of three models: m0 loses a column and dependence, the north of m1 goes wrong, m2 stops.

    A second version of m0 and m1 predicts the same events.
    """
    random, shadow_of = Random(seed), Random(seed + 1)
    late = []
    for i in range(EVENTS):
        model, at, moved = f"m{i % 3}", START_MS + 60_000 * i, i > EVENTS / 2
        if model == "m2" and i > 0.7 * EVENTS:
            continue
        x, depot = random.gauss(0, 1), "north" if random.random() < 0.3 else "south"
        is_alone = model == "m0" and moved
        features = {"x": x, "y": random.gauss(0, 1) if is_alone else x + random.gauss(0, 0.1), "depot": depot}
        features |= {"z": random.choice(["sun", "rain"]) if not (moved and model == "m1") else "fog"}
        features |= {
            "w": None if random.random() < (0.5 if is_alone else 0.02) else 1.0 + 3 * (moved and model == "m1")
        }
        features |= {} if is_alone else {"v": 1}
        event = {"model_id": model, "model_version": "1", "prediction_id": f"{model}-{i}", "event_time": at}
        yield i, ("p", event | {"features": features, "prediction": 5.0})
        bias = 4.0 * (moved and model == "m1" and depot == "north")
        late.append(event | {"label": 5.0 + bias + random.gauss(0, 1)})
        if model != "m2":  # a challenger in shadow, which errs more in m0 and less in m1
            shadow = event | {
                "model_version": "2",
                "prediction": 5.0 + shadow_of.gauss(0, 3.0 if model == "m0" else 0.1),
            }
            yield 2 * i + EVENTS, ("q", shadow)
        if len(late) > 20:
            yield 2 * i + 1 + EVENTS, ("q", late.pop(0) | {"event_time": at})


def fold_with(**changed):
    """The fold that watches it."""
    return fold(**(SETTINGS | changed))


def alone(monkeypatch, *kinds):
    """Let new folds run these monitors only."""
    monkeypatch.setattr(table, "MONITORS", kinds)


def numbers(one):
    """The state of its monitors."""
    prefixes = [key for monitor in one.monitors for key in monitor.keys]
    arrays = one.dump().arrays
    return {name: array.tobytes() for name, array in arrays.items() if name.partition("/")[0] in prefixes}
