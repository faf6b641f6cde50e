"""Record headers as bytes, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.eventlog.headers import decode_headers, encode_headers, encode_varint

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=300)), max_size=5).map(tuple)


@given(HEADERS)
def test_headers_survive_the_round_trip(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    """Whatever is encoded decodes to the same, repeated names, null values and order included."""
    assert decode_headers(encode_headers(headers)) == headers


def test_no_headers_are_no_bytes() -> None:
    """An empty tuple is None, and None an empty tuple."""
    assert encode_headers(()) is None
    assert decode_headers(None) == ()


def test_a_null_value_is_not_an_empty_one() -> None:
    """Null and empty values stay apart."""
    headers = (("a", None), ("a", b""))
    assert decode_headers(encode_headers(headers)) == headers


def test_the_layout_is_that_of_a_kafka_record() -> None:
    """Two headers in the bytes that KIP-82 asks for: zig-zag counts and lengths."""
    assert encode_headers((("k", b"v"), ("n", None))) == b"\x04\x02k\x02v\x02n\x01"


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    """Bytes from anywhere give headers or a ValueError, never another error or an endless loop."""
    try:
        headers = decode_headers(data)
    except ValueError:
        return
    assert len(headers) <= len(data)


@given(HEADERS.filter(bool), st.data())
def test_headers_cut_short_are_refused(headers: tuple[tuple[str, bytes | None], ...], data: st.DataObject) -> None:
    """Every proper prefix of encoded headers is a ValueError."""
    encoded = encode_headers(headers)
    assert encoded is not None
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(ValueError, match="Record headers"):
        decode_headers(encoded[:cut])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x01", id="a negative count"),
        pytest.param(
            encode_varint(1 << 60) + encode_varint(-3), id="a name that steps back, and a count that never ends"
        ),
        pytest.param(encode_varint(1) + encode_varint(0) + encode_varint(-5), id="a value that steps back"),
        pytest.param(encode_varint(1) + encode_varint(1 << 40), id="a name longer than the bytes"),
        pytest.param(b"\xff" * 1000, id="a number that runs on"),
    ],
)
def test_lying_lengths_are_refused(data: bytes) -> None:
    """Counts and lengths that the bytes don't hold are a ValueError."""
    with pytest.raises(ValueError, match="Record headers"):
        decode_headers(data)


def test_a_name_that_is_not_utf8_is_still_shown() -> None:
    """Bytes of a name that are no UTF-8 become replacement characters."""
    assert decode_headers(b"\x02\x02\xff\x02v") == (("�", b"v"),)
