"""Which records a recording keeps, and what it hides of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamer.app.offline.record_filter import UNREADABLE, RecordFilter, Redaction
from streamer.contracts.dead_letters import PREFIX
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.headers import KEY_HEADER
from streamer.eventlog.time_merge import Taken

SALT = b"pepper"


def all_of(*parts: Records) -> Taken:
    """All records of the parts, the parts in turn."""
    spots = sorted((i, number) for number, part in enumerate(parts) for i in range(len(part)))
    return Taken(parts, np.array([number for _, number in spots]), np.array([i for i, _ in spots]))


def records_of(*rows: tuple[bytes | None, bytes | None, tuple], topic: str = "bus", partition: int = 0) -> Records:
    return Records.build(topic, partition, [(i, 1000 + i, *row) for i, row in enumerate(rows)])


def redact(value: bytes | None, *texts: str, key: bytes | None = None, headers: tuple = ()) -> tuple:
    """Key, value and headers of one record, redacted."""
    chosen = RecordFilter(redactions=[Redaction.parse(text) for text in texts], salt=SALT)
    (part,) = chosen.redacted(all_of(records_of((key, value, headers)))).parts
    return part.key_of(0), part.value_of(0), part.headers_of(0)


def value(document: object, *texts: str) -> object:
    return json.loads(redact(json.dumps(document).encode(), *texts)[1])


def test_members_are_dropped_and_items_become_null():
    """Nothing else of a document changes."""
    trip = {"rider": {"email": "a@b.c", "age": 4}, "stops": ["x", "y"], "n": 1.5}
    assert value(trip, "rider.email=drop") == {"rider": {"age": 4}, "stops": ["x", "y"], "n": 1.5}
    assert value(trip, "$.stops[1]=drop", "$.n=drop") == {"rider": {"email": "a@b.c", "age": 4}, "stops": ["x", None]}
    assert value({"rows": [{"a": 1}, {"b": 2}, 7]}, "$.rows[*].a=drop") == {"rows": [{}, {"b": 2}, 7]}
    assert value([{"a": 1, "b": 2}, {"a": 3}], "a=drop") == [{"b": 2}, {}]
    assert value({"in": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]}, "$.in[?name=='y'].v=drop") == {
        "in": [{"name": "x", "v": 1}, {"name": "y"}]
    }


def test_equal_ids_have_equal_hashes():
    """As text, as a number and as a number that a table made a float; another salt gives other hashes."""
    hashes = {value({"id": one}, "id=hash")["id"] for one in ("7", 7, 7.0)}
    assert len(hashes) == 1
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in hashes)
    other = RecordFilter(redactions=[Redaction.parse("id=hash")], salt=b"salt")
    (part,) = other.redacted(all_of(records_of((None, b'{"id": 7}', ())))).parts
    assert json.loads(part.value_of(0))["id"] not in hashes
    assert value({"id": None}, "id=hash") == {"id": None}


def test_a_record_without_the_field_keeps_its_bytes():
    """Spaces, escapes, digits and tombstones stay."""
    raw = b'{ "x": 1.10, "y": "\\u00e9" }'
    assert redact(raw, "email=drop")[1] == raw
    assert redact(None, "email=drop")[1] is None


def test_what_is_no_json_is_replaced_as_a_whole():
    """A field can't be found in it, so nothing of it may stay. NaN is read as the codec reads it."""
    assert redact(b"rider=a@b.c", "email=drop")[1] == UNREADABLE
    assert redact(b'{"email": "a", "x": NaN}', "email=drop")[1] == b'{"x": NaN}'
    chosen = RecordFilter(redactions=[Redaction.parse("email=drop")])
    chosen.redacted(all_of(records_of((None, b"{", ()), (None, b"\xff", ()), (None, b"{}", ()))))
    assert chosen.unreadable == 2


def test_keys_and_headers_are_redacted():
    """The key of a copy stands in a header too, and the detail of a dead letter may quote a value."""
    headers = (("ce_subject", b"a@b.c"), ("plain", b"1"), (KEY_HEADER, b"rider-1"), (f"{PREFIX}message", b"a@b.c"))
    key, _, kept = redact(None, "$key=hash", "$headers.ce_subject=drop", key=b"rider-1", headers=headers)
    assert key not in (None, b"rider-1")
    assert kept == (("plain", b"1"), (KEY_HEADER, key))
    key, _, kept = redact(None, "$key.id=drop", "$headers.plain=hash", key=b'{"id": 1, "z": 2}', headers=headers)
    assert json.loads(key) == {"z": 2}
    assert dict(kept)["plain"] != b"1"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("email", "FIELD=hash or FIELD=drop"),
        ("email=blur", "FIELD=hash or FIELD=drop"),
        ("$.a..b=drop", "is invalid from"),
        ("$=drop", "the whole record"),
        ("$row.a=hash", r"\$\.data\[\*\]\.rider=hash"),
        ("$key=drop", r"write \$key=hash"),
    ],
)
def test_a_wrong_redaction_is_refused(text, match):
    """The error says how to write it."""
    with pytest.raises(UsageError, match=match):
        Redaction.parse(text)


def test_a_share_of_the_keys_is_the_same_everywhere():
    """In each topic, partition and run; records without a key are left out then."""
    names = [f"bus-{i}".encode() for i in range(2000)]
    one = records_of(*((name, b"1", ()) for name in names))
    two = records_of(*((name, b"2", ()) for name in reversed(names)), (None, b"3", ()), topic="labels")
    kept = RecordFilter(share=0.1).kept(all_of(one))
    assert 140 < kept.sum() < 260
    again = RecordFilter(share=0.1).kept(all_of(two))
    assert (again[:-1][::-1] == kept).all()
    assert not again[-1]


def test_keys_are_chosen_by_pattern():
    """Each of several patterns; the order of the records of several partitions stays."""
    one = records_of((b"bus-1", b"1", ()), (b"tram-1", b"2", ()))
    two = records_of((b"tram-2", b"3", ()), (b"ferry", b"4", ()), partition=1)
    kept = RecordFilter(keys=("bus-*", "ferry")).kept(all_of(one, two))
    assert kept.tolist() == [True, False, False, True]
    assert RecordFilter().kept(all_of(one, two)).all()


def test_what_is_left_out_for_want_of_a_key_is_counted():
    """Only up to the last record that is recorded; without a choice of keys, none is left out."""
    rows = records_of(*((key, b"1", ()) for key in (None, b"bus", None, b"bus", None, b"tram")))
    chosen = RecordFilter(keys=("bus",))
    passed, kept = chosen.of(all_of(rows), most=1)
    assert (passed.n, kept.at.tolist(), chosen.keyless) == (3, [1], 2)
    assert chosen.of(all_of(rows))[1].at.tolist() == [1, 3]
    assert chosen.keyless == 2 + 3
    everything = RecordFilter()
    assert everything.of(all_of(rows))[1].n == 6
    assert everything.keyless == 0


def test_redacted_records_stay_in_their_order():
    """Of the records that are kept, only; each with its own offset and time."""
    one = records_of(*((b"k", json.dumps({"id": i, "e": 1}).encode(), ()) for i in range(4)))
    two = records_of(*((b"k", json.dumps({"id": 10 + i}).encode(), ()) for i in range(4)), partition=1)
    taken = all_of(one, two).only(np.array([True, False, False, True, True, True, False, True]))
    done = RecordFilter(redactions=[Redaction.parse("e=drop")]).redacted(taken)
    of = [done.parts[number] for number in done.part]
    assert [json.loads(part.value_of(i))["id"] for part, i in zip(of, done.at, strict=True)] == [0, 11, 2, 12, 13]
    assert [int(part.offset[i]) for part, i in zip(of, done.at, strict=True)] == [0, 1, 2, 2, 3]
    assert json.loads(done.parts[0].value_of(0)) == {"id": 0}
    assert done.ends() == {("bus", 0): 3, ("bus", 1): 4}
