"""Situations: a few records as their producer writes them, replayed by the command with a configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from streamer.cli import main
from streamer.codecs import CODECS
from streamer.config import Config
from streamer.detect.references.table import load_references
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter
from streamer.events import Names

START_MS = 1_772_431_200_000  # 2026-03-02T06:00:00Z, a Monday
MINUTE_MS = 60_000
TOPIC = "events"


def iso(i: float, step_ms: int = MINUTE_MS) -> str:
    """Minute `i` of the situations as RFC 3339."""
    return datetime.fromtimestamp((START_MS + i * step_ms) / 1000, UTC).isoformat(timespec="milliseconds")


def shifted(seed: int, n: int, low: float, high: float, sd: float = 1.0, at: float = 0.5) -> list[float]:
    """`n` normal values whose mean moves from `low` to `high` at this share of them."""
    rng, moved = np.random.default_rng(seed), np.arange(n) >= at * n
    return np.round(rng.normal(np.where(moved, high, low), sd), 3).tolist()


def event(i: float, model: str = "m", **more: Any) -> dict[str, Any]:
    """A canonical event of minute `i`."""
    return {"model_id": model, "prediction_id": f"{i:g}", "event_time": iso(i), **more}


@dataclass(frozen=True)
class Sent:
    """A record: any value (JSON, unless it is bytes or None), with its key, headers and time."""

    value: Any
    key: str | bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    time_ms: int | None = None


@dataclass
class Situation:
    """A folder with a configuration and a recording."""

    folder: Path
    text: str = ""
    recording: str = ""
    ran: Any = field(default=None, repr=False)

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ran.stdout.splitlines()]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [one for one in self.lines if one["type"] == "alert" and one["state"] == "firing"]

    @property
    def drifts(self) -> set[tuple[str, str]]:
        """Model and column of the alerts for drift."""
        return {(one["model_id"], one["column"]) for one in self.alerts if one["kind"] == "drift"}

    @property
    def dead(self) -> list[str]:
        """The reasons of the dead letters."""
        return [one["reason"] for one in self.lines if one["type"] == "dead_letter"]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [one for one in self.lines if one["type"] == "request"]

    @property
    def words(self) -> str:
        """The summary and the warnings."""
        return self.ran.stderr

    def columns(self, model: str) -> dict[str, dict[str, Any]]:
        """What `driftline columns` has of a model, by version and column where there are versions."""
        done = CliRunner().invoke(main, ["columns", model, self.recording, *self._config, "--json"])
        assert done.exit_code == 0, done.output
        found = map(json.loads, done.stdout.splitlines())
        return {f"{one['model_version'] or ''}/{one['column']}".lstrip("/"): one for one in found if "column" in one}

    @property
    def _config(self) -> list[str]:
        return ["--config", str(self.folder / "driftline.yaml"), "--topic", TOPIC]

    def replay(self, recording: str, expect: int = 0) -> Situation:
        self.recording = recording
        (self.folder / "driftline.yaml").write_text(self.text)
        self.ran = CliRunner().invoke(main, ["replay", recording, *self._config])
        assert self.ran.exit_code == expect, self.ran.output
        return self


def replayed(
    folder: Path, records: Sequence[Any], topic: dict[str, Any] | None = None, expect: int = 0, **config: Any
) -> Situation:
    """Replay records (`Sent`, or their values) with the settings of their topic; the rest of the configuration follows.

    A record's time is minute after minute, unless it has one.
    """
    with RecordingWriter(folder / "events.parquet") as writer:
        writer.write(Records.build(TOPIC, 0, _rows(records)))
    situation = Situation(folder, json.dumps({"topics": {TOPIC: topic or {}}, **config}))
    return situation.replay(str(folder / "events.parquet"), expect)


@dataclass(frozen=True)
class Decoded:
    """What a codec makes of records: events by model and time, values by column, and what became dead letters."""

    models: dict[str, int]  # with their events
    columns: dict[str, int]  # with their values
    times_ms: list[int]
    dead: list[str]  # explained


def decoded(records: Sequence[Any], topic: dict[str, Any] | None = None) -> Decoded:
    """Decode records (`Sent`, or their values) with the settings of their topic."""
    settings = Config.model_validate_json(json.dumps({"topics": {TOPIC: topic or {}}})).topics[TOPIC]
    names = Names.fresh()
    batch, letters = CODECS[settings.format][1](settings).decode(Records.build(TOPIC, 0, _rows(records)), names)
    models = Counter(names.models.names[i] for i in batch.model.tolist())
    columns = Counter(names.columns.names[i] for i in batch.column.tolist())
    return Decoded(dict(models), dict(columns), batch.event_time_ms.tolist(), list(letters.detail))


def _rows(records: Sequence[Any]) -> list[tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
    rows = []
    for i, one in enumerate(one if isinstance(one, Sent) else Sent(one) for one in records):
        value = one.value if one.value is None or isinstance(one.value, bytes) else json.dumps(one.value).encode()
        key = one.key.encode() if isinstance(one.key, str) else one.key
        at = START_MS + i * MINUTE_MS if one.time_ms is None else one.time_ms
        rows.append((i, at, key, value, tuple(one.headers)))
    return rows


def built(folder: Path, *arguments: str, expect: int = 0) -> str:
    """Run `driftline reference build` of files below a folder to `folder/ref`; returns what it printed."""
    done = CliRunner().invoke(main, ["reference", "build", *arguments, "--out", str(folder / "ref")])
    assert done.exit_code == expect, done.output
    return done.output


def reference(folder: Path) -> dict[str, Any]:
    """The columns of `folder/ref`, with what is kept of each."""
    return {column: kept for (_, _, column), kept in load_references(str(folder / "ref"), 2).by_series.items()}
