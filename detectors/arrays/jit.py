"""Compilation of kernels: to machine code at first use, cached on disk, without the interpreter's lock.

A compiled kernel includes the kernels that it calls and the constants that it reads, from any file of its package.
numba invalidates its cache only when the kernel's own file changes. So an upgraded machine could run half of the old
version, and its results would differ from those of a fresh one. Here the contents of all sources of the package decide.
Kernels check no index: banks check their input before a kernel sees it.
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
    """The same, without reference counts, for a kernel that allocates nothing and returns numbers only.

    Counting takes two atomic instructions for each array and call, more than the arithmetic of a small kernel: ADWIN
    takes less than half the time without. The caller owns the arrays and outlives the call.
    """
    return _compiled(function, _nrt=False)


def step_kernel(function: Function) -> Function:
    """The same as `kernel`, with the interpreter's lock: for one value, handing it back and forth takes longer."""
    return _compiled(function, nogil=False)


def _compiled(function: Function, **options: Any) -> Function:
    dispatcher: Any = numba.njit(**{"cache": True, "nogil": True, "error_model": "numpy", **options})(function)
    if hasattr(dispatcher, "_cache"):  # not where NUMBA_DISABLE_JIT is set
        # numba compares the version before it reads the rest, which names classes that a new release may lack.
        dispatcher._cache._cache_file._version += " " + _stamp(function.__module__.partition(".")[0])
    return cast(Function, dispatcher)


@cache
def _stamp(package: str) -> str:
    """A digest of all sources of a package; a script has none."""
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


# Prefetches the cache line at an address (`array.ctypes.data` plus bytes). With 100,000 series every row is a cache
# miss; a prefetch some values ahead of the use hides most of the wait. It changes no result, and any address is safe.
prefetch: Callable[[int], None] = cast(Any, intrinsic(_prefetch))
