"""How kernels are compiled: to machine code at first use, cached on disk, without the interpreter's lock.

Two things a kernel's author should know. The cache is renewed when the kernel's own file changes, not when a file it
imports from does, so kernels call kernels of their own file only (and `prefetch`, which is finished). Constants from
other files are frozen into it too: who changes one clears `__pycache__`. And no index is checked: banks check what they
are given before a kernel sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` with numba; division by zero gives inf or NaN as in numpy, never an exception."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def lean_kernel(function: Function) -> Function:
    """The same for a kernel that allocates nothing and returns numbers only: it counts no references to arrays.

    Counting takes two atomic instructions for each array and call, more time than the arithmetic of a small kernel
    (ADWIN takes less than half the time without). Arrays belong to the caller, who outlives the call.
    """
    options: Any = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}  # numba's stubs lack the last
    return cast(Function, numba.njit(**options)(function))


def _prefetch(_typing_context: Any, address: Any) -> Any:  # noqa: ARG001 -- its name and number are the signature
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], shape)
        for_writing, keep_close, data_cache = word(1), word(3), word(1)
        builder.call(instruction, [pointer, for_writing, keep_close, data_cache])
        return context.get_dummy_value()

    return types.void(types.intp), generate


# Ask for the cache line at an address (`array.ctypes.data` plus bytes) some values ahead of its use: with 100,000
# series every row is a cache miss, and this hides most of the wait. It changes no result; an address of nothing does no
# harm.
prefetch: Callable[[int], None] = cast(Any, intrinsic(_prefetch))
