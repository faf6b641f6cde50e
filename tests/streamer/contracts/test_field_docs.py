"""Descriptions of fields come from comments at the fields, and from nowhere else."""

from dataclasses import dataclass
from enum import StrEnum

import streamer.contracts.field_docs as field_docs
from streamer.contracts.field_docs import class_text, field_texts, sentence


@dataclass
class Base:
    """A base, of which this is said.

    reported: by the docstring,
        on two lines.
    """

    reported: int
    behind: int = 0  # behind the field
    long: tuple[str, ...] = ("a long default",)  # behind its end


@dataclass
class Commented(Base):
    """Fields with comments."""

    # above the field,
    # on two lines
    above: int = 0

    # a heading, not of the next field

    apart: int = 0
    # above
    both: int = 0  # and behind

    def method(self) -> int:
        """No field."""
        apart = self.above  # of a local name
        return apart + 1


class Grouped(StrEnum):
    """An enum."""

    # A heading of the group.
    FIRST = "first"
    SECOND = "second"  # behind the member


def test_comments_are_found_where_they_belong(monkeypatch):
    """Behind a field, directly above it, both, or in the docstring; headings and comments in methods are not taken."""
    monkeypatch.setattr(field_docs, "_OURS", {__name__.split(".")[0]})
    assert field_texts(Commented) == {
        "reported": "by the docstring, on two lines.",
        "behind": "behind the field",
        "long": "behind its end",
        "above": "above the field, on two lines",
        "both": "above and behind",
    }
    assert class_text(Base) == "A base, of which this is said."


def test_headings_among_members_of_an_enum_are_not_taken(monkeypatch):
    """Comments above members of an enum are headings of groups."""
    monkeypatch.setattr(field_docs, "_OURS", {__name__.split(".")[0]})
    assert field_texts(Grouped) == {"SECOND": "behind the member"}


def test_a_sentence_begins_and_ends_as_one():
    """A capital letter and a full stop are added where they lack."""
    assert [sentence(text) for text in ("", "a text", "Done.")] == ["", "A text.", "Done."]
