"""Which unit folds what, and the fingerprint of outputs."""

from itertools import combinations

from streamer.eventlog.base import Output
from streamer.eventlog.units import Units, digest, partition_of


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


def test_units_are_named_by_partition_but_for_what_decide_reads():
    """All topics of one partition number meet in one unit."""
    units = Units(frozenset({"alerts"}))
    assert [units.of("a", 3), units.of("b", 3), units.of("alerts", 0)] == ["detect-3", "detect-3", "decide"]
    assert [partition_of(unit) for unit in ("detect-3", "detect-0", "decide")] == [3, 0, 0]
