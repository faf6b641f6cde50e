"""Epochs and notes as records, and what a history tells of a unit."""

import msgspec
import pytest

from streamer.eventlog.history import (
    Attempt,
    AttemptSurvived,
    Epoch,
    Gap,
    History,
    SettingsNote,
    Start,
    decode_entry,
    encode_entry,
)

NOTES = (
    Start("decide", {"alerts": 7}, {"alerts": "id"}, "driftline"),
    SettingsNote("detect-3", "f1", "{}", ["adwin"]),
    Attempt("detect-3", 12, True, {"t": 9}),
    AttemptSurvived("detect-3"),
    AttemptSurvived("detect-3", 200),
    Gap("detect-3", 4, {"t": 9}, {"t": "id"}, "gone"),
)


def epoch(number, end=0, **more):
    return Epoch("detect-3", number, {"t": end or number}, 2, "5e", "f1", **more)


def test_entries_come_back_from_their_records():
    """As they were, with an epoch's place, and nothing else is taken for one."""
    for note in NOTES:
        assert decode_entry(encode_entry(note)) == note
    one = epoch(17, set_aside={"t": [3]})
    again = decode_entry(encode_entry(one), at=44)
    assert (again, again.at) == (one, 44)
    assert b'"at"' not in encode_entry(one)
    for bad in (b"", b"{}", b"[]", b'{"unit": "u", "number": "1", "ends": {}}', b'{"note": "new", "unit": "u"}'):
        with pytest.raises(msgspec.DecodeError):
            decode_entry(bad)


def test_the_first_of_two_epochs_of_one_number_counts():
    """The second was written by a process that had been replaced without knowing it."""
    past = History()
    assert all(past.take(entry) for entry in (epoch(1), epoch(2), epoch(2, end=9), epoch(3)))
    assert [one.ends["t"] for one in past.epochs] == [1, 2, 3]
    assert (past.last, past.positions()) == (3, {"t": 3})


def test_an_epoch_that_is_missing_is_noticed():
    """A history without one of its numbers can't be folded."""
    past = History(base=4)
    assert past.take(epoch(5))
    assert not past.take(epoch(7))


def test_the_first_start_of_a_topic_counts():
    """A process that was replaced may write another one later."""
    past = History()
    past.take(Start("u", {"a": 1}, {"a": "x"}))
    past.take(Start("u", {"a": 5, "b": 2}, {"a": "y", "b": "z"}))
    assert (past.starts, past.topic_ids, past.positions()) == ({"a": 1, "b": 2}, {"a": "x", "b": "z"}, {"a": 1, "b": 2})


def test_attempts_are_those_since_the_last_epoch_that_were_not_survived():
    """An epoch ends the count; a process that says it survived takes its own attempt back."""
    past = History()
    for entry in (Attempt("u", 9), Attempt("u", 8), AttemptSurvived("u"), Attempt("u", 7)):
        past.take(entry)
    assert [attempt.records for attempt in past.attempts] == [9, 7]
    past.take(AttemptSurvived("u"))
    past.take(epoch(1))
    assert past.attempts == []
    past.take(AttemptSurvived("u"))
    assert past.attempts == []


def test_an_epoch_whose_outputs_were_too_many_is_halved():
    """Time after time, until an epoch is there; the attempt is taken back as any that was survived."""
    past = History()
    for records in (9, 4, 2, 1):
        past.take(Attempt("u", records))
        past.take(AttemptSurvived("u", records))
        assert (past.records_max, past.attempts) == (max(records // 2, 1), [])
    past.take(AttemptSurvived("u"))
    assert past.records_max == 1
    past.take(epoch(1))
    assert past.records_max is None


def test_a_gap_ends_what_was_before():
    """The unit goes on behind it from nothing, at the places that the note names; settings stay known."""
    past = History()
    for entry in (Start("u", {"t": 0}, {}), SettingsNote("u", "f1", "{}"), epoch(1), epoch(2), Attempt("u", 3)):
        past.take(entry)
    past.take(Gap("u", 2, {"t": 50}, {"t": "new"}, "gone"))
    assert (past.was_reset, past.last, past.epochs, past.attempts) == (True, 2, [], [])
    assert (past.positions(), past.topic_ids, past.settings) == ({"t": 50}, {"t": "new"}, {"f1": "{}"})
    assert past.take(epoch(3, end=60))
    assert past.positions() == {"t": 60}


@pytest.mark.parametrize(
    "value",
    [
        b'{"unit": "\xff", "number": 1, "ends": {}}',
        b'{"note": "gap", "unit": "\xed\xa0\x80"}',
        b'{"x": ' + b"[" * 100_000,
        b'{"x": ' + b'{"a":' * 100_000,
        b"\xff\xfe",
        b"",
    ],
    ids=["text", "surrogate", "lists", "objects", "bytes", "nothing"],
)
def test_what_is_no_entry_is_refused_in_one_way(value):
    """Text that is none and nesting without end are what any other garbage is."""
    with pytest.raises(msgspec.DecodeError):
        decode_entry(value)


def test_a_history_read_from_an_epoch_stands_where_that_ends():
    """Also when nothing came after it."""
    past = History(4, reached={"t": 40})
    assert past.positions() == {"t": 40}
    past.take(epoch(5, end=50))
    assert past.positions() == {"t": 50}
