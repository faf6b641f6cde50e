"""Records of the control topic: what they say, and what is wrong with those that say nothing."""

import jsonschema
import msgspec
import pytest

from retrain.messages.alert import AlertKind
from retrain.messages.control import ControlKind
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from streamer.codecs.base import Reason
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import METRICS_MAX, TEXT_CHARS_MAX, read_control
from streamer.contracts.schemas import CONTRACTS, schema_of
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.testing.alerts import moment, said

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000  # the start of the timelines, 2026-01-01 UTC
WORD = said("trained", "retrain-1", "2h", "trainer", model_version="8", champion={"mae": 1.0}, challenger={"mae": 0.5})
GOOD = msgspec.json.encode(WORD)
LATER = "2026-01-01T06:00:00Z"


def test_a_word_comes_back_as_it_was_said(conforms):
    """What is written is read again, fits the published schema, and needs no more than its four first fields."""
    conforms("control.v1", GOOD)
    assert read_control(GOOD, START_MS + 2 * HOUR_MS) == WORD
    short = b'{"kind":"reject","request_id":"r","at":"2026-01-01T00:00:00Z","actor":"ann","mood":"blue"}'
    (contract,) = (one for one in CONTRACTS if one.name == "control.v1")
    jsonschema.validate(msgspec.json.decode(short), schema_of(contract))
    assert read_control(short, -1) == said("reject", "r", "0s")


def changed(**changes):
    """The good record with other fields."""
    return msgspec.json.encode(msgspec.json.decode(GOOD) | changes)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NULL_VALUE),
        (b"{", Reason.NOT_JSON),
        (b"[]", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.WRONG_TYPE),
        (GOOD + b" " * 65_536, Reason.TOO_LARGE),
        (changed(kind="cancel"), Reason.WRONG_TYPE),
        (changed(actor=" "), Reason.WRONG_TYPE),
        (changed(actor="a" * (TEXT_CHARS_MAX + 1)), Reason.TOO_LARGE),
        (changed(request_id=""), Reason.WRONG_TYPE),
        (changed(request_id="r" * (TEXT_CHARS_MAX + 1)), Reason.TOO_LARGE),
        (changed(model_version="8" * (TEXT_CHARS_MAX + 1)), Reason.TOO_LARGE),
        (changed(comment="c" * 10_001), Reason.TOO_LARGE),
        (changed(champion={str(i): 0.0 for i in range(METRICS_MAX + 1)}), Reason.TOO_LARGE),
        (changed(challenger={"mae": "good"}), Reason.WRONG_TYPE),
        (changed(at="2026-01-01T02:00:00"), Reason.BAD_EVENT_TIME),
        (changed(at="2026-01-01T02:00:00+02:00"), Reason.BAD_EVENT_TIME),
        (changed(at="2026-01-01T03:00:01Z"), Reason.TIME_TOO_FAR_AHEAD),
        (changed(kind="silence"), Reason.WRONG_TYPE),
        (changed(kind="silence", matcher={}), Reason.WRONG_TYPE),
        (changed(kind="silence", matcher={"model": ""}, until=LATER), Reason.WRONG_TYPE),
        (changed(kind="silence", matcher={"kind": "odd"}, until=LATER), Reason.WRONG_TYPE),
        (changed(kind="silence", matcher={"column": "c" * (TEXT_CHARS_MAX + 1)}, until=LATER), Reason.TOO_LARGE),
        (changed(kind="silence", matcher={}, until="2026-01-01T04:00:00"), Reason.BAD_EVENT_TIME),
        (changed(kind="silence", matcher={}, until="2026-01-01T02:00:00Z"), Reason.BAD_EVENT_TIME),
        (changed(kind="silence", matcher={}, until="2027-01-03T02:00:00Z"), Reason.BAD_EVENT_TIME),
    ],
)
def test_what_says_nothing_is_kept_with_a_reason(value, reason):
    """An unreadable record goes to the dead letters of its topic as it is, and changes nothing."""
    written_ms = START_MS + 2 * HOUR_MS
    problem = read_control(value, written_ms)
    assert isinstance(problem, Unreadable)
    assert problem.reason is reason
    fold = DecideFold(RetrainSettings())
    (letter,) = fold.step([Records.build("driftline.control", 0, [(7, written_ms, b"k", value, ())])])
    assert (letter.topic, letter.key, letter.value) == ("driftline.control-dlt", b"k", value)
    assert fold.dump().to_bytes() == DecideFold(RetrainSettings()).dump().to_bytes()


def test_an_hour_ahead_is_forgiven():
    """Clocks differ; a record that does not know when it was written is believed."""
    assert read_control(changed(at="2026-01-01T03:00:00Z"), START_MS + 2 * HOUR_MS).at.hour == 3
    assert read_control(changed(at="2030-01-01T00:00:00Z"), -1).at.year == 2030


def test_every_kind_is_in_the_schema():
    """Whoever writes control records finds the kinds in their schema."""
    (contract,) = (one for one in CONTRACTS if one.name == "control.v1")
    kinds = schema_of(contract)["$defs"]["ControlKind"]["enum"]
    assert sorted(kinds) == sorted(ControlKind)


def test_a_silence_comes_back_as_it_was_said(conforms):
    """What is not said of its matcher fits all."""
    matcher = Matcher("bus-*", kind=AlertKind.DRIFT)
    word = said("silence", "s-1", "2h", matcher=matcher, until=moment("6h"), comment="known")
    conforms("control.v1", msgspec.json.encode(word))
    assert read_control(msgspec.json.encode(word), -1) == word
    assert read_control(changed(kind="silence", matcher={}, until=LATER), -1).matcher == Matcher()


@pytest.mark.parametrize("timestamp_ms", [2**62, 2**63 - 1, 10**15])
def test_a_record_of_any_time_is_read(timestamp_ms):
    """Producers write what they like as a record's own time; a word that is older than it is good."""
    assert read_control(GOOD, timestamp_ms) == WORD
