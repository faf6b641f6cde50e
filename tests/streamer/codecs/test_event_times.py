"""Event times in all shapes."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamer.codecs.times import UNREADABLE, Milliseconds, lacks_zone, plain_ms, rfc3339_ms, times_ms, zone_of

TABLE = [
    ("2026-11-23T07:16:00Z", "auto", 1_795_418_160_000),
    ("2026-11-23t07:16:00z", "auto", 1_795_418_160_000),
    ("2026-11-23 07:16:00Z", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16:00", "auto", 1_795_418_160_000),
    ("2026-11-23T08:16:00+01:00", "auto", 1_795_418_160_000),
    ("2026-11-23T01:46:00-05:30", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16:00.1Z", "auto", 1_795_418_160_100),
    ("2026-11-23T07:16:00.999999Z", "auto", 1_795_418_160_999),
    ("2026-11-23T07:16:00.123456789+00:00", "auto", 1_795_418_160_123),
    ("2026-11-23T07:16:00.12" + "3" * 60 + "Z", "auto", 1_795_418_160_123),
    ("1970-01-01T00:00:00Z", "auto", 0),
    ("1969-12-31T23:00:00-01:00", "auto", 0),
    ("9999-12-31T23:59:59.999Z", "auto", 253_402_300_799_999),
    ("2000-02-29T00:00:00Z", "auto", 951_782_400_000),
    ("1969-12-31T23:59:59Z", "auto", UNREADABLE),
    ("9999-12-31T23:59:59-01:00", "auto", UNREADABLE),
    ("2100-02-29T00:00:00Z", "auto", UNREADABLE),
    ("2026-04-31T00:00:00Z", "auto", UNREADABLE),
    ("2026-13-01T00:00:00Z", "auto", UNREADABLE),
    ("2026-00-01T00:00:00Z", "auto", UNREADABLE),
    ("2026-01-00T00:00:00Z", "auto", UNREADABLE),
    ("2026-11-23T24:00:00Z", "auto", UNREADABLE),
    ("2026-11-23T07:60:00Z", "auto", UNREADABLE),
    ("2026-11-23T07:16:00.Z", "auto", UNREADABLE),
    ("2026-11-23T08:16:00+0100", "auto", 1_795_418_160_000),
    ("2026-11-23T08:16:00+01", "auto", 1_795_418_160_000),
    ("2026-11-23 07:16:00.000456 UTC", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16:00GMT", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16:00,5Z", "auto", 1_795_418_160_500),
    ("2026-11-23T07:16Z", "auto", 1_795_418_160_000),
    ("2026-11-23 08:16 +01:00", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16.5Z", "auto", UNREADABLE),
    ("2026-11-23T07:16:00+1", "auto", UNREADABLE),
    ("Mon, 23 Nov 2026 07:16:00 GMT", "auto", 1_795_418_160_000),
    ("Mon, 23 Nov 2026 08:16:00 +0100", "auto", 1_795_418_160_000),
    ("Mon, 99 Nov 2026 08:16:00 +0100", "auto", UNREADABLE),
    ("1795418160", "auto", 1_795_418_160_000),
    ("1795418160123", "auto", 1_795_418_160_123),
    ("1795418160.5", "auto", 1_795_418_160_500),
    ("5000", "ms", 5_000),
    ("-5", "auto", UNREADABLE),
    ("1e9", "auto", UNREADABLE),
    ("2026-11-23T07:16:00+24:00", "auto", UNREADABLE),
    ("2026-11-23", "auto", UNREADABLE),
    ("20261123T071600Z", "auto", 1_795_418_160_000),
    ("20261123T0716", "auto", UNREADABLE),
    ("20261323T071600Z", "auto", UNREADABLE),
    ("2026/11/23 07:16:00", "auto", 1_795_418_160_000),
    ("/Date(1795418160000)/", "auto", 1_795_418_160_000),
    ("/Date(1795418160000+0100)/", "s", 1_795_418_160_000),
    ("23/Nov/2026:08:16:00 +0100", "auto", 1_795_418_160_000),
    ("２026-11-23T07:16:00Z", "auto", UNREADABLE),
    ("2026-11-23T07:16:00Z ", "auto", 1_795_418_160_000),
    ("2026-11-23T07:16:0Z", "auto", UNREADABLE),
    ("2026-11-23T07+01:00", "auto", UNREADABLE),
    ("", "auto", UNREADABLE),
    (1_795_418_160, "auto", 1_795_418_160_000),
    (1_795_418_160.1239, "auto", 1_795_418_160_124),
    (1_795_418_160_123, "auto", 1_795_418_160_123),
    (1_795_418_160_123.0, "auto", 1_795_418_160_123),
    (0, "auto", 0),
    (5_000, "ms", 5_000),
    (99_999_999_999, "auto", 99_999_999_999_000),
    (100_000_000_000, "auto", 100_000_000_000),
    (100_000_000_000, "s", 100_000_000_000_000),
    (1_795_418_160, "s", 1_795_418_160_000),
    (1_795_418_160_123_456, "auto", 1_795_418_160_123),
    (1_795_418_160_123_456_789, "auto", 1_795_418_160_123),
    (253_402_300_799_999, "auto", 253_402_300_799_999),
    (253_402_300_800_000, "auto", 253_402_300_800),
    (5_000_000, "us", 5_000),
    (5_000_000_000, "ns", 5_000),
    (1e30, "auto", UNREADABLE),
    (Milliseconds(5), "s", 5),
    (Milliseconds(-5), "s", UNREADABLE),
    (-1, "auto", UNREADABLE),
    (10**400, "auto", UNREADABLE),
    (float("nan"), "auto", UNREADABLE),
    (float("inf"), "s", UNREADABLE),
    (1e308, "s", UNREADABLE),
]


@pytest.mark.parametrize(("value", "unit", "expected"), TABLE, ids=[f"{v!r:.40}-{u}" for v, u, _ in TABLE])
def test_times_table(value, unit, expected):
    """Each shape of event time is read as stated, alone and among others."""
    assert times_ms([value], unit, np.array([7])).tolist() == [expected]
    assert times_ms(["2026-11-23T07:16:00Z", value, None, 10**12], unit, np.array([7] * 4))[1] == expected


def test_missing_times_take_the_given_ones():
    """None takes the record's time where that is known and within the years 1970 to 9999."""
    given_ms = np.array([-1, 0, 5, 253_402_300_800_000])
    assert times_ms([None] * 4, "auto", given_ms).tolist() == [UNREADABLE, 0, 5, UNREADABLE]
    assert times_ms([], "auto", np.empty(0, np.int64)).tolist() == []


two = st.integers(0, 61).map("{:02}".format)
forms = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    st.one_of(st.integers(1968, 2101), st.integers(0, 9999)).map("{:04}".format),
    st.integers(0, 13).map("{:02}".format),
    st.integers(0, 32).map("{:02}".format),
    st.sampled_from("Tt x"),
    st.integers(0, 25).map("{:02}".format),
    two,
    two,
    st.one_of(st.just(""), st.from_regex(r"[.,][0-9]{0,9}", fullmatch=True)),
    st.one_of(
        st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+01", "-0330", " UTC", "GMT", " +02:00"]),
        st.builds("{}{}:{}".format, st.sampled_from("+- "), two, two),
    ),
)


@given(st.lists(st.one_of(forms, st.text(max_size=30)), max_size=20))
def test_columns_equal_the_plain_path(texts):
    """Reading columns of bytes gives what the standard library gives text by text."""
    assert times_ms(texts, "auto", np.zeros(len(texts), np.int64)).tolist() == [plain_ms(text) for text in texts]


# What comes of a good text by accident: pieces put in and cut out, fractions and offsets of any shape, other alphabets.
pieces = st.one_of(
    st.sampled_from(["", "Z", "z", ".", ":", "-", "+", " ", "T", "é", "７", "٣", "\N{MINUS SIGN}", "\x00", "🕛"]),
    st.text("0123456789.:+-Zé７", max_size=8),
    st.from_regex(r"\.[0-9]{0,60}", fullmatch=True),
    st.from_regex(r"[+-][0-9]{0,3}:?[0-9]{0,3}", fullmatch=True),
)
slots = st.integers(0, 34)  # a text with nanoseconds and an offset has 35 characters


def spliced(text: str, splices: list[tuple[int, int, str]]) -> str:
    """`text` after each (place, how many characters go, what comes instead)."""
    for at, gone, piece in splices:
        text = text[:at] + piece + text[at + gone :]
    return text


good = st.builds(
    "{}{}{}".format,
    st.datetimes(min_value=datetime.fromisoformat("1970-01-01")).map(lambda time: time.isoformat()[:19]),
    st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True),
    st.sampled_from(["Z", "z", "", "+00:00", "-05:30", "+14:00", "+23:59"]),
)
mutated = st.builds(spliced, good, st.lists(st.tuples(slots, slots, pieces), max_size=3))
cut = st.builds(lambda text, at: text[:at], good, slots)


@given(st.lists(st.one_of(good, mutated, cut), min_size=1, max_size=30))
@settings(max_examples=500)
def test_columns_equal_the_plain_path_on_damaged_times(texts):
    """Times cut short, spliced or in other digits are read, or refused, exactly as the standard library does."""
    assert times_ms(texts, "auto", np.zeros(len(texts), np.int64)).tolist() == [plain_ms(text) for text in texts]


@given(st.integers(0, 64), st.data())
@settings(max_examples=500)
def test_the_columns_alone_never_read_what_the_plain_path_refuses(length, data):
    """Whatever bytes of whatever length: the vectorised reader never raises, and what it does read is right."""
    letters = st.sampled_from("0123456789:-+.TtZz x\x00")
    text = data.draw(st.one_of(good, mutated, st.text(letters, min_size=length, max_size=length)))
    assume(text.isascii() and 19 <= len(text) <= 64)
    (read,) = rfc3339_ms(np.frombuffer(text.encode(), np.uint8)[None]).tolist()
    assert read in (plain_ms(text), UNREADABLE)


@given(st.datetimes(min_value=datetime.fromisoformat("1970-01-01")), st.sampled_from(["Z", "+00:00", ""]))
def test_well_formed_texts_never_need_the_plain_path(time, suffix):
    """What producers' libraries write is read from the bytes alone."""
    text = time.isoformat() + suffix
    assert rfc3339_ms(np.frombuffer(text.encode(), np.uint8)[None]).tolist() == [plain_ms(text)] != [UNREADABLE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T12:00:00", "2026-07-01T19:00:00+00:00"),  # summer
        ("2026-12-01 12:00:00.250", "2026-12-01T20:00:00.250+00:00"),
        ("2026-12-01 12:00", "2026-12-01T20:00:00+00:00"),
        ("2026-11-01T01:30:00", "2026-11-01T08:30:00+00:00"),  # twice: the first
        ("2026-03-08T02:30:00", "2026-03-08T10:30:00+00:00"),  # skipped
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00+00:00"),
        ("2026-07-01T12:00:00+09:00", "2026-07-01T03:00:00+00:00"),
    ],
)
def test_local_times_are_of_the_zone_of_the_topic(text, expected):
    """With its changes of clocks; an offset of the text's own counts."""
    ms = times_ms([text], "auto", np.array([7]), zone_of("America/Vancouver"))[0]
    assert ms == round(datetime.fromisoformat(expected).timestamp() * 1000)


@given(
    st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2100-01-01")),
    st.sampled_from(["Asia/Kathmandu", "Europe/Dublin"]),
)
def test_zones_agree_with_the_standard_library(time, name):
    """For any time of the day in zones with odd offsets."""
    zone = zone_of(name)
    expected = int(time.replace(tzinfo=zone, microsecond=0).timestamp()) * 1000 + time.microsecond // 1000
    assert times_ms([time.isoformat()], "auto", np.array([7]), zone).tolist() == [expected]


def test_an_unknown_zone_is_refused_with_a_near_name():
    """The names are those of the IANA database."""
    with pytest.raises(ValueError, match="did you mean Europe/Paris"):
        zone_of("Europe/Pariss")
    with pytest.raises(ValueError, match="no time zone"):
        zone_of("../../etc/passwd")


def test_texts_without_an_offset_lack_a_zone():
    """Other texts do not, whatever they are."""
    assert lacks_zone("2026-07-01T12:00:00")
    assert not any(map(lacks_zone, ["2026-07-01T12:00:00Z", "2026-07-01T12:00:00+01", "1795418160", "noon"]))
