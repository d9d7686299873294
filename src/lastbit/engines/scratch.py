"""Memory for what lies between two steps of a call: used again by every block and call, and laid out at cache lines.

NumPy takes up to twice as long over arrays whose vectors lie across two cache lines, as those of the allocator do.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..model.types import Array

__all__ = ["Scratch", "ScratchPool", "line_aligned"]

_LINE = 64


class Scratch:
    """Arrays by name. One call has it at a time, so several threads never share any."""

    def __init__(self) -> None:
        self._memory: dict[str, Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array of any content; it is that of the same name before, so far as that is large enough."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        memory = self._memory.get(name)
        if memory is None or memory.nbytes < size:
            memory = self._memory[name] = _aligned(size)
        return memory[:size].view(kind).reshape(shape)


class ScratchPool:
    """Memory that no call has just now.

    What the system gives instead is cleared page by page, which takes as long as some convolutions.
    """

    def __init__(self) -> None:
        self._idle: list[Scratch] = []

    @contextlib.contextmanager
    def lent(self) -> Iterator[Scratch]:
        """One that nobody else has until the end of the block."""
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = Scratch()
        try:
            yield scratch
        finally:
            self._idle.append(scratch)


def line_aligned(values: Array) -> Array:
    """A copy that begins at a cache line."""
    copied = _aligned(values.nbytes).view(values.dtype).reshape(values.shape)
    copied[...] = values
    return copied


def _aligned(size: int) -> Array:
    memory = np.empty(size + _LINE, np.uint8)
    start = -int(memory.__array_interface__["data"][0]) % _LINE
    return memory[start : start + size]
