"""`driftline ui` as a command: what it shows, what it refuses, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import gettempdir

import pytest
from cli_kit import cli
from page_kit import small_fleet


def test_a_file_is_shown_until_a_signal_and_nothing_is_left(tmp_path):
    """The output of a replay is shown without a broker; SIGTERM ends the process with 0 and deletes the read model."""
    path = small_fleet().replayed(tmp_path)
    before = set(Path(gettempdir()).glob("driftline-ui-*"))
    command = [sys.executable, "-m", "streamer.cli", "ui", path, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.match(r"(http://127\.0\.0\.1:\d+)/ shows june\.jsonl", process.stdout.readline())[1]
        found = wait_for(f"{url}/api/v1/fleet")
        assert found["states"] == {"person": 1, "fault": 1, "incident": 1}
        request = next(row["request_id"] for row in found["rows"] if row["state"] == "person")
        page = urllib.request.urlopen(f"{url}/request?id={request}").read().decode()  # noqa: S310 - loopback
        assert "These records come from a file" in page
        assert "/act?" not in page
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert set(Path(gettempdir()).glob("driftline-ui-*")) <= before


def wait_for(url):
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            return json.loads(urllib.request.urlopen(url, timeout=10).read())  # noqa: S310 - a loopback address
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"{url} gives no page")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--user-header", "X-User"), "--user-header and --proxy go together"),
        (("--proxy", "10.0.0.1"), "--user-header and --proxy go together"),
        (("--proxy", "here", "--user-header", "X-User"), "give an address such as 10.0.3.7"),
        (("--approvers", "ml"), "--groups-header and --approvers go together"),
        (("--host", "203.0.113.1", "--port", "1"), "203.0.113.1:1 can't be listened on"),
        (("--config", "no-such.yaml"), "no-such.yaml"),
    ],
)
def test_what_can_not_be_served_is_refused(tmp_path, arguments, words):
    """Options that do not fit together, an address of others, and a missing configuration end with 2 and a sentence."""
    path = small_fleet().replayed(tmp_path)
    result = cli("ui", path, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_file_of_something_else_is_refused(tmp_path):
    """A missing file, and one that no replay wrote, end with 2 before anything is served."""
    other = tmp_path / "events.jsonl"
    other.write_text('{"model_id": "bus-1"}\n')
    assert "is no output of `driftline replay`" in cli("ui", str(other)).stderr
    assert cli("ui", str(other)).exit_code == cli("ui", str(tmp_path / "no-such.jsonl")).exit_code == 2


CONFIG = """
kafka: {bootstrap: localhost:9092}
topics: {bus: {}}
page: {oidc: {issuer: https://login.example, client_id: page, url: https://drift.example, client_secret_env: PAGE_KEY}}
"""


@pytest.mark.parametrize(
    ("options", "missing", "words"),
    [
        ((), "authlib", "page.oidc needs more packages: pip install 'driftline[oidc]'"),
        (
            (),
            "",
            "page.oidc.client_secret_env: the variable PAGE_KEY is not set; set it to the secret of the client page",
        ),
        (("--user-header", "X-User", "--proxy", "10.0.3.7"), "", "page.oidc and --user-header are two ways"),
    ],
)
def test_a_login_that_can_not_work_is_an_error_at_the_start(tmp_path, monkeypatch, options, missing, words):
    """Without Authlib, without the secret, or beside a proxy, `driftline ui` says what to do."""
    path = tmp_path / "driftline.yaml"
    path.write_text(CONFIG)
    monkeypatch.delenv("PAGE_KEY", raising=False)
    if missing:
        monkeypatch.delitem(sys.modules, "streamer.page.oidc", raising=False)
        monkeypatch.setitem(sys.modules, "authlib.common.errors", None)
    ran = cli("ui", "--config", str(path), *options)
    assert ran.exit_code == 2
    assert words in ran.stderr
