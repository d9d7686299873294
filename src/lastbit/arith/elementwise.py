"""Two arrays into one, element by element: how fast kernels loop over shapes that broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["InnerLoop", "inner_loop"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class InnerLoop:
    """The innermost loop of LiteRT's fast kernels with two inputs.

    Attributes:
        length: outputs that one run of it makes; 0 where the shapes need the general, scalar kernel.
        scalar: whether one of the inputs is one single element in it.
    """

    length: int
    scalar: bool = False

    def in_vector(self, size: int, lanes: int) -> BoolArray:
        """Which of `size` outputs in flat order a vector loop takes: whole groups of `lanes` in each run.

        >>> InnerLoop(3).in_vector(6, 2).tolist()
        [True, True, False, True, True, False]
        """
        if not self.length:
            return np.zeros(size, np.bool_)
        taken: BoolArray = np.arange(size) % self.length < self.length - self.length % lanes
        return taken


def inner_loop(first: Sequence[int], second: Sequence[int]) -> InnerLoop:
    """The innermost loop for inputs of these two shapes.

    The loops are five deep: equal dimensions, then those in which one input is repeated, and so on. The inner one is
    over the trailing equal dimensions, or over those in which an input is one single element.

    >>> inner_loop((2, 3, 8), (2, 3, 8)), inner_loop((2, 3, 8), (8,))
    (InnerLoop(length=48, scalar=False), InnerLoop(length=8, scalar=False))
    >>> inner_loop((2, 3, 8), (1,)), inner_loop((2, 1, 8), (1, 3, 1))
    (InnerLoop(length=48, scalar=True), InnerLoop(length=0, scalar=False))

    Source: google-ai-edge/LiteRT, tflite/kernels/internal/reference/process_broadcast_shapes.h and
    tflite/kernels/internal/optimized/optimized_ops.h (BinaryBroadcastFiveFold).
    """
    rank = max(len(first), len(second))
    a, b = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (first, second))
    unequal = next((i for i in reversed(range(rank)) if a[i] != b[i]), None)
    if unequal is None:
        return InnerLoop(int(np.prod(a, dtype=np.int64)))
    if a[unequal] != 1:
        a, b = b, a
    position = rank - 1

    def take(fits: Callable[[int], bool]) -> int:
        nonlocal position
        product = 1
        while position >= 0 and fits(position):
            product *= max(a[position], b[position])
            position -= 1
        return product

    inner = take(lambda i: a[i] == b[i])
    repeated = take(lambda i: a[i] == 1)
    for fits in (lambda i: a[i] == b[i], lambda i: b[i] == 1, lambda i: a[i] == b[i]):
        take(fits)
    if position >= 0:
        return InnerLoop(0)
    return InnerLoop(inner) if inner > 1 else InnerLoop(repeated, scalar=True)
