"""Rows of a record are counted once, however its copies are spread over partitions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.app.rekey import Copier, Rekeyed
from streamer.codecs.base import own_rows, rows_text
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config import Config
from streamer.eventlog.base import Records
from streamer.eventlog.headers import KEY_HEADER, ORIGIN_HEADER, ROWS_HEADER
from streamer.eventlog.kafka.transfer import partition_of_key
from streamer.eventlog.time_merge import Taken
from streamer.events import Names


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
