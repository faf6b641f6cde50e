"""Digests by pieces: the same from a file and from memory, and what differs is named."""

import hashlib
import io

import pytest

from streamer.runtime.checkpoints import store
from streamer.runtime.checkpoints.store import first_difference, sha256_of_file, sha256_of_pieces


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 35])
def test_file_and_memory_agree(monkeypatch, size):
    """Whether the data ends with a whole piece, with a part of one, or is none."""
    monkeypatch.setattr(store, "HASHED_BYTES", 10)
    data = bytes(range(size))
    wanted = [hashlib.sha256(data[at : at + 10]).hexdigest() for at in range(0, size, 10)]
    assert sha256_of_pieces(memoryview(data)) == wanted
    assert sha256_of_file(io.BytesIO(data)) == wanted


@pytest.mark.parametrize(
    ("found", "wanted", "piece"), [("ab", "ab", None), ("ab", "ax", 2), ("a", "ab", 2), ("ab", "a", 2), ("", "", None)]
)
def test_the_first_difference_is_named(found, wanted, piece):
    """Also where one of the two has fewer."""
    assert first_difference(found, wanted) == piece
