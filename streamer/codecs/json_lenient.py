"""A lenient JSON parser with explanations, slower than the fast parser.

It accepts common deviations: a byte-order mark, NUL bytes at the end, the NaN and Infinity of Python's `json` (no JSON
by RFC 8259, section 6), and several objects one after another, as in lines of JSON, which are a list. For all else it
reports the fault and its place.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused

DEPTH_MAX = 400  # below the limit of any parser's stack, so that every process rejects the same records
INTEGER_DIGITS_MAX = 400  # longer integers exceed any double

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


Place = tuple[str | int, ...]  # of a value: the members and items that lead to it
QUOTE, _COLON, _COMMA, _BRACE = b'":,{'
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]|[^{}\[\]:," \t\r\n]+', re.DOTALL)


class Token(NamedTuple):
    """A number, text or word of a document; or the bracket that opens or closes an object or a list."""

    place: Place
    start: int
    end: int
    first: int  # byte


def parse(value: bytes) -> Any:
    """The document; raises `Refused`."""
    if not value.strip():
        raise Refused(Reason.NOT_JSON, "the value is empty")
    if is_too_deep(value):
        raise Refused(Reason.TOO_DEEP, f"the value is nested deeper than {DEPTH_MAX} levels")
    try:
        # "utf-8-sig" is a codec in Python, several times slower
        text = value.removeprefix(BOM_UTF8).rstrip(b"\0").decode()
        document = _documents(text)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOT_UTF8, f"byte {error.start} of the value is not UTF-8: {error.reason}") from None
    except UnicodeEncodeError:
        raise Refused(Reason.NOT_UTF8, "a text holds half of a surrogate pair, which UTF-8 can't encode") from None
    except json.JSONDecodeError as error:
        raise Refused(Reason.NOT_JSON, f"{error.msg} at character {error.pos} of the value") from None
    except RecursionError:
        raise Refused(Reason.TOO_DEEP, "the value is nested deeper than the parser can follow") from None
    return document


def tokens_of(value: bytes, depth_max: int) -> Iterator[Token]:
    """The values and brackets of a valid document. Raises ValueError where it is nested deeper than `depth_max`."""
    at: list[str | int] = []
    text = b""
    for found in _TOKEN.finditer(value):
        token, (start, end), first = found[0], found.span(), value[found.start()]
        if first == QUOTE and at and isinstance(at[-1], str) and not text:
            text = token  # a name
        elif first == _COLON:
            at[-1] = json.loads(text)
        elif first == _COMMA:
            text = b""
            at[-1] = at[-1] + 1 if isinstance(at[-1], int) else ""
        else:
            if first in b"}]":
                at.pop()
            yield Token(tuple(at), start, end, first)
            if len(at) > depth_max:
                raise ValueError
            if first in b"{[":
                at.append("" if first == _BRACE else 0)
                text = b""


def _documents(text: str) -> Any:
    """The document, or the list of several objects. Raises JSONDecodeError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
        extra = error
    found, at = list[Any](), 0
    while at < len(text):
        try:
            document, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError:
            raise extra from None
        if not isinstance(document, dict):
            raise extra
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
    return found


def is_too_deep(value: bytes) -> bool:
    """Whether lists and objects are nested deeper than `DEPTH_MAX`."""
    if value.count(b"[") + value.count(b"{") <= DEPTH_MAX:
        return False
    bare = np.frombuffer(_STRING.sub(b"", value), np.uint8) | 32  # brackets differ from braces in this bit alone
    return int(np.cumsum((bare == ord("{")).astype(np.int64) - (bare == ord("}"))).max(initial=0)) > DEPTH_MAX


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX else float(digits)


_DECODER = json.JSONDecoder(parse_int=_integer)  # json.loads would make one for each record
