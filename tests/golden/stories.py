"""Small recordings that tell a story each: events of a few models, and what people and trainers say meanwhile.

A model has one event a minute from 2026-01-01 UTC on. Numbers come from Python's own generator, so they are the same
everywhere. What is said of a request is said of the last one of its model, whatever its id is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from streamer.app import replay as app
from streamer.commands.console.json_lines import OutputLines
from streamer.config import Config
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Output, Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter

START = datetime(2026, 1, 1, tzinfo=UTC)
TOPIC = "bus.predictions"
MINUTE_MS = 60_000
DAY = 1440


@dataclass(frozen=True)
class Model:
    """Its `headway_s` is 600 ± 60 until a minute of `moves`, from which on it is about what stands there, or null."""

    name: str  # or `source:<name>`
    minutes: int
    moves: dict[int, float | None] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=lambda: {0: "7"})  # minute -> version from there on

    def at(self, minute: int, of: dict[int, Any], otherwise: Any) -> Any:
        """What holds at a minute."""
        return next((of[since] for since in sorted(of, reverse=True) if since <= minute), otherwise)


@dataclass(frozen=True)
class Word:
    """What is said at a minute: of the last request of a model, of the storm, or under an id of its own."""

    minute: int
    kind: str
    about: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """Models, words, and settings of the decide fold."""

    models: Sequence[Model]
    words: Sequence[Word] = ()
    retrain: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # sections of the configuration

    @property
    def config(self) -> Config:
        """Few events are enough for a decision."""
        return Config.model_validate_json(
            json.dumps(
                {
                    "topics": {TOPIC: {"format": "json"}},
                    "detectors": {"ks_window": {"window": 100}},
                    "retrain": {"min_events_after_onset": 200, **self.retrain},
                    **self.settings,
                }
            )
        )


def time_of(minute: int) -> str:
    """As records tell it."""
    return f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"


def events(story: Story) -> Records:
    """The predictions of all models, in order of time."""
    rows, chances = [], {model.name: Random(model.name) for model in story.models}
    for minute in range(max(model.minutes for model in story.models)):
        for model in story.models:
            if minute >= model.minutes:
                continue
            chance, mean = chances[model.name].gauss(0.0, 60.0), model.at(minute, model.moves, 600.0)
            whose = {"model_id": model.name, "model_version": model.at(minute, model.versions, "7")}
            if model.name.startswith("source:"):
                whose = {"source": model.name.removeprefix("source:")}
            value = None if mean is None else round(mean + chance, 2)
            event = {**whose, "event_time": time_of(minute), "features": {"headway_s": value}}
            rows.append((len(rows), _ms(minute), model.name.encode(), json.dumps(event).encode(), ()))
    return Records.build(TOPIC, 0, rows)


def _ms(minute: int) -> int:
    return int(START.timestamp() * 1000) + minute * MINUTE_MS


def reported(story: Story, folder: Path) -> list[dict[str, Any]]:
    """What a replay of the story publishes, line by line; ids that words need are found by replaying up to them."""
    records, words = events(story), list[Records]()
    lines = _replayed(story, records, words, folder)
    for i, word in enumerate(story.words):
        about = _id_of(word, lines)
        said = {"kind": word.kind, "request_id": about, "at": time_of(word.minute), "actor": "ann", **word.fields}
        words.append(
            Records.build("driftline.control", 0, [(i, _ms(word.minute), None, json.dumps(said).encode(), ())])
        )
        lines = _replayed(story, records, words, folder)
    return lines


def _id_of(word: Word, lines: Sequence[dict[str, Any]]) -> str:
    if word.kind.endswith("silence"):
        return word.about
    if word.about.startswith("fleet:"):
        return next(line["incident_id"] for line in lines if line.get("model_id") == word.about)
    own = [line for line in lines if line["type"] == "request" and line["model_id"] == word.about]
    return str([line for line in own if line["requested_at"] <= time_of(word.minute)][-1]["request_id"])


def _replayed(story: Story, records: Records, words: Sequence[Records], folder: Path) -> list[dict[str, Any]]:
    path = folder / "recording.parquet"
    with RecordingWriter(path) as writer:
        for stretch in (*words, records):
            writer.write(stretch)
    lines, found = OutputLines(OutputTopics()), list[dict[str, Any]]()

    def publish(output: Output) -> None:
        text = lines.line_of(output) or b""
        found.extend(json.loads(line, parse_float=_six_digits) for line in text.splitlines())

    app.replay(story.config, [str(path)], None, publish, lambda *_: None)
    return found


def _six_digits(text: str) -> float:
    """The last digits of a float may differ from one processor to another."""
    return float(f"{float(text):.6g}")


def _promotion(minute: int, model: str, version: str) -> Iterator[Word]:
    yield Word(minute, "trained", model, {"actor": "trainer", "model_version": version})
    yield Word(minute + 30, "promote", model)


SHIFT = {700: 690.0}  # half past eleven: a standard deviation and a half

STORIES: dict[str, Callable[[], Story]] = {
    "single-drift": lambda: Story([Model("bus-1", DAY, SHIFT), Model("bus-2", DAY)]),
    "drift-back": lambda: Story([Model("bus-1", DAY, {700: 690.0, 800: 600.0})]),
    "storm-released": lambda: Story(
        [*(Model(f"bus-{i}", DAY, SHIFT) for i in range(4)), Model("bus-9", DAY)],
        [Word(1300, "approve", "fleet:headway_s", {"comment": "the timetable has changed"})],
        {"storm_models_min": 3},
    ),
    "silence-ends-while-firing": lambda: Story(
        [Model("bus-1", DAY, SHIFT), Model("tram-1", DAY, {1100: 400.0})],
        [
            Word(
                600,
                "silence",
                "silence-roadworks",
                {"matcher": {"model": "bus-*"}, "until": time_of(1000), "comment": "roadworks"},
            )
        ],
    ),
    "approvals": lambda: Story(
        [Model("bus-1", 3 * DAY, SHIFT, {0: "7", 1500: "8"}), Model("tram-1", 3 * DAY, {1600: 400.0, 3000: 900.0})],
        [
            Word(1100, "approve", "bus-1", {"comment": "headway really changed"}),
            Word(1100, "approve", "bus-1", {"actor": "bob"}),
            Word(1200, "started", "bus-1", {"actor": "trainer"}),
            *_promotion(1400, "bus-1", "8"),
        ],
        {"approval_by_model": {"bus-*": "both"}, "watch_s": 86_400.0, "storm_models_min": None},
    ),
    "fault-then-drift": lambda: Story(
        [Model("bus-1", DAY, {700: None, 900: 690.0}), Model("bus-2", DAY)],
        settings={"detectors": {"ks_window": {"window": 100}, "rate": {"baseline_size": 500}}},
    ),
    "source-of-two-models": lambda: Story(
        [Model("source:gtfs", DAY, SHIFT), Model("bus-1", DAY, SHIFT), Model("bus-2", DAY), Model("tram-1", DAY)],
        settings={"sources": {"gtfs": {"models": ["bus-1", "bus-2"]}}},
    ),
    "three-retrains-do-not-help": lambda: Story(
        [
            Model(
                "bus-1",
                4000,
                {700: 690.0, 1700: 780.0, 2700: 870.0, 3700: 960.0},
                {0: "7", 1200: "8", 2200: "9", 3200: "10"},
            )
        ],
        [*_promotion(1150, "bus-1", "8"), *_promotion(2150, "bus-1", "9"), *_promotion(3150, "bus-1", "10")],
        {"cooldown_s": 43_200.0, "cooldown_factor": 1.15},
    ),
}
