"""Paths by the place of an item that miss what a list holds beside it, or in another order."""

import json

import pytest

from streamer.codecs.field_paths import FieldMap, ItemPlaces
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.eventlog.base import Records
from streamer.events import Names

ROWS = {"data": [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]}
PAGE, SCORE = {"schema": "page", "data": {"len": 1}}, {"schema": "score", "data": {"ctr": 0.5}}
AGE, FARE = {"name": "age", "value": 1}, {"name": "fare", "value": 2}


def concern(documents, **fields) -> str:
    return ItemPlaces(FieldMap(**fields)).concern([{"c": one} if isinstance(one, list) else one for one in documents])


@pytest.mark.parametrize(
    ("documents", "fields", "found"),
    [
        (
            [ROWS],
            {"features": "$.data[0]"},
            "features reads item 0 of $.data alone, and a record has 3 such items: rows:",
        ),
        ([ROWS], {"features": {"x": "$.data[2].x"}}, "x reads item 2 of $.data alone"),
        ([[PAGE, SCORE], [SCORE, PAGE]], {"prediction": "$.c[1].data.ctr"}, "as in $.c[?schema=='score']"),
        ([[SCORE, PAGE]], {"prediction": "$.c[1].data.ctr"}, "as in $.c[?schema=='score']"),
        ([[AGE, FARE], [FARE, AGE]], {"features": {"age": "$.c[0].value"}}, "as in $.c[?name=='...']"),
    ],
)
def test_an_item_that_is_likely_not_meant_is_named(documents, fields, found):
    """Other items of the same form are rows; items that change places are chosen by a member."""
    assert found in concern(documents, **fields)


@pytest.mark.parametrize(
    ("documents", "fields"),
    [
        ([{"data": ROWS["data"][:1]}], {"features": "$.data[0]"}),
        ([ROWS], {"features": {"a": "$.data[0].x", "b": "$.data[1].x"}}),
        ([ROWS], {"rows": "$.data", "features": "$row"}),
        ([{"e": [1, 2, 3]}, {"e": 5}, 7, None, [ROWS]], {"prediction": "$.e[1]"}),
        ([[AGE, FARE], [AGE, FARE]], {"features": {"age": "$.c[0].value"}}),
        ([[PAGE, SCORE], [PAGE]], {"prediction": "$.c[1].data.ctr"}),
    ],
)
def test_an_item_that_is_meant_is_not(documents, fields):
    """Single items, each of several, plain values, and items that keep their places."""
    assert concern(documents, **fields) == ""


def test_the_service_logs_it_once(caplog):
    """With its topic."""
    codec = JsonCodec(JsonSettings(fields=FieldMap(model_id="=m", features="$.data[0]")))
    for i in range(3):
        codec.decode(
            Records.build("t", 0, [(i, 1_795_435_200_000, None, json.dumps(ROWS).encode(), ())]), Names.fresh()
        )
    assert [one.message.partition(" alone")[0] for one in caplog.records] == [
        "topic t: fields.features reads item 0 of $.data"
    ]
