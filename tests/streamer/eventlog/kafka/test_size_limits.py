"""Dead letters of records near the size limit of a topic: cut to what the topic takes, and never in the way."""

from __future__ import annotations

import os
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from kafka_kit import Place, begin

from streamer.codecs.base import Reason
from streamer.contracts.dead_letters import PREFIX, dead_letter, fitted
from streamer.errors import BrokerError
from streamer.eventlog.base import Output, Records
from streamer.eventlog.kafka import log as kafka_log
from streamer.eventlog.kafka.log import KafkaLog
from streamer.eventlog.kafka.size_limits import SizeLimits, size_of

pytestmark = pytest.mark.broker

DELIVERIES = ["exactly_once", "at_least_once"]
LIMIT = 50_000


class CutLog(KafkaLog):
    """The log as the service makes it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, fitted)


def letter(place: Place, value: bytes, key: bytes = b"key") -> Output:
    records = Records.build(place.events, 0, [(7, 1000, key, value, (("trace", b"1"),))])
    return dead_letter(records, 0, Reason.NOT_JSON, "no JSON", place.out)


def limit(place: Place, bytes_max: int) -> None:
    topic = ConfigResource(ConfigResourceType.TOPIC, place.out, {"max.message.bytes": str(bytes_max)})
    with place.admin() as admin:
        admin.alter_configs([topic])


def said(headers: Any) -> dict[str, bytes]:
    return {name.removeprefix(PREFIX): text for name, text in headers if name.startswith(PREFIX)}


@pytest.mark.parametrize("may_describe", [True, False])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_dead_letter_is_cut_to_what_its_topic_takes(
    kafka_broker: Any, delivery: str, may_describe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the broker says what that is, or refuses what is larger; what was not too large is whole."""
    if not may_describe:
        monkeypatch.setattr(kafka_log, "message_bytes_max", lambda *_: {})
    place = Place(kafka_broker)
    limit(place, LIMIT)
    values = [b"small", os.urandom(LIMIT - 200), os.urandom(800_000), b"small again"]
    with place.log(CutLog, delivery=delivery) as log:
        begin(log)
        log.commit([letter(place, value) for value in values], [place.epoch(1, 4)])
        log.commit([letter(place, b"later")], [place.epoch(2, 5)])
    found = [(record.value, said(record.headers)) for record in place.read(place.out)]
    if delivery == "at_least_once" and not may_describe:  # what went with the refused one may have been written before
        found = [one for i, one in enumerate(found) if one not in found[:i]]
    assert [value for value, _ in found if value.startswith((b"small", b"later"))] == [values[0], values[3], b"later"]
    cut = [(value, ours) for value, ours in found if "cut.from.bytes" in ours]
    assert [int(ours["cut.from.bytes"]) for _, ours in cut] == [len(values[1]), len(values[2])]
    for (value, ours), whole in zip(cut, values[1:3], strict=True):
        assert whole.startswith(value)
        assert len(value) > LIMIT / 2
        assert (ours["offset"], ours["reason"]) == (b"7", b"not_json")


def test_what_can_not_be_cut_is_refused_in_a_sentence(kafka_broker: Any) -> None:
    """An alert is no dead letter: a topic that does not take it is to be mended."""
    place = Place(kafka_broker)
    limit(place, LIMIT)
    with place.log(CutLog) as log:
        begin(log)
        with pytest.raises(BrokerError, match="is refused, because it is too large"):
            log.commit([Output(place.out, b"k", os.urandom(LIMIT))], [place.epoch(1, 4)])


@pytest.mark.parametrize("bytes_max", [400, 700, 1_000, 5_000, 60_000])
@pytest.mark.parametrize("key", [0, 50, 55_000])
def test_a_letter_fits_and_says_what_it_lost(bytes_max: int, key: int) -> None:
    """Key, headers, value and in the end the message give way; where it was and why stays."""
    records = Records.build("bus", 3, [(41, 1000, b"k" * key, b"v" * 50_000, (("h", b"x" * 100),))])
    whole = dead_letter(records, 0, Reason.NOT_JSON, "no JSON, " * 20, "bus-dlt")
    limits = SizeLimits({"bus-dlt": bytes_max + 400}, fitted)
    output = limits.fitted(whole)
    ours = said(output.headers)
    assert size_of(output) <= max(bytes_max, 600) + 400
    assert (ours["topic"], ours["partition"], ours["offset"], ours["reason"]) == (b"bus", b"3", b"41", b"not_json")
    if len(output.value or b"") < 50_000:
        assert ours["cut.from.bytes"] == b"50000"
    assert limits.fitted(output) == output or size_of(output) > bytes_max


def test_a_letter_that_was_cut_twice_keeps_its_first_size() -> None:
    """The size that is said is that of the record."""
    records = Records.build("bus", 3, [(41, 1000, None, b"v" * 1_000_000, ())])
    whole = dead_letter(records, 0, Reason.NOT_JSON, "no JSON", "bus-dlt")
    assert said(fitted(fitted(whole, 90_000), 9_000).headers)["cut.from.bytes"] == b"1000000"
