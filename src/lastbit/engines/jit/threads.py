"""Threads that share the work of one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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


def together(works: Sequence[Callable[[], int]]) -> int:
    """Call each in a thread of its own, the first one in this; the largest of the results."""
    first, *rest = works
    others = [_pool(len(works)).submit(work) for work in rest]
    return max([first(), *(future.result() for future in others)])
