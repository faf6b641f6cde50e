"""Epochs as records, and the fingerprint of outputs."""

from itertools import combinations

import msgspec
import pytest

from streamer.epochs import Units, decode_epoch, digest, encode_epoch
from streamer.logs.base import Epoch, Output


def test_outputs_that_differ_in_anything_differ_in_their_digest():
    """Null from empty, one field from its neighbour, order, headers and number."""
    one, other = Output("t", b"k", b"v"), Output("t", b"k", b"w")
    all_different = [
        [], [one], [one, one], [one, other], [other, one],
        [Output("t", None, b"v")], [Output("t", b"", b"v")], [Output("t", b"kv", b"")], [Output("t", b"k", None)],
        [Output("tk", b"", b"v")], [Output("t", b"k", b"v", (("h", None),))], [Output("t", b"k", b"v", (("h", b""),))],
    ]  # fmt: skip
    assert all(digest(a) != digest(b) for a, b in combinations(all_different, 2))
    assert digest([Output("t", b"k", b"v")]) == digest([one])


def test_an_epoch_comes_back_from_its_record():
    """As it was, and nothing else is taken for one."""
    epoch = Epoch("detect-3", 17, {"bus.predictions": 41_200}, 2, "5e")
    assert decode_epoch(encode_epoch(epoch)) == epoch
    for bad in (b"", b"{}", b"[]", b'{"unit": "decide", "number": "1", "ends": {}}'):
        with pytest.raises(msgspec.DecodeError):
            decode_epoch(bad)


def test_units_are_named_by_partition_but_for_what_decide_reads():
    """All topics of one partition number meet in one unit."""
    units = Units(frozenset({"alerts"}))
    assert [units.of("a", 3), units.of("b", 3), units.of("alerts", 0)] == ["detect-3", "detect-3", "decide"]
