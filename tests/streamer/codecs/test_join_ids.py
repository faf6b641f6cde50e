"""The hash that joins labels to predictions."""

from __future__ import annotations

import numpy as np
from codec_oracle import join_id
from hypothesis import given
from hypothesis import strategies as st

from streamer.codecs.event_columns import join_ids, join_ids_at, seeds_of

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.tuples(st.sampled_from(["m", "é", ""]), ids), max_size=20))
def test_equals_the_published_hash(pairs):
    """All ids at once hash as MurmurHash64A does one by one, whatever else is in the stretch."""
    expected = [join_id(m, i) for m, i in pairs]
    assert join_ids([m for m, _ in pairs], [i for _, i in pairs]).tolist() == expected
    edge = np.cumsum([0, *(len(i.encode()) for _, i in pairs)])
    data = np.frombuffer("".join(i for _, i in pairs).encode(), np.uint8)
    assert join_ids_at(data, edge[:-1], edge[1:], seeds_of([m for m, _ in pairs])).tolist() == expected


def test_is_the_same_in_every_process():
    """The hash is a constant of the pair: these values are part of the state that is kept."""
    hashes = join_ids(["bus-099", "bus-099", "m"], ["b1f", "x" * 300, "日本"]).tolist()
    assert hashes == [12_103_935_817_190_649_087, 8_738_069_993_986_928_295, 8_114_485_417_372_228_199]


def test_neighbouring_ids_do_not_collide():
    """Counting ids of a few models, padded or not, all hash apart, zero bytes included."""
    names = [f"{i}" for i in range(20_000)] + [f"bus-{i:012}" for i in range(20_000)] + ["\0" * n for n in range(1, 20)]
    models = [f"m{i}" for i in range(3)]
    hashes = join_ids([m for m in models for _ in names], names * 3)
    assert len(set(hashes.tolist())) == 3 * len(names)
    assert 0 not in hashes


def test_long_ids_hash_whole():
    """Ids longer than a name should be still hash by every byte, and by their model."""
    long = "x" * 100_000
    hashes = join_ids(["m", "m", "n", "m"], [long, long + "y", long, long])
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[3]
