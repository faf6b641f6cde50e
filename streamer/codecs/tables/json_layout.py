"""The kernel that reads JSON records of one layout: it compares the bytes between values and reads the values.

Of a record with several events, it reads those of each row. What a layout is says `layout_learning.py`.

Numbers are read exactly: up to 2^53 by one multiplication or division (W. Clinger, 1990), others by a product of 128
bits (D. Lemire, "Number Parsing at a Gigabyte per Second", 2021). Those that neither decides do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import F64, I64, U8, U64

TEXT_BYTES_MAX: Final = 256

PLAIN, NULLABLE, DIGITS, TEXT = 0, 1, 2, 3  # kinds of values: numbers, those or null or booleans, ids, texts
MODEL, VERSION, JOIN, TIME, LABEL, CATEGORY = 0, 1, 2, 3, 4, 5  # places of texts; categories follow
UNREAD: Final = -1  # the place of a value that no field reads
NULL, TRUE, FALS = (int.from_bytes(word, "big") for word in (b"null", b"true", b"fals"))
POWER_MAX: Final = 60  # of ten, of a number that is read


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
    power, whole = 0, at
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
    if used > 19 or power < -POWER_MAX or power > POWER_MAX or (used == 0 and is_negative and at == whole):
        return -1, 0.0  # also -0, which is 0 as an integer
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
    """Where a text of 1 to `TEXT_BYTES_MAX` bytes ends that every parser takes; -1: it is another."""
    first = at
    while at < end and data[at] != np.uint8(34):
        if data[at] >= np.uint8(128):
            at = _rune_end(data, at, end)
        elif data[at] == np.uint8(92):
            at = _escape_end(data, at, end)
        elif data[at] < np.uint8(32):
            at = -1
        else:
            at += 1
        if at < 0:
            return -1
    return at if first < at < end and at - first <= TEXT_BYTES_MAX else -1


@lean_kernel
def _rune_end(data: U8, at: int, end: int) -> int:
    """Where a character of 2 to 4 bytes of UTF-8 ends; -1: it is none (RFC 3629)."""
    lead = np.int64(data[at])
    size = 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if 0xF0 <= lead < 0xF5 else 0
    if size == 0 or at + size > end:
        return -1
    second = np.int64(data[at + 1])
    low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    if second < low or second > high:
        return -1
    for k in range(2, size):
        if data[at + k] < np.uint8(0x80) or data[at + k] > np.uint8(0xBF):
            return -1
    return at + size


@lean_kernel
def _escape_end(data: U8, at: int, end: int) -> int:
    r"""Where an escape such as \n or \u00e9 ends; -1: it is none, or half of a surrogate pair."""
    kind = np.int64(data[at + 1]) if at + 1 < end else 0
    if kind in (34, 47, 92, 98, 102, 110, 114, 116):  # "/\bfnrt
        return at + 2
    if kind != 117 or at + 6 > end:
        return -1
    code = np.int64(0)
    for k in range(2, 6):
        digit = np.int64(data[at + k])
        letter = digit | 32
        if 48 <= digit <= 57:
            code = code * 16 + digit - 48
        elif 97 <= letter <= 102:
            code = code * 16 + letter - 87
        else:
            return -1
    return -1 if 0xD800 <= code < 0xE000 else at + 6


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
def _behind(data: U8, at: int, end: int, literal: U8, first: int, last: int) -> int:
    """Where the bytes from `first` to `last` of the literals end in the data; -1: they are not there."""
    size = last - first
    same = at >= 0 and at + size <= end
    k = 0
    while same and k + 8 <= size:
        same = word_at(data.ctypes.data + at + k) == word_at(literal.ctypes.data + first + k)
        k += 8
    while same and k < size:
        same = data[at + k] == literal[first + k]
        k += 1
    return at + size if same else -1


@lean_kernel
def read_records(
    data: U8, spans: I64, literal: U8, edges: I64, kind: NDArray[np.int8], place: I64, first: int, last: int,
    fives: U64, tens: F64, word: U64, real: F64, numbers: F64, texts: I64, width: I64,
) -> None:  # fmt: skip
    """Read records [n] at their spans [n, 2] to numbers [events, ...] and spans of texts [events, ..., 2].

    `width` [n] becomes their numbers of events. `word` and `real` are one number as bits and as a double.
    """
    row, n = 0, len(kind)
    for i in range(len(spans)):
        at, end, began, v = spans[i, 0], spans[i, 1], row, 0
        while True:
            behind = -1
            if v == last:
                behind = _behind(data, at, end, literal, edges[n + 1], edges[n + 2])
            if behind >= 0:
                v, row = first, row + 1
            else:
                behind = _behind(data, at, end, literal, edges[v], edges[v + 1])
            at = behind
            if at < 0 or v == n:
                break
            start, value = at, 0.0
            if kind[v] == TEXT:
                at = _text_end(data, at, end)
            elif kind[v] == DIGITS:
                at, _, used = _digits(data, at, end, np.uint64(0), 0)
                at = at if start < at and used <= 18 and (at == start + 1 or data[start] != np.uint8(48)) else -1
            elif kind[v] == NULLABLE and at < end and data[at] >= np.uint8(97):
                at, value = _word(data, at, end)
            else:
                at, value = _number(data, at, end, fives, tens, word, real)
            to = row if first <= v < last else began
            if place[v] >= 0 and kind[v] >= DIGITS:
                texts[to, place[v], 0], texts[to, place[v], 1] = start, at
            elif place[v] >= 0:
                numbers[to, place[v]] = value
            v += 1
        if at == end and at >= 0:
            row = _shared(began, row, kind, place, first, last, numbers, texts)
            width[i] = row - began
        else:
            row = began


@lean_kernel
def _shared(
    began: int, row: int, kind: NDArray[np.int8], place: I64, first: int, last: int, numbers: F64, texts: I64
) -> int:
    """Copy what the rows of a record share from its first one; gives the row behind its last one."""
    for v in range(len(kind) if row > began else 0):
        if place[v] < 0 or first <= v < last:
            continue
        for to in range(began + 1, row + 1):
            if kind[v] >= DIGITS:
                texts[to, place[v], 0], texts[to, place[v], 1] = texts[began, place[v], 0], texts[began, place[v], 1]
            else:
                numbers[to, place[v]] = numbers[began, place[v]]
    return row + 1
