"""`driftline replay`: JSON lines on standard output, everything for people on standard error."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from cli_kit import cli
from numba import njit

from streamer.codecs.base import Reason
from streamer.commands.console.progress import COMPILING, compilation_shown
from streamer.contracts.dead_letters import dead_letter
from streamer.eventlog.base import Output, Records

REQUEST = b'{"request_id":"retrain-abc","model_id":"bus-099"}'


def unreadable(value: bytes | None) -> Output:
    records = Records.build("bus", 3, [(41, 1_700_000_000_000, b"k", value, (("trace", b"1"),))])
    return dead_letter(records, 0, Reason.NOT_JSON, "it ends early", "bus-dlt")


@pytest.fixture
def outputs(fake_app):
    fake_app.outputs = [
        Output("driftline.alerts", b"bus-099", b'{"alert_id":"a","state":"firing"}'),
        Output("driftline.incidents", b"i", '{"incident_id":"i","column":"Fahrgäste"}'.encode()),
        Output("driftline.epochs", b"detect-0", b'{"number":1}'),
        Output("driftline.retrain-requests", b"bus-099", REQUEST, (("ce_id", b"retrain-abc"),)),
        unreadable(b'{"model_id":'),
        unreadable(b"\xff\x00"),
        unreadable(None),
    ]
    return fake_app.outputs


def test_standard_output_is_one_json_object_a_line(outputs):
    """Each line has a type first and then the record's own members; epochs are not reported."""
    ran = cli("replay", "a.parquet")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.exit_code == 0
    assert [next(iter(line)) for line in lines] == ["type"] * 6
    assert lines[0] == {"type": "alert", "alert_id": "a", "state": "firing"}
    assert lines[1] == {"type": "incident", "incident_id": "i", "column": "Fahrgäste"}
    assert lines[2] == {"type": "request", **json.loads(REQUEST)}
    assert lines[3] == {
        "type": "dead_letter",
        "topic": "bus",
        "partition": 3,
        "offset": 41,
        "timestamp": 1_700_000_000_000,
        "reason": "not_json",
        "message": "it ends early",
        "key": "k",
        "value": '{"model_id":',
    }
    assert (lines[4]["value_base64"], lines[5]["value"]) == ("/wA=", None)


def test_people_read_standard_error(outputs):
    """Progress and a summary with every count are there, and no JSON."""
    reported = cli("replay", "a.parquet").stderr
    assert "replay: 100 %" in reported
    assert (
        "1,234,567 records of 50 models with 600 columns in total, from 2026-11-23 07:16 to 2026-11-30 07:16"
        in reported
    )
    assert (
        "14,808,000 values of features, predictions and errors: 14,807,000 watched, 900 missing, 60 faulty, 40 dropped"
        in reported
    )
    assert "12 alarms, 5 alerts, 5 incidents, 1 retrain request, 567 dead letters" in reported
    assert "{" not in reported


def test_the_summary_names_times_that_are_ahead(outputs, fake_app):
    """Only where there are any."""
    assert "567 dead letters\n" in cli("replay", "a.parquet").stderr
    fake_app.ahead = 1234
    reported = cli("replay", "a.parquet").stderr
    assert "567 dead letters, 1,234 records dated too far ahead to move time\n" in reported


def test_requests_are_written_as_files(outputs, tmp_path):
    """Each request is a file of its own name with the record's bytes."""
    cli("replay", "a.parquet", "--requests-dir", str(tmp_path / "new" / "requests"))
    (file,) = (tmp_path / "new" / "requests").iterdir()
    assert file.name == "retrain-abc.json"
    assert file.read_bytes() == REQUEST + b"\n"


def test_a_folder_that_can_not_be_made_is_told(fake_app, tmp_path):
    """A file stands where the folder should be: one sentence, before any work."""
    (tmp_path / "file").write_text("")
    ran = cli("replay", "a.parquet", "--requests-dir", str(tmp_path / "file"))
    assert (ran.exit_code, fake_app.calls) == (2, {})
    assert ran.stderr.startswith(f"driftline: --requests-dir {tmp_path / 'file'} can't be made")


def test_no_configuration_is_needed(fake_app):
    """Without --config all settings are defaults; recordings and topic are handed on as given."""
    cli("replay", "a.parquet", "-", "--topic", "bus")
    assert fake_app.calls["recordings"] == ("a.parquet", "-")
    assert fake_app.calls["topic"] == "bus"
    assert not fake_app.calls["config"].topics


def test_a_configuration_may_lack_what_only_the_service_needs(fake_app, tmp_path):
    """A file with nothing but other settings will do."""
    (tmp_path / "c.yaml").write_text("retrain: {cooldown_s: 60}\n")
    assert cli("replay", "a.parquet", "--config", str(tmp_path / "c.yaml")).exit_code == 0
    assert fake_app.calls["config"].retrain.cooldown_s == 60


DRIVER = """
import signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in a shell's background
from streamer.eventlog.base import Output
app = sys.modules['streamer.app.replay'] = types.ModuleType('streamer.app.replay')
def replay(config, recordings, topic, publish, progress, selection):
    while True:
        publish(Output('driftline.alerts', None, b'{"alert_id":"a"}'))
        progress(0, None)
app.replay = replay
from streamer.cli import main
main(['replay', 'a.parquet'])
"""


def driven() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_reader_that_goes_away_ends_it_quietly():
    """As under `| head -1`: no word on standard error, and the exit code of a broken pipe."""
    with driven() as process:
        assert json.loads(process.stdout.readline())["type"] == "alert"
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (141, b"")


def test_ctrl_c_ends_it_with_130():
    """No traceback either."""
    with driven() as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, reported = process.communicate(timeout=60)
        assert (process.returncode, reported.strip()) == (130, b"")


def test_options_choose_a_part_and_settings(fake_app):
    """Spans, models and columns reach the replay; single settings count before the defaults."""
    ran = cli("replay", "a.parquet", "--from", "2026-05-12", "--models", "bus-*", "--set", "retrain.cooldown_s=7m")
    selection, config = fake_app.calls["selection"], fake_app.calls["config"]
    assert (ran.exit_code, selection.since_ms, selection.models) == (0, 1_778_544_000_000, ("bus-*",))
    assert config.retrain.cooldown_s == 420


def test_columns_of_a_table_are_named_by_options(fake_app, tmp_path):
    """A table needs no configuration; a column that it lacks is an error with a near name."""
    table = tmp_path / "rides.csv"
    table.write_text("at,delay,eta\n2026-05-12,1,2\n")
    ran = cli("replay", str(table), "--time", "at", "--model", "bus", "--features", "delay", "--prediction", "eta")
    fields = fake_app.calls["config"].topics["rides"].fields
    assert ran.exit_code == 0
    assert (fields.event_time, fields.model_id, fields.prediction) == ("$['at']", "=bus", "$['eta']")
    wrong = cli("replay", str(table), "--time", "at", "--label", "dely")
    assert (wrong.exit_code, "has no column dely; did you mean delay?" in wrong.stderr) == (2, True)


def test_a_report_is_written_beside_the_lines(outputs, fake_app, tmp_path, monkeypatch):
    """`--report` hands the published records to the report, and only says so where there are none."""
    import streamer.page.report as page

    given = []
    monkeypatch.setattr(page, "write_report", lambda source, *_: (given.extend(source()) or "<html>", None))
    ran = cli("replay", "a.parquet", "--report", str(tmp_path / "r.html"))
    assert (ran.exit_code, (tmp_path / "r.html").read_text()) == (0, "<html>")
    assert [kind for kind, _ in given] == ["alert", "incident", "request"]
    fake_app.outputs = []
    quiet = cli("replay", "a.parquet", "--report", str(tmp_path / "none.html"))
    assert "no alert, so there is nothing to report" in quiet.stderr
    assert not (tmp_path / "none.html").exists()


def test_a_configuration_without_brokers_is_checked(tmp_path):
    """`check-config --offline` takes what a replay takes; without it, brokers are missing."""
    file = tmp_path / "c.yaml"
    file.write_text("topics: {flights: {fields: {model_id: '=eta', event_time: $.at}}}\n")
    checked = cli("check-config", str(file), "--offline")
    assert (checked.exit_code, "ok; reads flights, compares" in checked.stdout) == (0, True), checked.output
    assert "kafka.bootstrap: is missing" in cli("check-config", str(file)).stderr


def test_what_was_seen_of_a_change_is_reported(fake_app):
    """`--inject` reaches the replay with its seed, and the table is for people."""
    ran = cli("replay", "a.parquet", "--inject", "gap: +15 @ 2026-05-12 of bus-*", "--seed", "7")
    [injection] = fake_app.calls["selection"].injections
    assert (ran.exit_code, injection.amount, injection.seed) == (0, 15, 7)
    assert "gap: +15 @ 2026-05-12 of bus-*  bus-*  gap     not seen" in ran.stderr
    assert cli("replay", "a.parquet", "--inject", "gap+15").exit_code == 2


def test_compilation_is_said_once(capsys):
    """The first kernel that is compiled is said, the others are not; nor is one that is there already."""
    square, cube = njit(lambda x: x * x), njit(lambda x: x * x * x)
    with compilation_shown():
        assert square(2) + cube(2) == 12
    assert capsys.readouterr().err == f"{COMPILING}\n"
    with compilation_shown():
        assert square(3) == 9
    assert capsys.readouterr().err == ""
