"""A fast way from JSON records of one layout to columns, without an object for each record.

Producers send one shape over and over: the same members in the same order, with the same bytes between their values. A
layout is learnt from one record. A kernel then compares the bytes between values and reads the values. A record that
does not fit is decoded the plain way, by the codec, and so is a stretch that brings new names or any fault. So the
batch is the same, bit for bit; `test_json_layout.py` holds both ways against each other.

Numbers are read exactly: up to 2^53 by one multiplication or division (W. Clinger, 1990), others by a product of 128
bits (D. Lemire, "Number Parsing at a Gigabyte per Second", 2021). Those that neither decides do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import F64, I64, U8, U64, Bools
from streamer.codecs.json_lenient import plain_values
from streamer.codecs.values import TAKEN

TEXT_BYTES_MAX: Final = 256

PLAIN, NULLABLE, DIGITS, TEXT = 0, 1, 2, 3  # kinds of values: numbers, those or null or booleans, ids, texts
MODEL, VERSION, JOIN, TIME, CATEGORY = 0, 1, 2, 3, 4  # places of texts; categories follow
IDS: Final = {"model_id": MODEL, "model_version": VERSION, "prediction_id": JOIN}
UNREAD: Final = -1  # the place of a value that no field reads
NULL, TRUE, FALS = (int.from_bytes(word, "big") for word in (b"null", b"true", b"fals"))
POWER_MAX: Final = 60  # of ten, of a number that is read


@dataclass(frozen=True, slots=True)
class Layout:
    """The values of a record in order, and the bytes around them."""

    literal: U8  # the bytes before each value, and behind the last
    edges: I64  # [values + 2] of these in `literal`
    kind: NDArray[np.int8]  # [values]
    place: I64  # [values] among the numbers (columns, label, time) or the texts of a record
    columns: tuple[str, ...]  # names, in order; the prediction goes first
    categories: tuple[int, ...]  # the columns that are texts
    has: frozenset[str]  # the members of an event
    has_text_time: bool

    def read(self, data: U8, spans: I64) -> tuple[Bools, F64, I64]:
        """Read records [n] at their spans [n, 2] in `data`; those that start at -1 fit nothing.

        Returns which ones fit, and of these the numbers [n, columns + 2] and the spans of the texts [n, texts, 2].
        """
        numbers = np.full((len(spans), len(self.columns) + 2), np.nan)
        texts = np.zeros((len(spans), CATEGORY + len(self.categories), 2), np.int64)
        word, fits = np.zeros(1, np.uint64), np.zeros(len(spans), np.bool_)
        parts = (self.literal, self.edges, self.kind, self.place, FIVES, TENS, word, word.view(np.float64))
        read_records(data, spans, *parts, numbers, texts, fits)
        return fits, numbers, texts


def learn(value: bytes) -> Layout | None:
    """The layout of a record; None if it is no event of plain values with a model, a time and something to watch."""
    found = plain_values(value)
    if found is None:
        return None
    names, tokens, literals = found
    has = frozenset(name for name, of_feature in names if not of_feature)
    features = [name for name, of_feature in names if of_feature]
    is_watched = features or "prediction" in has
    if len(set(names)) < len(names) or not {"model_id", "event_time"} <= has or not is_watched:
        return None
    if "source" in has or "features" in has or ("label" in has and "prediction_id" not in has):
        return None
    columns = ["prediction"] * ("prediction" in has) + [TAKEN.get(name, name) for name in features]
    first, categories = len(columns) - len(features), list[int]()
    kinds, places = [], []
    for (name, of_feature), token in zip(names, tokens, strict=True):
        is_text, is_number = token[:1] == b'"', token[:1] in b"-0123456789"
        kind, place = TEXT if is_text else PLAIN, UNREAD
        if of_feature:
            place = first + features.index(name)
            if is_text:
                categories.append(place)
                place = CATEGORY + len(categories) - 1
            kind = TEXT if is_text else NULLABLE
        elif name in IDS:
            kind, place = TEXT if is_text else DIGITS, IDS[name]
        elif name in ("event_time", "prediction", "label"):
            place = {"prediction": 0, "label": len(columns), "event_time": len(columns) + 1}[name]
            place = TIME if is_text else place
        if not of_feature and not is_number and not (is_text and name not in ("prediction", "label")):
            return None
        kinds.append(kind)
        places.append(place)
    edges = np.cumsum([0, *map(len, literals)])
    literal = np.frombuffer(b"".join(literals), np.uint8)
    kind_of, place_of = np.array(kinds, np.int8), np.array(places, np.int64)
    is_text = bool(((kind_of == TEXT) & (place_of == TIME)).any())
    return Layout(literal, edges, kind_of, place_of, tuple(columns), tuple(categories), has, is_text)


def compile_layouts() -> None:
    """Compile what reading calls, or load it from numba's cache."""
    value = b'{"model_id":"m","event_time":1,"prediction":1}'
    if (layout := learn(value)) is not None:
        layout.read(np.frombuffer(value, np.uint8), np.array([[0, len(value)]]))


def _powers() -> U64:
    """The first 128 bits of 5 to the powers from -POWER_MAX to POWER_MAX, as high and low halves."""
    table = np.zeros((2 * POWER_MAX + 1, 2), np.uint64)
    for power in range(-POWER_MAX, POWER_MAX + 1):
        five = 5 ** abs(power)
        if power >= 0:
            bits = five << 128 >> five.bit_length()
        else:
            z = (five - 1).bit_length()
            bits = (1 << (z + 127 if power >= -27 else 2 * z + 128)) // five + 1
            bits >>= max(bits.bit_length() - 128, 0)
        table[power + POWER_MAX] = bits >> 64, bits & (2**64 - 1)
    return table


FIVES: Final = _powers()
TENS: Final = np.array([float(f"1e{power}") for power in range(23)])


@lean_kernel
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The high and the low half of a product."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = a >> half, a & mask, b >> half, b & mask
    low, mid, other, high = a0 * b0, a1 * b0, a0 * b1, a1 * b1
    carry = (low >> half) + (mid & mask) + (other & mask)
    return high + (mid >> half) + (other >> half) + (carry >> half), a * b


@lean_kernel
def double_bits(w: np.uint64, power: int, fives: U64) -> np.uint64:
    """The bits of the double nearest to w (not 0) times 10 to `power`; 0 where it is not decided."""
    one = np.uint64(1)
    zeros = 0
    while w >> np.uint64(63) == np.uint64(0):
        w <<= one
        zeros += 1
    high, low = _product(w, fives[power + POWER_MAX, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = _product(w, fives[power + POWER_MAX, 1])
        low += more
        if low < more:
            high += one
    if low == np.uint64(0xFFFFFFFFFFFFFFFF):
        return np.uint64(0)
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(9)
    mantissa = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if exponent <= 0 or exponent >= 2046:
        return np.uint64(0)
    if low <= one and -4 <= power <= 23 and mantissa & np.uint64(3) == one and (mantissa << shift) == high:
        mantissa &= ~one
    mantissa = (mantissa + (mantissa & one)) >> one
    if mantissa >> np.uint64(53) != np.uint64(0):
        mantissa = one << np.uint64(52)
        exponent += 1
    return (mantissa & ((one << np.uint64(52)) - one)) | (np.uint64(exponent) << np.uint64(52))


def _word_at(_typing_context: Any, address: Any) -> Any:  # noqa: ARG001 -- its name and number are the signature
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        loaded = builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(types.intp), generate


# The 8 bytes at an address (`array.ctypes.data` plus bytes), the first as the lowest. They must belong to the array.
word_at: Callable[[int], np.uint64] = cast(Any, intrinsic(_word_at))


@lean_kernel
def _are_digits(word: np.uint64) -> bool:
    """Whether the 8 bytes of a word are digits."""
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    above = ((word + np.uint64(0x0606060606060606)) & high) >> np.uint64(4)
    same: bool = ((word & high) | above) == np.uint64(0x3333333333333333)
    return same


@lean_kernel
def _eight_digits(word: np.uint64) -> np.uint64:
    """The number that 8 digits are, by pairs, fours and all."""
    word = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(10 * 256 + 1) >> np.uint64(8)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 65_536 + 1) >> np.uint64(16)
    return (word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10_000 * 2**32 + 1) >> np.uint64(32)


@lean_kernel
def _digits(data: U8, at: int, end: int, w: np.uint64, used: int) -> tuple[int, np.uint64, int]:
    """Where a run of digits ends, the number with them, and its significant digits."""
    while at < end and np.uint8(48) <= data[at] <= np.uint8(57):
        if used > 0 and at + 8 <= end:
            word = word_at(data.ctypes.data + at)
            if _are_digits(word):
                w, used, at = w * np.uint64(100_000_000) + _eight_digits(word), used + 8, at + 8
                continue
        w = w * np.uint64(10) + np.uint64(data[at] - np.uint8(48))
        used += 1 if used > 0 or data[at] != np.uint8(48) else 0
        at += 1
    return at, w, used


@lean_kernel
def _number(data: U8, at: int, end: int, fives: U64, tens: F64, word: U64, real: F64) -> tuple[int, float]:
    """Where a number ends, and the nearest double; -1 where it is none, or not decided."""
    is_negative = at < end and data[at] == np.uint8(45)
    first = at + is_negative
    at, w, used = _digits(data, first, end, np.uint64(0), 0)
    if at == first or (at > first + 1 and data[first] == np.uint8(48)):
        return -1, 0.0
    power = 0
    if at < end and data[at] == np.uint8(46):
        point = at + 1
        at, w, used = _digits(data, point, end, w, used)
        power = point - at
        if power == 0:
            return -1, 0.0
    if at < end and (data[at] | np.uint8(32)) == np.uint8(101):
        at += 1
        sign = -1 if at < end and data[at] == np.uint8(45) else 1
        at += 1 if at < end and (data[at] == np.uint8(45) or data[at] == np.uint8(43)) else 0
        behind, exponent, _ = _digits(data, at, end, np.uint64(0), 0)
        if behind == at or behind - at > 4:
            return -1, 0.0
        power += sign * int(exponent)
        at = behind
    if used > 19 or power < -POWER_MAX or power > POWER_MAX or (used == 0 and is_negative):
        return -1, 0.0
    value = 0.0
    if used and w <= np.uint64(1 << 53) and -22 <= power <= 22:
        value = np.float64(w) / tens[-power] if power < 0 else np.float64(w) * tens[power]
    elif used:
        word[0] = double_bits(w, power, fives)
        value = real[0]
        if value == 0.0:
            return -1, 0.0
    return at, -value if is_negative else value


@lean_kernel
def _text_end(data: U8, at: int, end: int) -> int:
    """Where a text of 1 to `TEXT_BYTES_MAX` plain ASCII characters ends; -1: it is another."""
    first = at
    while at < end and data[at] != np.uint8(34):
        if data[at] < np.uint8(32) or data[at] >= np.uint8(127) or data[at] == np.uint8(92):
            return -1
        at += 1
    return at if first < at < end and at - first <= TEXT_BYTES_MAX else -1


@lean_kernel
def _word(data: U8, at: int, end: int) -> tuple[int, float]:
    """Where `null`, `true` or `false` ends, and its number; -1: it is another word."""
    packed = np.int64(0)
    for k in range(4 if at + 4 <= end else 0):
        packed = packed << 8 | np.int64(data[at + k])
    if packed in (NULL, TRUE):
        return at + 4, np.nan if packed == NULL else 1.0
    is_false = packed == FALS and at + 5 <= end and data[at + 4] == np.uint8(101)
    return (at + 5, 0.0) if is_false else (-1, 0.0)


@lean_kernel
def read_records(
    data: U8, spans: I64, literal: U8, edges: I64, kind: NDArray[np.int8], place: I64, fives: U64, tens: F64,
    word: U64, real: F64, numbers: F64, texts: I64, fits: Bools,
) -> None:  # fmt: skip
    """Read records [n] at their spans [n, 2] to numbers [n, ...] and spans of texts [n, ..., 2]; note those that fit.

    `word` and `real` are one number as bits and as a double.
    """
    for i in range(len(spans)):
        at, end = spans[i, 0], spans[i, 1]
        for v in range(len(kind) + 1):
            size = edges[v + 1] - edges[v]
            same = at >= 0 and at + size <= end
            k = 0
            while same and k + 8 <= size:
                same = word_at(data.ctypes.data + at + k) == word_at(literal.ctypes.data + edges[v] + k)
                k += 8
            while same and k < size:
                same = data[at + k] == literal[edges[v] + k]
                k += 1
            at = at + size if same else -1
            if at < 0 or v == len(kind):
                break
            first, value = at, 0.0
            if kind[v] == TEXT:
                at = _text_end(data, at, end)
            elif kind[v] == DIGITS:
                at, _, used = _digits(data, at, end, np.uint64(0), 0)
                at = at if first < at and used <= 18 and (at == first + 1 or data[first] != np.uint8(48)) else -1
            elif kind[v] == NULLABLE and at < end and data[at] >= np.uint8(97):
                at, value = _word(data, at, end)
            else:
                at, value = _number(data, at, end, fives, tens, word, real)
            if place[v] >= 0 and kind[v] >= DIGITS:
                texts[i, place[v], 0], texts[i, place[v], 1] = first, at
            elif place[v] >= 0:
                numbers[i, place[v]] = value
        fits[i] = at == end and at >= 0
