"""`explain` and `history`: where their records come from, and what is said when there are none."""

from __future__ import annotations

import json

import msgspec
import pytest
from cli_kit import cli

from retrain.messages.control import Control
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.audit import trail as audit
from streamer.commands.console.json_lines import OutputLines
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.eventlog.kafka import reader as kafka_reader
from streamer.eventlog.recordings.parquet_writer import RecordingWriter
from streamer.testing.alerts import firing, moment, ready, said

TOPICS = OutputTopics()
STORY = (
    firing("1h", model="bus-ü"),
    ready("2h", "1h", "bus-ü"),
    firing("3h", model="bus-2", effect=0.1),
    ready("4h", "3h", "bus-2", effect=0.1),
    said("silence", "silence-1", "5h", matcher=Matcher("bus-3"), until=moment("9h"), comment="known"),
    firing("6h", model="bus-3"),
    firing("7h", "bus-ü", column="dwell_s"),
    ready("8h", "7h", "bus-ü", "dwell_s"),
    firing("9h 1m", "source:weather", "temp_c", ""),
    ready("9h 30m", "9h 1m", "source:weather", "temp_c", ""),
)
SOURCES = {"weather": SourceSettings(["tram-1", "tram-2"])}


@pytest.fixture
def published():
    """What the decide fold makes of the story, with the alerts themselves: stretches by topic."""
    return published_of(STORY)


def published_of(story):
    fold, rows = DecideFold(RetrainSettings(), sources=SOURCES), {}
    for i, record in enumerate(story):
        topic = TOPICS.control if isinstance(record, Control) else TOPICS.alerts
        value = msgspec.json.encode(record)
        outputs = fold.step([Records.build(topic, 0, [(i, -1, None, value, ())])])
        rows.setdefault(topic, []).append((i, -1, None, value, ()))
        for output in outputs:
            found = rows.setdefault(output.topic, [])
            found.append((len(found), -1, output.key, output.value, output.headers))
    return [Records.build(topic, 0, found) for topic, found in rows.items()]


@pytest.fixture
def service(config, published, monkeypatch):
    """A broker that holds what was published."""

    def held(_connection, topics):
        return iter([records for records in published if records.topic in topics])

    monkeypatch.setattr(kafka_reader, "read_to_end", held)


@pytest.fixture
def replayed(tmp_path, published):
    """The same as a replay writes it, and as a recording of the topics."""
    return written(tmp_path, published)


def written(tmp_path, published):
    lines, path, recording = OutputLines(TOPICS), tmp_path / "out.jsonl", tmp_path / "topics.parquet"
    with RecordingWriter(recording) as writer, path.open("wb") as out:
        for records in published:
            writer.write(records)
            for output in outputs_of(records):
                out.write(lines.line_of(output) or b"")
    return str(path), str(recording)


def outputs_of(records):
    """The records of a topic as they were published."""
    from streamer.eventlog.base import Output

    return [Output(records.topic, None, records.value_of(i)) for i in range(len(records))]


def test_all_sources_tell_the_same(service, replayed):
    """The topics of a service, the lines of a replay and a recording of the topics give the same words."""
    reported = cli("history", "bus-ü")
    assert reported.exit_code == 0, reported.stderr
    assert "incident_opened" in reported.stdout
    assert "bus-2" not in reported.stdout
    for path in replayed:
        assert cli("history", "bus-ü", path).stdout == reported.stdout


def test_an_explanation_names_every_step_and_its_numbers(service):
    """What moved, since when, against what, what was decided each time and why not, and the guard that held."""
    request = json.loads(cli("history", "bus-ü", "--json").stdout.splitlines()[3])
    assert request["type"] == "request"
    reported = cli("explain", request["request_id"]).stdout
    assert reported.splitlines()[:4] == [
        "2026-01-01 01:00  alert     bus-ü:7:headway_s:1h firing (drift)",
        "                  headway_s up: 412 -> 530, effect 1 sd, by adwin (statistic 0.9, threshold 0.5)",
        "                  since 2026-01-01 01:00, offset 3600 of bus.predictions[0]; "
        "300 values against 1,000 of its own earlier values",
        f"                  => waiting_for_data (not enough events of the new regime yet), {request['incident_id']}",
    ]
    assert f"=> request_open (an earlier request is open: {request['request_id']}, made 2026-01-01 02:00)" in reported
    assert "train on bus.predictions[0] 3600 to 7201, 2026-01-01 01:00 to 2026-01-01 02:00" in reported
    small = cli("explain", "bus-2:7:headway_s:3h").stdout
    assert (
        small.count("=> effect_too_small (the effect is too small for a retrain: 0.1 sd, retrain.sd_min is 0.3)") == 2
    )
    assert "request " not in small


def test_each_record_says_what_changed_in_its_own_sentence(tmp_path):
    """An alert as it fired, then as all values since show it, its incident, and its request; once each."""
    early, late = "headway_s moved by 300: 412 before, 712 after.", "headway_s moved by 118: 412 before, 530 after."
    story = (
        firing("1h", summary=early, after=712.0, n_current=3, effect_se=0.31),
        ready("2h", "1h", summary=late, effect=0.91, effect_se=0.0412),
    )
    path, _ = written(tmp_path, published_of(story))
    explained, history = cli("explain", "bus-099:7:headway_s:1h", path), cli("history", "bus-099", path)
    lines = [line.strip() for line in explained.stdout.splitlines()]
    assert explained.exit_code == 0, explained.stderr
    assert lines[1:3] == [
        early,
        "headway_s up: 412 -> 712, effect 1 ± 0.31 sd, by adwin (statistic 0.9, threshold 0.5)",
    ]
    at = next(i for i, line in enumerate(lines) if line.endswith("ready (drift)"))
    assert lines[at + 1 : at + 4] == [
        late,
        "headway_s up: 412 -> 530, effect 0.91 ± 0.0412 sd",
        "since 2026-01-01 01:00, offset 3600 of bus.predictions[0]; 300 values against 1,000 of its own earlier values",
    ]
    heads = [i for i, line in enumerate(lines) if "incident  " in line or "request   " in line]
    assert [lines[i + 1] for i in heads] == [early, late]
    assert history.stdout == explained.stdout


def test_records_without_a_sentence_have_no_line_for_it(tmp_path):
    """Alerts of earlier versions say nothing: their lines are as they were, and `ready` repeats no numbers."""
    path, _ = written(tmp_path, published_of((firing("1h"), ready("2h", "1h"))))
    lines = [line.strip() for line in cli("explain", "bus-099:7:headway_s:1h", path).stdout.splitlines()]
    assert lines[1].startswith("headway_s up: 412 -> 530, effect 1 sd, by adwin")
    at = next(i for i, line in enumerate(lines) if line.endswith("ready (drift)"))
    assert lines[at + 1].startswith("=> ")
    assert "" not in lines


def test_a_request_that_came_of_a_source_is_explained_by_its_alert(service):
    """From the model, which raised nothing itself, from the request, and from the incident of the source."""
    reported = cli("history", "tram-1")
    assert reported.exit_code == 0, reported.stderr
    assert "source:weather" in reported.stdout
    lines = [json.loads(line) for line in cli("history", "tram-1", "--json").stdout.splitlines()]
    (request,) = [line for line in lines if line["type"] == "request"]
    for name in (request["request_id"], request["incident_id"]):
        reported = cli("explain", name).stdout
        assert "source:weather::temp_c:9h 1m ready" in reported
        assert request["request_id"] in reported
    assert "tram-2" in cli("explain", request["incident_id"]).stdout


def test_a_silence_is_explained_with_what_it_silenced(service):
    """By its own id or by that of an alert: who said it, until when, and that it was the reason."""
    for name in ("silence-1", "bus-3:7:headway_s:6h"):
        reported = cli("explain", name).stdout
        assert "decision  silence-1 silence_began by ann: known" in reported
        assert "=> silenced (a silence matches it: by ann, until 2026-01-01 09:00), silence-1" in reported
        assert "bus-2" not in reported


def test_an_unknown_name_is_answered_with_near_ones(service):
    """A slip of an id or of a model's name ends with 2 and what was probably meant."""
    ran = cli("explain", "silence-2")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "no record of alert, incident, request or silence silence-2; did you mean silence-1?" in ran.stderr
    assert "no record of model bus-4; did you mean bus-" in cli("history", "bus-4").stderr
    assert cli("history", "zzz").stderr.endswith("no record of model zzz\n")


def test_what_is_no_output_of_a_replay_is_refused(tmp_path):
    """A recording of events is to be replayed first; the line and the command are named."""
    path = tmp_path / "june.jsonl"
    path.write_text('{"model_id": "bus-1", "prediction": 1}\n')
    ran = cli("explain", "x", str(path))
    assert ran.exit_code == 2
    assert "line 1 is no output of `driftline replay`" in ran.stderr
    assert cli("explain", "x", str(tmp_path / "none")).exit_code == 2


def test_what_is_kept_is_bounded(service, monkeypatch):
    """Of a very long story the newest part is reported, and a sentence says so."""
    monkeypatch.setattr(audit, "RECORDS_MAX", 2)
    ran = cli("history", "bus-ü")
    assert ran.stderr == "the oldest records are left out\n"
    assert "dwell_s" in ran.stdout
