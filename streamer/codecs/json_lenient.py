"""A lenient JSON parser with explanations, slower than the fast parser.

It accepts common deviations: a byte-order mark, NUL bytes at the end, the NaN and Infinity of Python's `json` (no JSON
by RFC 8259, section 6), and several objects one after another, as in lines of JSON, which are a list. For all else it
reports the fault and its place.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any

import msgspec
import numpy as np

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused

DEPTH_MAX = 400  # below the limit of any parser's stack, so that every process rejects the same records
INTEGER_DIGITS_MAX = 400  # longer integers exceed any double

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_TOKEN = re.compile(
    rb'"(?:[^"\\\x00-\x1f\x80-\xff])*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|[{}:,]'
)
_SPACE = re.compile(rb"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


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


def plain_values(value: bytes) -> tuple[list[tuple[str, bool]], list[bytes], list[bytes]] | None:
    """The values of an object of plain values, also in `features`: names, and whether of a feature; tokens; literals.

    A literal is what precedes a value, with the quote of a text; the last one follows the last value. None for all
    else, and where a text has an escape or other characters than ASCII.
    """
    try:
        msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None
    names, tokens, literals = list[tuple[str, bool]](), list[bytes](), list[bytes]()
    depth, key, since, at = 0, "", 0, _SPACE.match(value).end()  # type: ignore[union-attr]
    while at < len(value):
        match = _TOKEN.match(value, at)
        if match is None:
            return None  # a list, or a text with an escape or other than ASCII
        token, end = match[0], _SPACE.match(value, match.end()).end()  # type: ignore[union-attr]
        if token == b"{":
            depth += 1
            if depth > 2 or (depth == 2 and key != "features"):
                return None
        elif token == b"}":
            depth -= 1
        elif token[:1] == b'"' and value[end : end + 1] == b":":
            key = token[1:-1].decode()
        elif token not in b":,":
            if not depth:
                return None
            is_text = token[:1] == b'"'
            names.append((key, depth == 2))
            tokens.append(token)
            literals.append(value[since : at + is_text])
            since = match.end() - is_text
        at = end
    literals.append(value[since:])
    return names, tokens, literals


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
