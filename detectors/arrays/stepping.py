"""One value of one series at a time, at the cost of one call.

A kernel that takes arrays pays for each of them at every call: numba looks at the type of each argument. That is ten
times the work of one value. So a step takes three numbers: the address of a block of words, the value and its time. The
block holds the addresses of all arrays that the kernel of the batch wants, with vectors of one entry for the value, and
the step calls that same kernel. Its results are therefore those of a batch of one value, bit for bit.

An address is valid for as long as its array lives, so a `Stepper` keeps the arrays, and is never copied or saved: its
owner makes another for a copy of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Protocol, TypeGuard, cast

import numba
import numpy as np
from numba import types
from numba.core import config
from numba.extending import intrinsic
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.base import Alarms, Bank

# What a step returns.
QUIET: Final = 0  # the value was taken, and nothing has to be done
STOPPED: Final = 1  # the value was taken, and `finish_step` does what it calls for
REFUSED: Final = 2  # the value was not taken: the detector can't judge it

Step = Callable[[int, float, int], int]  # address of the block, value, event time in ms


class Stepper:
    """A step of row 0 of a bank, with the block of its arrays. It is bound to memory, so it can't be copied."""

    __slots__ = ("_block", "_held", "address", "step")

    def __init__(self, step: Step, parts: Sequence[NDArray[Any] | int]) -> None:
        self._held = [part for part in parts if isinstance(part, np.ndarray)]
        if not all(part.flags.c_contiguous for part in self._held):
            raise ValueError("a step takes contiguous arrays only")
        self.step = entry_point(step)
        words = [part.ctypes.data if isinstance(part, np.ndarray) else int(part) for part in parts]
        self._block: I64 = np.array(words, np.int64)
        self.address = int(self._block.ctypes.data)

    def __reduce__(self) -> Any:
        raise TypeError("a Stepper holds addresses of memory and can't be copied or saved: make another")


class SteppedBank(Bank, Protocol):
    """A bank whose row 0 can take values one at a time."""

    def stepper(self) -> Stepper:
        """A step of row 0; it is valid until the bank grows or loads a state."""
        ...

    def finish_step(self, value: float, time_ms: int) -> Alarms:
        """Do what this value, at which the step stopped, calls for; its alarm, if it raised one, with `at` 0."""
        ...


@cache
def entry_point(step: Step) -> Step:
    """The compiled function of a step without numba's search for a signature, which takes as long as the step."""
    signature = (types.int64, types.float64, types.int64)
    dispatcher = cast(Any, step)
    dispatcher.compile(signature)
    return cast(Step, dispatcher.overloads[signature].entry_point)


def has_steps(bank: Bank) -> TypeGuard[SteppedBank]:
    """Whether the bank is a `SteppedBank`, and kernels are compiled."""
    return hasattr(bank, "stepper") and not cast(Any, config).DISABLE_JIT


def _pointer(_typing_context: Any, address: Any) -> Any:  # noqa: ARG001 -- its name and number are the signature
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), generate


# The memory at an address, for `carray(pointer(address), shape, type)` within a kernel.
carray: Callable[..., NDArray[Any]] = cast(Any, numba).carray
pointer: Callable[[int], Any] = cast(Any, intrinsic(_pointer))
