"""What a notebook hands over, as arrays that banks take; or a sentence that says what to hand over in its place."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detectors.base import F64, I64

REFERENCE_MIN: Final = 2  # values of a reference; fewer have no distribution
TIME_MIN_MS: Final = -62_135_596_800_000  # the beginning of the year 1
TIME_MAX_MS: Final = 253_402_300_799_999  # the end of the year 9999
TEXTS_MAX: Final = 1 << 20  # distinct texts of a series of categories


def numbers(name: str, values: ArrayLike) -> F64:
    """The values as doubles. ValueError for times, and for masked values, whose mask would get lost."""
    given = np.asarray(values)
    if given.dtype.kind in "Mm":
        raise ValueError(f"{name} takes numbers, got times ({given.dtype}): pass times as time_ms")
    if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
        raise ValueError(f"{name} can't judge masked values: pass values.compressed(), and count the others")
    return np.asarray(given, np.float64)


def one_series(name: str, values: F64, what: str, otherwise: str) -> F64:
    """The values [n] of one series, also from a table [n, 1]. ValueError for several columns."""
    if values.ndim > 1 and values.shape != (len(values), 1):
        raise ValueError(
            f"{name} watches one series, got {what} of shape {values.shape}: pass one column, such as frame['x'], "
            f"{otherwise}"
        )
    return values.reshape(-1)


def milliseconds(name: str, time_ms: ArrayLike, n: int) -> I64:
    """One time or `n` times as whole numbers. ValueError for what can't be milliseconds since 1970."""
    times = np.asarray(time_ms)
    if times.dtype.kind == "M":
        raise ValueError(
            f"{name} takes time_ms in milliseconds since 1970, got {times.dtype}: pass "
            "np.asarray(times, 'datetime64[ms]').astype('int64')"
        )
    if times.dtype.kind not in "iuf" or not np.array_equal(times, np.floor(times)):
        raise ValueError(
            f"{name} takes time_ms in whole milliseconds since 1970, got {times.dtype}: pass whole numbers, of a "
            "datetime int(time.timestamp() * 1000)"
        )
    if times.size and times.max() > TIME_MAX_MS:
        raise ValueError(
            f"{name} takes time_ms in milliseconds since 1970, and {times.max()} is beyond the year 9999: divide "
            "nanoseconds by 1,000,000, and microseconds by 1,000"
        )
    if times.shape not in ((), (n,)):
        raise ValueError(f"{name} wants one time a value, or one for all; got {times.shape} of {n}")
    return np.broadcast_to(times.astype(np.int64), n)


def sample_of(name: str, reference: ArrayLike) -> F64:
    """A sample of training data for one series. ValueError for one that says nothing about the series."""
    sample = one_series(name, numbers(name, reference), "a reference", "and watch each column by its own detector")
    if not np.isfinite(sample).all():
        raise ValueError(
            f"{name} takes a reference of finite values, got {np.count_nonzero(~np.isfinite(sample)):,} NaN or "
            f"infinite of {len(sample):,}: pass reference[np.isfinite(reference)]"
        )
    if len(sample) < REFERENCE_MIN:
        raise ValueError(
            f"{name} takes a reference of {REFERENCE_MIN} values or more, got {len(sample)}: pass a sample of the "
            "column's training data, some hundreds of values"
        )
    return sample


class TextCodes:
    """The texts of a series of categories, numbered as they come, at most `TEXTS_MAX`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._numbered = False

    def __bool__(self) -> bool:
        return bool(self._codes)

    def code(self, name: str, text: str) -> float:
        """The number of a text. ValueError where the series held numbers before, or too many texts."""
        code = self._codes.get(text)
        if code is None:
            if len(self._codes) == TEXTS_MAX:
                raise ValueError(f"{name} takes {TEXTS_MAX:,} distinct texts at most: group the rare ones")
            if self._numbered:
                raise ValueError(f"{name} got the text {text!r} after numbers: pass either texts or ids throughout")
            code = self._codes[str(text)] = len(self._codes)
        return float(code)

    def require_no_texts(self, name: str) -> None:
        """ValueError where the series held texts before; from now on it holds numbers."""
        if self._codes:
            raise ValueError(f"{name} got a number after texts: pass either texts or ids throughout")
        self._numbered = True

    def codes(self, name: str, values: ArrayLike) -> ArrayLike:
        """The values, each text replaced by its number. ValueError for what is neither text nor number."""
        given: NDArray[Any] = np.asarray(values)
        if given.dtype.kind not in "OUT":
            self.require_no_texts(name)
            return values
        if given.ndim == 1 and all(isinstance(value, str) for value in given.tolist()):
            return np.array([self.code(name, text) for text in given.tolist()], np.float64)
        other = next((value for value in given.reshape(-1).tolist() if not isinstance(value, str)), None)
        raise ValueError(f"{name} got {other!r} among texts: leave missing values out, and count them")

    def text(self, code: int) -> str | int:
        """The text of a number, or the number where there were no texts."""
        return list(self._codes)[code] if 0 <= code < len(self._codes) else code
