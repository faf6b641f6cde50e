"""Objects and lists among the values of events as columns of their own."""

import pytest
from codec_oracle import columns_of, decode

from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonSettings
from streamer.events import MISFIT, Names

LONG = list(range(17))


def values_of(event, **fields):
    """The values of one event by column; "nested" where it is not opened."""
    names = Names.fresh()
    batch, dead = decode({"model_id": "m"} | event, settings=JsonSettings(fields=FieldMap(**fields)), names=names)
    assert not len(dead), dead.detail
    columns = columns_of(batch)
    found = zip(columns["column"], columns["number"], columns["category"], strict=True)
    return {names.columns.names[c]: "nested" if category == MISFIT else number for c, number, category in found}


@pytest.mark.parametrize(
    ("features", "fields", "found"),
    [
        ({"user": {"age": 3, "at": {"x": 1}}}, {}, {"user.age": 3, "user.at.x": 1}),
        ({"user": {"age": 3, "at": {"x": 1}}}, {"depth": 1}, {"user.age": 3, "user.at": "nested"}),
        ({"user": {"age": 3}, "e": [1, 2]}, {"depth": 0}, {"user": "nested", "e": "nested"}),
        ({"e": [5, 6], "x": 1}, {}, {"e[0]": 5, "e[1]": 6, "x": 1}),
        ({"e": LONG}, {}, {"e": "nested"}),
        ({"e": LONG}, {"lists": {"e": "1..2"}}, {"e[1]": 1, "e[2]": 2}),
        ({"u": {"emb_a": LONG}}, {"lists": {"u.emb_*": "16..20"}}, {"u.emb_a[16]": 16}),
        ({"e": [[1]], "o": [{"x": 1}]}, {}, {"e": "nested", "o": "nested"}),
    ],
)
def test_nested_features_are_columns_to_a_depth(features, fields, found):
    """Also beside a mapping of fields, and wherever the fast parser stops."""
    assert values_of({"features": features}, **fields) == found
    assert values_of({"inputs": features}, features="$.inputs", **fields) == found


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        ({"yes": 0.7, "no": 0.3}, {"prediction.yes": 0.7, "prediction.no": 0.3, "x": 1}),
        ([0.7, 0.3], {"prediction[0]": 0.7, "prediction[1]": 0.3, "x": 1}),
        (LONG, {"prediction": "nested", "x": 1}),
        ({}, {"prediction": "nested", "x": 1}),
    ],
)
def test_a_prediction_of_several_values_is_several_columns(prediction, found):
    """Those of classes, such as probabilities."""
    assert values_of({"features": {"x": 1}, "prediction": prediction}) == found


@pytest.mark.parametrize("items", ["5", "3..1", "0..10000", "a..b", 3])
def test_items_that_are_no_range_are_refused(items):
    """The message names the pattern and shows the form."""
    with pytest.raises(ValueError, match=r"lists: 'e' has .*as in 0\.\.15"):
        FieldMap(lists={"e": items})
