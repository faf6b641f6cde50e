"""Records of several partitions are copied in order of time, and rows of a record are counted once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.app.rekey import HELD_MAX, PATIENCE_S, ROUND_MAX, Copier, Rekeyed, Taken, Waiting
from streamer.codecs.base import own_rows, rows_text
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config import Config
from streamer.eventlog.base import Records
from streamer.eventlog.headers import KEY_HEADER, ORIGIN_HEADER, ROWS_HEADER
from streamer.eventlog.kafka.transfer import partition_of_key
from streamer.events import Names


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


def stretch(partition: int, first: int, times: list[int], topic: str = "raw") -> Records:
    return Records.build(topic, partition, [(first + i, t, None, b"%d" % t, ()) for i, t in enumerate(times)])


def times_of(taken: Taken) -> list[int]:
    return [int(taken.parts[p].timestamp_ms[i]) for p, i in zip(taken.part, taken.at, strict=True)]


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=4), st.randoms())
def test_every_record_is_taken_once_in_order_of_time(partitions, chance):
    """However records arrive, all are taken, each partition in its order, and none before an earlier one of others."""
    todo = {p: sorted(times) for p, times in enumerate(partitions)}
    sent = dict.fromkeys(todo, 0)
    waiting, found, places = Waiting(Hands(), lambda *_: None), [], []
    while any(sent[p] < len(todo[p]) for p in todo):
        p = chance.choice([p for p in todo if sent[p] < len(todo[p])])
        n = chance.randint(1, len(todo[p]) - sent[p])
        waiting.add(stretch(p, sent[p], todo[p][sent[p] : sent[p] + n]))
        sent[p] += n
        while (taken := waiting.take([("raw", q) for q in todo if sent[q] < len(todo[q])])) is not None:
            found += times_of(taken)
            places += [
                (taken.parts[k].partition, int(taken.parts[k].offset[i]))
                for k, i in zip(taken.part, taken.at, strict=True)
            ]
    assert found == sorted(t for times in todo.values() for t in times)
    for p, times in todo.items():
        assert [offset for q, offset in places if q == p] == list(range(len(times)))


def test_a_partition_that_gives_nothing_is_awaited_for_a_while():
    """Others wait for one with more records, but not for ever."""
    clock = Hands()
    waiting = Waiting(clock, lambda *_: None)
    waiting.add(stretch(0, 0, [1, 2]))
    lagging = [("raw", 1)]
    assert waiting.take(lagging) is None
    clock.now_s = PATIENCE_S - 0.1
    assert waiting.take(lagging) is None
    clock.now_s = PATIENCE_S
    assert times_of(waiting.take(lagging)) == [1, 2]


def test_a_partition_far_ahead_pauses():
    """One whose records wait in great numbers is not read until they are fewer; rounds are bounded."""
    held = []
    waiting = Waiting(Hands(), lambda spot, now: held.append((spot[1], now)))
    waiting.add(stretch(0, 0, list(range(HELD_MAX + 10))))
    assert held == [(0, True)]
    assert len(waiting.take([]).part) == ROUND_MAX
    assert held == [(0, True), (0, False)]


@given(st.lists(st.integers(0, 200), min_size=1, unique=True))
def test_rows_as_text_name_the_same_rows(rows):
    """`own_rows` keeps exactly the rows that `rows_text` wrote, of that record alone."""
    rows = sorted(rows)
    events = [{"model_id": "m", "event_time": 1_000 + i, "prediction": i} for i in range(201)]
    value = json.dumps(events).encode()
    headers = (ORIGIN_HEADER, b"raw/0/0"), (ROWS_HEADER, rows_text(np.array(rows)))
    records = Records.build("t", 0, [(5, 0, b"m", value, headers), (6, 0, b"m", value, (("x", None),))])
    batch, _ = JsonCodec(JsonSettings()).decode(records, Names.fresh())
    kept = own_rows(records, batch)
    assert kept.row[kept.offset == 5].tolist() == rows
    assert kept.prediction[kept.offset == 5].tolist() == rows
    assert kept.row[kept.offset == 6].tolist() == list(range(201))


@pytest.mark.parametrize("text", [b"", b"1-", b"x", b"-1", b"1,,2", b"9999999999", None])
def test_rows_that_are_no_rows_are_not_followed(text):
    """A header that names no rows keeps all of them."""
    value = json.dumps([{"model_id": "m", "event_time": 1_000, "prediction": i} for i in range(3)]).encode()
    records = Records.build("t", 0, [(5, 0, b"m", value, ((ROWS_HEADER, text),))])
    batch, _ = JsonCodec(JsonSettings()).decode(records, Names.fresh())
    assert len(own_rows(records, batch)) == 3


@pytest.mark.parametrize("partitions", [1, 64])
def test_a_copy_of_a_copy_keeps_the_first_key_and_its_own_rows(partitions):
    """Rows that another copy holds are in no copy; the key that producers gave stays."""
    config = Config.model_validate_json('{"topics": {"events": {"format": "json"}}, "rekey": {"events": ["raw"]}}')
    value = json.dumps([{"model_id": f"m{i}", "event_time": 1_000, "prediction": i} for i in range(8)]).encode()
    headers = (("x", b"1"), (ORIGIN_HEADER, b"first/0/0"), (KEY_HEADER, b"user"), (ROWS_HEADER, b"2-3,5"))
    records = Records.build("raw", 0, [(7, 40, b"m2", value, headers)])
    copies = Copier(config, partitions).copies(Taken([records], np.array([0]), np.array([0])), Rekeyed())
    found = {}
    for copy in copies:
        found |= dict.fromkeys(dict(copy.headers)[ROWS_HEADER].split(b","), copy.partition)
        assert dict(copy.headers)[ORIGIN_HEADER] == b"raw/0/7"
        assert dict(copy.headers)[KEY_HEADER] == b"user"
        assert dict(copy.headers)["x"] == b"1"
    to = {row: partition_of_key(b"m" + row, partitions) for row in (b"2", b"3", b"5")}
    assert found == (to if partitions > 1 else {b"2-3": 0, b"5": 0})
