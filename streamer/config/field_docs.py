"""What the source of a settings class says of each field, so that reference pages repeat nothing by hand.

Two habits are understood: a comment behind the field (`cooldown_s: float = 60.0  # between two requests`), and
a paragraph `cooldown_s: between two requests` in the class's docstring, whose further lines are indented.
"""

from __future__ import annotations

import inspect
import io
import re
import tokenize
from functools import cache
from typing import Final

_OURS: Final = {"detectors", "retrain", "streamer"}


@cache
def field_texts(cls: type) -> dict[str, str]:
    """Text by field name, of the class and those it is derived from."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] in _OURS and base.__qualname__ == base.__name__:
            texts |= _paragraphs(base.__dict__.get("__doc__") or "") | _comments(_source(base))
    return texts


def class_text(cls: type) -> str:
    """What the docstring says of the class as a whole, on one line, without what is meant for callers in Python."""
    told = next((base for base in cls.__mro__ if base.__module__.split(".")[0] in _OURS and base.__doc__), cls)
    paragraphs = inspect.cleandoc(told.__doc__ or "").split("\n\n")
    prose = " ".join(p for p in paragraphs if not re.match(r"Args:|[ \t]*\w+: ", p))
    sentences = re.split(r"(?<=\.)\s+", " ".join(prose.split()))
    return " ".join(s for s in sentences if "ValueError" not in s)


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""  # a class made at run time has no source of its own, only its bases have


def _paragraphs(docstring: str) -> dict[str, str]:
    found = re.findall(r"^([ \t]*)(\w+): (.+(?:\n\1[ \t]+.+)*)", inspect.cleandoc(docstring), re.MULTILINE)
    return {name: " ".join(text.split()) for _, name, text in found}


def _comments(source: str) -> dict[str, str]:
    comments: dict[str, str] = {}
    name, at_start = "", True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and at_start:
            name = token.string
        elif token.type == tokenize.COMMENT and name and not at_start:
            text = token.string.removeprefix("#").strip()
            comments[name] = f"{comments[name]} {text}" if name in comments else text
        at_start = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL) and (
            at_start or token.type != tokenize.NL
        )
    return comments
