"""Injected changes reach exactly the events that they name, whatever the batch cuts, and are found again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamer.app import replay as app
from streamer.app.offline.injection import injections_of, seen
from streamer.app.offline.selection import Selection
from streamer.codecs import CODECS
from streamer.config import Config
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.events import NUMBER, Names

START_MS = 1_778_572_800_000  # 2026-05-12T08:00 UTC
SINCE = "2026-05-12T08:00:00.200"  # event 200


def decoded(texts, cuts=(1_000,), seed=0):
    """(model, time, a, b, prediction) of each of 1,000 events of two models, of a log that is cut like this."""
    settings, codec = CODECS["json"]
    codecs = Selection(injections=injections_of(texts, seed)).of({"t": codec(settings())})
    names, found, first = Names.fresh(), [], 0
    for end in cuts:
        rows = [
            (i, -1, None, json.dumps({
                "model_id": f"eta-{i % 2}", "event_time": START_MS + i, "features": {"a": 1.0, "b": "x"},
                "prediction": 2.0,
            }).encode(), ()) for i in range(first, end)
        ]  # fmt: skip
        batch, _ = codecs["t"].decode(Records.build("t", 0, rows), names)
        for i in range(len(batch)):
            here = slice(batch.start[i], batch.start[i + 1])
            by_name = {names.columns.names[c]: at for at, c in enumerate(batch.column[here])}
            number, category = batch.number[here], batch.category[here]
            text = category[by_name["b"]]
            b = float(number[by_name["b"]]) if text == NUMBER else names.categories.names[text]
            found.append((
                names.models.names[batch.model[i]], int(batch.event_time_ms[i]) - START_MS,
                float(number[by_name["a"]]), b, float(batch.prediction[i]), float(number[by_name["prediction"]]),
            ))  # fmt: skip
        first = end
    return found


PLAIN = [(f"eta-{i % 2}", i, 1.0, "x", 2.0, 2.0) for i in range(1_000)]


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a: +15", lambda m, t, *_: (m, t, 16.0, "x", 2.0, 2.0)),
        ("a: - 0.5", lambda m, t, *_: (m, t, 0.5, "x", 2.0, 2.0)),
        ("a: *1.5", lambda m, t, *_: (m, t, 1.5, "x", 2.0, 2.0)),
        ("b: =other", lambda m, t, *_: (m, t, 1.0, "other", 2.0, 2.0)),
        ("pred*: +1", lambda m, t, *_: (m, t, 1.0, "x", 3.0, 3.0)),
        ("(events): delay 2s", lambda m, t, *_: (m, t + 2_000, 1.0, "x", 2.0, 2.0)),
        ("b: +1", lambda *event: event),
    ],
)
def test_a_change_begins_at_its_time(text, changed):
    """Events before its time, and of other models, stay as they are."""
    wanted = [changed(*one) if one[1] >= 200 and one[0] == "eta-1" else one for one in PLAIN]
    assert decoded([f"{text} @ {SINCE} of eta-1"]) == wanted


def test_nulls_and_silence():
    """A null is a missing number; silence leaves the events out."""
    nulls = decoded([f"a: null @ {SINCE}"])
    assert [np.isnan(one[2]) for one in nulls] == [one[1] >= 200 for one in PLAIN]
    assert decoded([f"(events): silence @ {SINCE} of eta-0"]) == [
        one for one in PLAIN if one[1] < 200 or one[0] != "eta-0"
    ]


def test_a_share_is_of_events_by_their_place():
    """The share is about right, depends on the seed, and on no cut of the log."""
    text = [f"a: +15 @ {SINCE} in 25%"]
    whole = decoded(text)
    assert whole == decoded(text, cuts=(1, 7, 300, 999, 1_000))
    changed = {one[1] for one in whole if one[2] == 16.0}
    assert min(changed) >= 200
    assert 150 < len(changed) < 250
    other = {one[1] for one in decoded(text, seed=1) if one[2] == 16.0}
    assert 20 < len(changed & other) < 100


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a +15", "can't be read: write COLUMN"),
        ("a: +x @ 2026-05-12", "can't be read"),
        ("a: +15 @ noon", "Invalid isoformat"),
        ("a: +15 @ 2026-05-12 in 0%", "the share is 0%"),
        ("a: silence @ 2026-05-12", "silence and delay are of"),
        ("(events): +1 @ 2026-05-12", "silence and delay are of"),
        ("(events): delay soon @ 2026-05-12", "is not like 90s"),
    ],
)
def test_other_texts_are_refused(text, why):
    """The message has an example."""
    with pytest.raises(UsageError, match=why):
        injections_of([text])


def test_what_was_seen_is_a_table(tmp_path):
    """A shift is seen at its onset; one in a column that is not there is not seen."""
    rng = np.random.default_rng(1)
    lines = [
        json.dumps({"model_id": "eta", "event_time": START_MS + 60_000 * i, "features": {"a": float(rng.normal())}})
        for i in range(1_500)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    changes = injections_of(["a: +2 @ 2026-05-13T00:00", "b: null @ 2026-05-13"])
    found = []
    app.replay(Config(), [str(tmp_path / "t.jsonl")], "t", found.append, lambda *_: None, Selection(injections=changes))
    head, shift, null = seen(changes, [one.value for one in found if one.topic == "driftline.alerts"])
    assert head == ["injected", "model", "column", "seen after", "onset error"]
    assert (shift[:3], null) == (["a: +2 @ 2026-05-13T00:00", "eta", "a"], [changes[1].text, "*", "b", "not seen", ""])
    assert shift[3].endswith("min")
    assert "h" not in shift[3] + shift[4]
    assert shift[4][0] in "+-"
