"""How kernels are compiled: to machine code at first use, cached on disk, without the interpreter's lock.

A kernel has the kernels it calls and the constants it reads built in, from whatever file of its package. numba itself
renews what it has cached only when the kernel's own file is another, so a machine that was upgraded could go on with
half of the old version, and give other results than one that was not. Here all sources of the package count, by what
they say. No index is checked: banks check what they are given before a kernel sees it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` with numba; division by zero gives inf or NaN as in numpy, never an exception."""
    return _compiled(function)


def lean_kernel(function: Function) -> Function:
    """The same for a kernel that allocates nothing and returns numbers only: it counts no references to arrays.

    Counting takes two atomic instructions for each array and call, more time than the arithmetic of a small kernel
    (ADWIN takes less than half the time without). Arrays belong to the caller, who outlives the call.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Function, **options: Any) -> Function:
    dispatcher: Any = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    if hasattr(dispatcher, "_cache"):  # not where NUMBA_DISABLE_JIT is set
        # numba compares the version before it reads the rest, which names classes that a new release may lack.
        dispatcher._cache._cache_file._version += " " + _stamp(function.__module__.partition(".")[0])
    return cast(Function, dispatcher)


@cache
def _stamp(package: str) -> str:
    """A digest of all sources of a package; of a script, of nothing, as it has none."""
    digest = blake2b(digest_size=16)
    for folder in getattr(sys.modules[package], "__path__", ()):
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


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
