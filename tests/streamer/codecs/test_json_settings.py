"""Settings of the codec `json`."""

import math

import pytest

from streamer.codecs.json_codec import JsonSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"event_time_unit": "min"}, "event_time_unit is 'min'; it can be one of auto, s, ms, us, ns"),
        ({"tombstones": "drop"}, "tombstones is 'drop'; it can be one of skip_keyed, dead_letter, skip"),
        ({"time_zone": "Mars"}, "time_zone is 'Mars', which is no time zone"),
        ({"rows_max": 0}, "rows_max is 0"),
        ({"skew_max_s": -1}, "skew_max_s is -1"),
        ({"skew_max_s": math.nan}, "skew_max_s is nan"),
        ({"value_bytes_max": 0}, "value_bytes_max is 0"),
        ({"values_max": 0}, "values_max is 0"),
    ],
)
def test_bad_settings_are_refused_with_a_sentence(settings, words):
    """Settings that make no sense are refused where they are made, and the sentence names them."""
    with pytest.raises(ValueError, match=words):
        JsonSettings(**settings)
