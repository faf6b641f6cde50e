"""A pattern of the settings that fits nothing is named, with the name that was probably meant."""

from __future__ import annotations

import json

from streamer.config import Config
from streamer.config.patterns import patterns_of, unmatched, unmatched_in, unmatched_text
from streamer.events import Names

SETTINGS = {
    "topics": {"t": {"fields": {"lists": {"emb": "0..3", "vector": "0..3"}}}},
    "watch": {"bus-*": {"amuont": [], "emb[*]": []}, "tram-*": {}},
    "cast": {"zip": "category", "amount": "number"},
    "segments": {"bus-7": {"by": "depot"}, "ferry": {"by": "depot"}},
    "labels": {"errors": {"bus-?": "squared", "bsu-7": "zero_one"}},
    "sources": {"weather": {"models": ["bus-*", "train-1"]}},
    "retrain": {
        "approval_by_model": {"*": "training", "x": "neither"},
        "rules_by_model": {"bus-7": {"importance": {"amount": 2.0, "fare": 1.0}}},
    },
}
CONFIG = Config.model_validate_json(json.dumps(SETTINGS))
FOUND = [
    'topics.t.fields.lists.vector fits no list',
    'watch."bus-*".amuont fits no column; did you mean amount?',
    'watch."tram-*" fits no model',
    "cast.zip fits no column",
    "segments.ferry fits no model",
    'labels.errors.bsu-7 fits no model; did you mean bus-7?',
    "sources.weather.models[1] fits no model",
    "retrain.approval_by_model.x fits no model",
    'retrain.rules_by_model.bus-7.importance.fare fits no column',
]  # fmt: skip


def test_each_pattern_that_fits_nothing_is_named():
    """Of every setting with patterns, exactly those without an effect."""
    found = unmatched(CONFIG, ["bus-7"], ["amount", "emb[0]", "prediction"])
    assert sorted(found) == sorted(FOUND)
    text = unmatched_text(found, "these recordings")
    assert text.startswith("9 patterns of the settings had no effect on these recordings: ")
    assert text.endswith(", and 4 more")


def test_names_are_those_of_all_units():
    """A pattern that fits a name of one unit has an effect; sources are no models."""
    first, second = Names.fresh(), Names.fresh()
    first.models.id_of("source:tram-1")
    first.models.id_of("bus-7")
    second.columns.id_of("zip")
    found = unmatched_in(CONFIG, [first, second])
    assert "cast.zip fits no column" not in found
    assert 'watch."tram-*" fits no model' in found


def test_without_models_nothing_is_said():
    """A service that has read nothing yet can't judge patterns."""
    assert unmatched(CONFIG, [], ["amount"]) == []


def test_every_setting_by_pattern_is_known():
    """Every mapping of the configuration whose keys are patterns is among them."""
    assert {path[0] for path, *_ in patterns_of(CONFIG)} == set(SETTINGS)
