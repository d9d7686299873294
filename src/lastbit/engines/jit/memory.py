"""Memory of the compiled engine: addresses, cache lines, and large outputs that are used again."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array

__all__ = ["Outputs", "address", "aligned", "line_aligned"]

# Smaller arrays are used again by the allocator itself; larger ones are not kept.
_LEAST_KEPT, _MOST_KEPT = 1 << 18, 1 << 26


def address(array: Array) -> int:
    """Where an array's memory begins."""
    found: int = array.__array_interface__["data"][0]
    return found


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Memory that begins at a cache line, with one line to spare behind it."""
    memory = np.empty(size + 128, np.uint8)
    start = -address(memory) % 64
    return memory[start : start + size + 64]


def line_aligned(values: Array) -> Array:
    """A copy that begins at a cache line."""
    memory = aligned(values.nbytes)[: values.nbytes].view(values.dtype).reshape(values.shape)
    memory[...] = values
    return memory


def _popped(kept: list[Array]) -> tuple[Array, int]:
    """The last array of a list, and how many references to it are counted here."""
    array = kept.pop()
    return array, sys.getrefcount(array)


_ALONE = _popped([np.empty(1, np.uint8)])[1]
# Without Python's global lock the count says nothing.
_COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)()


class Outputs:
    """Arrays for outputs. Large ones lie in memory of an earlier one that nobody holds any more.

    The system zeroes every page of fresh memory, which takes a sixth of the time of a model whose outputs are as large
    as its inputs, and is hardly faster with several threads.
    """

    def __init__(self) -> None:
        self._kept: list[Array] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of any content. Calls may come from several threads at once."""
        size = math.prod(shape) * dtype.itemsize
        if not _LEAST_KEPT <= size <= _MOST_KEPT or not _COUNTED:
            return np.empty(shape, dtype)
        memory = self._memory(size)
        # Whoever holds the result, or a part of it, holds the memory.
        return np.ndarray(shape, dtype, memory)

    def _memory(self, size: int) -> Array:
        memory = None
        # Lists give and take in one step, so two threads never get the same memory.
        try:
            memory, count = _popped(self._kept)
            if count != _ALONE or not size <= memory.nbytes <= 2 * size:
                memory = None
        except IndexError:
            pass
        if memory is None:
            memory = np.empty(size, np.uint8)
        self._kept.append(memory)
        return memory
