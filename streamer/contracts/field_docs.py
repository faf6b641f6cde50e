"""Descriptions of fields, read from the source of their class: schemas and reference pages repeat nothing by hand.

Three forms are understood: a comment behind the field (`cooldown_s: float = 60.0  # between two requests`), comment
lines directly above it, and a paragraph `cooldown_s: between two requests` in the docstring of the class, whose
further lines are indented.
"""

from __future__ import annotations

import inspect
import io
import re
import tokenize
from enum import Enum
from functools import cache
from typing import Final

_OURS: Final = {"detectors", "retrain", "streamer"}
_BODY: Final = 4  # the column at which the statements of a class begin


@cache
def field_texts(cls: type) -> dict[str, str]:
    """Text by field name, of the class and its bases. Of an enum, by member name; comments above group members."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] in _OURS and base.__qualname__ == base.__name__:
            comments = _comments(_source(base), above=not issubclass(cls, Enum))
            texts |= _paragraphs(base.__dict__.get("__doc__") or "") | comments
    return texts


def class_text(cls: type) -> str:
    """The docstring of the class on one line, without its fields and what concerns callers in Python only."""
    documented = next((base for base in cls.__mro__ if base.__module__.split(".")[0] in _OURS and base.__doc__), cls)
    paragraphs = inspect.cleandoc(documented.__doc__ or "").split("\n\n")
    prose = " ".join(p for p in paragraphs if not re.match(r"Args:|[ \t]*\w+: ", p))
    sentences = re.split(r"(?<=\.)\s+", " ".join(prose.split()))
    return " ".join(s for s in sentences if "ValueError" not in s)


def sentence(text: str) -> str:
    """The text as a sentence: a capital letter first, and a full stop at its end."""
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else f"{text}."


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""  # a class made at run time has no source of its own, only its bases have


def _paragraphs(docstring: str) -> dict[str, str]:
    found = re.findall(r"^([ \t]*)(\w+): (.+(?:\n\1[ \t]+.+)*)", inspect.cleandoc(docstring), re.MULTILINE)
    return {name: " ".join(text.split()) for _, name, text in found}


def _comments(source: str, *, above: bool) -> dict[str, str]:
    """Comments by the name that begins their statement; with `above`, comment lines directly before it too."""
    comments: dict[str, str] = {}
    name, lines = "", list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        at_body = token.start[1] == _BODY
        if token.type == tokenize.NAME and at_body:
            name = token.string
            if lines:
                comments[name] = " ".join(lines)
            lines = []
        elif token.type == tokenize.COMMENT and (at_body or name):
            text = token.string.removeprefix("#").strip()
            if not at_body:
                comments[name] = f"{comments[name]} {text}" if name in comments else text
            elif above:
                lines.append(text)
        elif token.type == tokenize.NEWLINE:
            name = ""
        elif token.type == tokenize.NL and not token.line.strip():
            lines = []
    return comments
