"""Timing by turns: every contender once in each round, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from ...model.types import Array

__all__ = ["by_turns", "machine_peak"]

# A turn calls often enough to take so long.
_TURN_SECONDS = 0.002
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 400


def by_turns(
    calls: Sequence[Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """The median time of one call, for each function, in seconds.

    Args:
        calls: the functions; each is called twice before anything counts.
        seconds: about how long all of it may take; three rounds are run in any case.
        clock: what times a call. `time.thread_time` counts this thread's processor time: other work on the machine then
            counts only as far as it slows the processor down.
    """
    repeats = []
    for call in calls:
        call()
        began = time.perf_counter()
        call()
        once = time.perf_counter() - began
        repeats.append(max(int(_TURN_SECONDS / max(once, 1e-7)), 1))
    times: list[list[float]] = [[] for _ in calls]
    until = time.perf_counter() + seconds
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and time.perf_counter() > until:
            break
        for call, count, found in zip(calls, repeats, times, strict=True):
            began = clock()
            for _ in range(count):
                call()
            found.append((clock() - began) / count)
    return [statistics.median(found) for found in times]


def machine_peak(seconds: float = 0.15) -> float | None:
    """Additions and multiplications per second of this CPU's dot product instruction, on one core.

    Returns:
        None without Numba.
    """
    from ...engines.jit.matmul import available

    if not available():
        return None
    from ...engines.jit.peak import operations, spin

    # Aligned: a vector that crosses two cache lines takes twice as long.
    room = np.ones(256 + 8, np.int64)
    skipped = -room.ctypes.data % 64 // 8
    state: Array = room[skipped : skipped + 256]
    rounds = 100_000
    spin(state, rounds)
    best = 0.0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        spin(state, rounds)
        best = max(best, rounds * operations() / (time.perf_counter() - began))
    return best
