"""Two quantized arrays into one: sums and differences in 32-bit fixed point, and how broadcasting is looped over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.types import Int64Array, IntArray
from .fixedpoint import (
    low_bits,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

__all__ = ["FixedPointSum", "InnerLoop", "Q20Sum", "inner_loop", "prepare_fixed_point_sum", "prepare_q20_sum"]

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


@dataclass(frozen=True)
class FixedPointSum:
    """Constants of a sum that takes both inputs to one scale, twice the larger of theirs.

    Attributes:
        left_shift: bits that the centered inputs are shifted left by first.
        first: multiplier and shift (positive = left) of input 1.
        second: of input 2.
        output: of the sum.
        subtract: whether the second scaled input is subtracted. Scaling it by a negative multiplier would round half
            down instead of half up.
    """

    left_shift: int
    first: tuple[int, int]
    second: tuple[int, int]
    output: tuple[int, int]
    subtract: bool = False

    def steps(
        self, a: IntArray, b: IntArray, zero_point: int, vector: BoolArray, *, merged_shift: bool, narrow: bool = True
    ) -> dict[str, Int64Array]:
        """The scaled inputs, their sum, and the output before and after its zero point, not clamped.

        Args:
            a: input 1 without its zero point.
            b: input 2 likewise, of the same shape.
            zero_point: the output's.
            vector: where the vector loop of x86 builds runs. It scales the inputs otherwise than the scalar one.
            merged_shift: the vector loop makes one shift before the high product, so that an input is rounded once,
                half up; else its right shift after the high product rounds down. The scalar loop's rounds half away.
            narrow: the vector loop adds the zero point in 16 bits, which wrap.
        """
        scaled = [self._input(x, by, vector, merged_shift) for x, by in ((a, self.first), (b, self.second))]
        total = low_bits(scaled[0] - scaled[1] if self.subtract else scaled[0] + scaled[1], 32)
        multiplier, shift = self.output
        result = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(total, multiplier), -shift)
        moved = low_bits(result + zero_point, 32)
        return {
            "scaled_1": scaled[0],
            "scaled_2": scaled[1],
            "sum": total,
            "acc_scaled": result,
            "with_zero_point": np.where(vector, low_bits(moved, 16), moved) if narrow else moved,
        }

    def _input(self, x: IntArray, by: tuple[int, int], vector: BoolArray, merged_shift: bool) -> Int64Array:
        multiplier, shift = by
        wide = np.asarray(x, np.int64) << self.left_shift
        high = saturating_rounding_doubling_high_mul(low_bits(wide, 32), multiplier)
        scalar = rounding_divide_by_pot(high, -shift)
        if not vector.any():
            return scalar
        if merged_shift:
            return np.where(
                vector, saturating_rounding_doubling_high_mul(low_bits(wide >> -shift, 32), multiplier), scalar
            )
        return np.where(vector, high >> -shift, scalar)


def prepare_fixed_point_sum(
    first: np.float32, second: np.float32, output: np.float32, *, left_shift: int, subtract: bool = False
) -> FixedPointSum | None:
    """Fold the scales of a sum or a difference; None where the output's factor is 1 or more, which kernels abort on.

    Source: google-ai-edge/LiteRT, tflite/kernels/add.cc @15ed5faee080 and tflite/kernels/sub.cc.
    """
    twice = 2.0 * float(max(first, second))
    factors = [float(first) / twice, float(second) / twice, twice / (float(1 << left_shift) * float(output))]
    if factors[2] >= 1:
        return None
    pairs = [tuple(int(part) for part in quantize_multiplier(factor)) for factor in factors]
    (m1, s1), (m2, s2), (mo, so) = pairs
    return FixedPointSum(left_shift, (m1, s1), (m2, s2), (mo, so), subtract)


@dataclass(frozen=True)
class Q20Sum:
    """Constants of a sum in one rounding: multipliers of 21 bits and one right shift.

    Attributes:
        first: multiplier of input 1.
        second: of input 2; negative for a difference.
        shift: bits that the sum is shifted right by.
    """

    first: int
    second: int
    shift: int

    def steps(self, a: IntArray, b: IntArray) -> dict[str, Int64Array]:
        """The sum of the centered inputs' products and the output before its zero point, rounded half up."""
        total = np.asarray(a, np.int64) * self.first + np.asarray(b, np.int64) * self.second
        return {"sum": total, "acc_scaled": low_bits(total + (1 << (self.shift - 1)), 32) >> self.shift}


def prepare_q20_sum(first: np.float32, second: np.float32, output: np.float32, *, subtract: bool = False) -> Q20Sum:
    """Fold the scales of a sum or a difference as XNNPACK does: the larger multiplier is in [2^20, 2^21].

    Source: google/XNNPACK, src/microparams-init.c (xnn_init_qs8_add_minmax_scalar_params).
    """
    factors = [np.float32(first) / np.float32(output), np.float32(second) / np.float32(output)]
    exponent = int(np.frexp(max(factors))[1]) - 1
    shift = 20 - exponent
    one, two = (int(np.rint(np.ldexp(factor, shift))) for factor in factors)
    return Q20Sum(one, -two if subtract else two, shift)
