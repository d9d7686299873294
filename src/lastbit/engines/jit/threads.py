"""Threads that share the rows of one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["together"]

_POOLS: dict[int, ThreadPoolExecutor] = {}

if hasattr(os, "register_at_fork"):
    # A child of os.fork has none of its parent's threads: it makes its own when it needs them.
    os.register_at_fork(after_in_child=_POOLS.clear)


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work; the caller does a part itself."""
    if threads not in _POOLS:
        _POOLS[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="lastbit")
    return _POOLS[threads]


def together(work: Callable[[], int], threads: int) -> int:
    """Call `work` in so many threads at once, this one among them; the largest of the results."""
    others = [_pool(threads).submit(work) for _ in range(threads - 1)]
    return max([work(), *(future.result() for future in others)])
