"""Writes a small recording with all kinds of input: drifting numbers, categories, predictions, late labels.

Standard library only; the same events each time.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

EVENTS = 4_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Print events of one model as JSON lines. Its first column and error drift halfway; a label follows each event."""
    rng = random.Random(1)
    for i in range(EVENTS):
        shift = 3.0 if i >= EVENTS // 2 else 0.0
        ids = {"model_id": "rides", "prediction_id": f"p{i}"}
        at = START + timedelta(seconds=i)
        headway_s = rng.gauss(400.0, 30.0) + 30.0 * shift
        features = {"headway_s": headway_s, "weather": rng.choice(["rain", "sun"])}
        prediction = {"model_version": "1", "features": features, "prediction": headway_s}
        print(json.dumps({**ids, "event_time": at.isoformat(), **prediction}))
        label_at = at + timedelta(seconds=0.5)
        print(
            json.dumps({**ids, "event_time": label_at.isoformat(), "label": headway_s + rng.gauss(0.0, 10.0 + shift)})
        )


if __name__ == "__main__":
    main()
