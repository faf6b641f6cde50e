"""Memory of the process: how often cycles are collected, and how freed memory goes back to the system.

The state of the folds holds no cycles, so reference counts free it. But a full collection visits all of the state. By
Python's default threshold, 700 new objects, collections take a third of the time in which the decide fold makes
requests.

The Kafka client leaves cycles, tracebacks in its futures, that hold fetched records. They are few, so by that threshold
they would stay for ten minutes and more. glibc keeps what was freed, in a heap for each of several threads, and Arrow
does likewise. A worker whose state does not grow would look as if it leaked.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

OBJECTS: Final = 50_000  # new objects until the next collection, and so the most that may be garbage in cycles
M_ARENA_MAX: Final = -8  # in glibc's malloc.h


def collect_cycles_less_often() -> None:
    """Set the threshold of this process."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


def share_one_heap() -> None:
    """Let all threads that begin from now on allocate from one heap: they allocate little, and a heap each is waste.

    Without effect where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)


def give_memory_back() -> None:
    """Collect young cycles and return freed memory to the system; what glibc keeps, only where the C library is glibc.

    Takes milliseconds, however large the state: objects that have survived two collections are not visited.
    """
    import pyarrow as pa

    gc.collect(1)
    pa.default_memory_pool().release_unused()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
