"""Several topics in one order."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.eventlog.base import Records
from streamer.eventlog.record_times import placing_times
from streamer.events import Names
from streamer.runtime.order import chunks, merged

TOPICS = ("a", "b", "c")
TIMES = st.lists(st.integers(-1, 30), max_size=25)


def stretch_of(times, cut):
    """Each topic's records, cut in two as polls might."""
    stretch = []
    for topic, ts in times.items():
        rows = [(10 * i, t, None, f"{topic}{i}".encode(), ()) for i, t in enumerate(ts)]
        records = Records.build(topic, 0, rows)
        stretch += [records.part(0, cut), records.part(min(cut, len(records)), len(records))]
    return stretch


@given(st.fixed_dictionaries(dict.fromkeys(TOPICS, TIMES)), st.integers(0, 25), st.integers(1, 9))
def test_records_stand_by_placing_time_then_topic_then_offset(times, cut, size):
    """The order is the plain sort's, whatever polls and chunks cut."""
    placing = [of.tolist() for of in placing_times([np.array(times[topic], np.int64) for topic in TOPICS])]
    plain = [(t, rank, i, f"{TOPICS[rank]}{i}".encode()) for rank, of in enumerate(placing) for i, t in enumerate(of)]
    found = []
    for parts in chunks(stretch_of(times, cut), TOPICS.index, lambda: size):
        chunk = sorted((int(at), p.records.value_of(i)) for p in parts for i, at in enumerate(p.at))
        assert [at for at, _ in chunk] == list(range(len(chunk)))
        assert len(chunk) <= size
        found += [value for _, value in chunk]
    assert found == [value for *_, value in sorted(plain)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
def test_merged_batches_are_the_batch_of_the_merged_records(events):
    """Decoding two topics apart and merging gives what decoding one merged topic gives."""
    values = [
        json.dumps({"model_id": "m", "event_time": i, "features": {f"f{j}": i + j for j in range(n)}, "prediction": i})
        for i, (_, n) in enumerate(events)
    ]
    names, codec = Names.fresh(), JsonCodec(JsonSettings())
    every = np.arange(len(events))
    of_b = np.array([b for b, _ in events])
    whole = decode(codec, names, values, every)
    batches, places = zip(*(decode(codec, names, values, every[of_b == b]) for b in (False, True)), strict=True)
    batch, origin = merged(batches, places)
    assert origin.tolist() == of_b.astype(int).tolist()
    for name in ("kind", "event_time_ms", "offset", "prediction", "start", "column", "number", "category"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(whole[0], name))


def decode(codec, names, values, which):
    rows = [(int(i), -1, None, values[i].encode(), ()) for i in which]
    return codec.decode(Records.build("t", 0, rows), names)[0], which
