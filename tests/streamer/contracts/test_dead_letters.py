"""A dead letter is its record byte for byte, as far as a broker takes it."""

from dataclasses import replace

import pytest

from streamer.codecs.base import Reason
from streamer.contracts.dead_letters import BYTES_MAX, PREFIX, dead_letter, fitted, set_aside_letter
from streamer.eventlog.base import OversizeBatch, Records
from streamer.eventlog.headers import OWNER_HEADER
from streamer.eventlog.size_limits import SizeLimits, size_of


def letter(key, value, headers=()):
    """The dead letter of one record, and what our headers say besides where it was and why."""
    records = Records.build("bus", 3, [(41, 1000, key, value, headers)])
    output = dead_letter(records, 0, Reason.NOT_JSON, "no JSON", "bus-dlt")
    ours = {name.removeprefix(PREFIX): text for name, text in output.headers if name.startswith(PREFIX)}
    where = {name: ours.pop(name) for name in ("topic", "partition", "offset", "timestamp", "reason", "message")}
    assert b" ".join(where.values()) == b"bus 3 41 1000 not_json no JSON"
    return output, ours


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
@pytest.mark.parametrize("value", [None, b"", b"\xff" * 100])
@pytest.mark.parametrize("headers", [(), (("a", b"1"), ("a", None), ("", b"\xff"))])
def test_key_value_and_headers_are_kept(key, value, headers):
    """Null and empty stay apart, and headers of one name stay two."""
    output, ours = letter(key, value, headers)
    assert (output.topic, output.key, output.value) == ("bus-dlt", key, value)
    assert output.headers[: len(headers)] == headers
    assert ours == {}


@pytest.mark.parametrize(("owner", "said"), [(b"staging", b"staging"), (None, b""), (b"x" * 10_000, b"x" * 249)])
def test_the_owner_of_a_foreign_record_is_one_of_our_headers(owner, said):
    """Each output has one owner header, which its own service adds: a dead letter brings none along."""
    output, ours = letter(b"k", b"v", (("trace", b"1"), (OWNER_HEADER, owner)))
    assert ours == {"group": said}
    assert [name for name, _ in output.headers if not name.startswith(PREFIX)] == ["trace"]
    smaller = fitted(output, 10)
    assert [text for name, text in smaller.headers if name == f"{PREFIX}group"] == [said]


@pytest.mark.parametrize(
    ("key", "value", "header", "kept", "said"),
    [
        (9, BYTES_MAX - 9, None, (9, BYTES_MAX - 9, None), {}),
        (9, BYTES_MAX, None, (9, BYTES_MAX - 9, None), {"cut.from.bytes": b"900000"}),
        (9, 20, BYTES_MAX, (9, 20, None), {"headers.dropped.bytes": b"900001"}),
        (9, BYTES_MAX, BYTES_MAX - 20, (9, 0, BYTES_MAX - 20), {"cut.from.bytes": b"900000"}),
        (9, 20, BYTES_MAX - 19, (9, 20, None), {"headers.dropped.bytes": b"899982"}),
        (BYTES_MAX + 1, 0, None, (BYTES_MAX, 0, None), {"key.cut.from.bytes": b"900001"}),
    ],
)
def test_what_a_broker_would_refuse_is_cut_and_says_so(key, value, header, kept, said):
    """The value gives way first, then the headers, then the key; sizes in bytes, None for no headers."""
    output, ours = letter(b"k" * key, b"v" * value, () if header is None else (("h", b"x" * header),))
    headers = [len(text) for name, text in output.headers if name == "h"]
    assert (len(output.key), len(output.value), headers[0] if headers else None) == kept
    assert ours == said


def test_many_small_headers_are_no_small_record():
    """What a header takes besides its text counts too."""
    output, ours = letter(b"k", b"v", ((("", None),) * (BYTES_MAX // 10)))
    assert [name for name, _ in output.headers if not name.startswith(PREFIX)] == []
    assert ours == {"headers.dropped.bytes": b"0"}


def test_a_batch_that_is_not_opened_is_one_dead_letter():
    """With the bytes of the batch as its value, and the offsets that it stands for."""
    records = Records.build("bus", 3, [(41, 1000, None, None, ())])
    records = replace(records, oversize={41: OversizeBatch(240, 200, b"batch", "it inflates too far")})
    reason, output = set_aside_letter(records, 0, "bus-dlt")
    said = {name.removeprefix(PREFIX): text for name, text in output.headers}
    assert reason == Reason.BATCH_TOO_LARGE
    assert (output.key, output.value) == (None, b"batch")
    assert (said["offset"], said["batch.last.offset"], said["batch.records"]) == (b"41", b"240", b"200")
    assert (said["reason"], said["message"]) == (b"batch_too_large", b"it inflates too far")


def ours_of(headers):
    return {name.removeprefix(PREFIX): text for name, text in headers if name.startswith(PREFIX)}


@pytest.mark.parametrize("bytes_max", [400, 700, 1_000, 5_000, 60_000])
@pytest.mark.parametrize("key", [0, 50, 55_000])
def test_a_letter_fits_and_says_what_it_lost(bytes_max, key):
    """Key, headers, value and in the end the message give way; where it was and why stays."""
    records = Records.build("bus", 3, [(41, 1000, b"k" * key, b"v" * 50_000, (("h", b"x" * 100),))])
    whole = dead_letter(records, 0, Reason.NOT_JSON, "no JSON, " * 20, "bus-dlt")
    limits = SizeLimits({"bus-dlt": bytes_max + 400}, fitted)
    output = limits.fitted(whole)
    ours = ours_of(output.headers)
    assert size_of(output) <= max(bytes_max, 600) + 400
    assert (ours["topic"], ours["partition"], ours["offset"], ours["reason"]) == (b"bus", b"3", b"41", b"not_json")
    if len(output.value or b"") < 50_000:
        assert ours["cut.from.bytes"] == b"50000"
    assert limits.fitted(output) == output or size_of(output) > bytes_max


def test_a_letter_that_was_cut_twice_keeps_its_first_size():
    """The size that is said is that of the record."""
    records = Records.build("bus", 3, [(41, 1000, None, b"v" * 1_000_000, ())])
    whole = dead_letter(records, 0, Reason.NOT_JSON, "no JSON", "bus-dlt")
    assert ours_of(fitted(fitted(whole, 90_000), 9_000).headers)["cut.from.bytes"] == b"1000000"
