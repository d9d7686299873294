"""The converter's float32 arithmetic when it folds constants: rsqrt, products and the dot product.

The converter folds TensorFlow's operators with TensorFlow's own CPU kernels. Batch normalization needs 1/sqrt(v),
which those calculate eight at a time from the CPU's approximation and one Newton step, and one by one what is left
over. So the folded weights of a batch normalization depend on the place of a channel, and on the kind of CPU on
which the model was converted: these are the numbers of Intel's.

Source: Eigen Eigen/src/Core/MathFunctionsImpl.h (generic_rsqrt_newton_step) and Eigen/src/Core/arch/AVX/
MathFunctions.h (prsqrt); google-ai-edge/LiteRT tflite/converter/ir/tfl_ops.cc (folding FULLY_CONNECTED).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ....model.types import Array

__all__ = ["Folding", "Newton", "dot", "rsqrt"]

_LANES = 8
_PIECE = 13  # low bits of a float32 that Intel's approximation does not look at
_ONE = np.float32(1)


class Newton(Enum):
    """How the Newton step after the approximation y of 1/sqrt(x) is written, each operation rounded to float32."""

    THREE_HALVES = "y * (1.5 - (x/2 * y) * y)"  # TensorFlow 2.12
    RESIDUAL = "y - y/2 * ((x * y) * y - 1)"  # from 2.13 on


@dataclass(frozen=True)
class Folding:
    """What a converter's version does to constants.

    Attributes:
        newton: how 1/sqrt is calculated.
        drops_zeros: whether adding a constant of zeros is dropped.
        earlier: whether the optimizer is that of TensorFlow up to 2.19.
        scales_shared: whether a factor goes into the dense layer before also where something else uses that, if only
            an operator that is gone: up to TensorFlow 2.15.
        joins_padding: whether zeros around an image become the padding of the convolution after them: from TensorFlow
            2.18 on.
        keeps_dims: whether a dense layer before a RESHAPE keeps its input's dimensions: from TensorFlow 2.18 on.
        reads_more_dims: whether a dense layer reads before a RESHAPE to fewer dimensions: not in TensorFlow 2.14.
    """

    newton: Newton = Newton.RESIDUAL
    drops_zeros: bool = True
    earlier: bool = False
    scales_shared: bool = False
    joins_padding: bool = True
    keeps_dims: bool = True
    reads_more_dims: bool = True


def rsqrt(values: Array, newton: Newton) -> Array:
    """1/sqrt of a vector as TensorFlow's kernel gives it on an Intel CPU.

    Args:
        values: float32, positive, one dimension.
        newton: which step.

    Returns:
        float32, the same shape. The first multiple of eight elements come from the approximation, the others are
        1/sqrt(x) with two roundings.

    >>> rsqrt(np.full(9, 7, np.float32), Newton.RESIDUAL).view(np.uint32)[[0, 8]].tolist()
    [1052869775, 1052869776]
    """
    result = np.empty_like(values)
    whole = values.size // _LANES * _LANES
    x = values[:whole]
    y = _approximation(x)
    if newton is Newton.THREE_HALVES:
        result[:whole] = y * (y * ((x * np.float32(-0.5)) * y) + np.float32(1.5))
    else:
        result[:whole] = (y * np.float32(-0.5)) * ((x * y) * y - _ONE) + y
    result[whole:] = _ONE / np.sqrt(values[whole:])
    return result


def _approximation(x: Array) -> Array:
    """RSQRTPS of Intel's CPUs: 1/sqrt of the middle of x's piece, rounded to 13 bits.

    A piece is 2**13 neighbouring float32 values.
    """
    low = (x.view(np.uint32) >> _PIECE) << _PIECE
    first = low.astype(np.uint32).view(np.float32).astype(np.float64)
    _, exponent = np.frexp(first)
    middle = first + np.ldexp(0.5, exponent - 24 + _PIECE)
    exact = 1 / np.sqrt(middle)
    mantissa, power = np.frexp(exact)
    approximation: Array = np.ldexp(np.rint(np.ldexp(mantissa, 13)), power - 13).astype(np.float32)
    return approximation


def dot(weights: Array, x: Array, bias: Array) -> Array:
    """The sum weights @ x + bias as the converter folds a dense layer: one by one, what is lost added last.

    Args:
        weights: float32 [units, depth].
        x: float32 [depth].
        bias: float32 [units].

    Returns:
        float32 [units]: Neumaier's sum, each operation rounded to float32.
    """
    total = bias.copy()
    compensation = np.zeros_like(total)
    for column, value in zip(weights.T, x, strict=True):
        addend = column * value
        added = total + addend
        larger = np.abs(total) >= np.abs(addend)
        compensation += np.where(larger, (total - added) + addend, (addend - added) + total)
        total = added
    result: Array = total + compensation
    return result
