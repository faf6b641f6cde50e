"""Ids that are derived from what they identify."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrain.messages.ids import ID_CHARS_MAX, derived_id

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
any_text = st.text(st.characters())  # lone surrogates included


@given(any_text, any_text)
@example("İSTANBUL K", "a")
@example("模型", "")
@example("-" * 80, "")
@example("a" * 80, "\ud800")
def test_an_id_is_a_dns_label_whatever_it_is_made_of(name, part):
    """Job names, run ids and idempotency keys may all be made of it."""
    for kind in ("retrain", "incident"):
        made = derived_id(kind, part, name=name)
        assert DNS_LABEL.fullmatch(made)
        assert len(made) <= ID_CHARS_MAX


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("bus-099", "retrain-bus-099-"),
        ("Bus 099 / North!", "retrain-bus-099-north-"),
        ("模型", "retrain-"),
        ("a" * 37 + " b", "retrain-" + "a" * 37 + "-"),
    ],
)
def test_people_can_read_the_model_in_it(name, slug):
    """The slug holds what the name has of letters and digits, without hyphens at its ends."""
    assert re.fullmatch(re.escape(slug) + "[0-9a-f]{16}", derived_id("retrain", "x", name=name))


@given(st.lists(any_text, max_size=3), st.lists(any_text, max_size=3))
@example(["ab", "c"], ["a", "bc"])
@example(["a\0b"], ["a", "b"])
def test_different_parts_give_different_ids(these, those):
    """Different parts give different ids, however their texts are cut."""
    assert (derived_id("retrain", *these) == derived_id("retrain", *those)) == (these == those)


def test_ids_are_the_same_in_every_run():
    """A change of the derivation would repeat every request under another id, so it must be noticed."""
    assert derived_id("retrain", "bus-099", "alert-1", name="bus-099") == "retrain-bus-099-335338c01d0818e8"
