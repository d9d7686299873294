"""The requantization form of kernels with int16 activations and a 64-bit accumulator.

`requantize` calls it by a rule's form; the rules themselves stand in `rules_int16.py`, the slow twin in
`exact_int16.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..types import Array
from .fixedpoint import reduce_multiplier, shift_right_half_up_64, wrap32
from .requantize_types import RequantParams

__all__ = ["q15"]

Int64Array = npt.NDArray[np.int64]


def q15(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """Multiply in 64 bits by a multiplier of 15 bits, then one shift, half up; the result is cut to an int32.

    Every register wraps: the product and the sum with the rounding term at 64 bits, the result at 32.

    Source: google-ai-edge/LiteRT tflite/kernels/internal/common.cc @14906c9528b1 and tensorflow/tflite-micro
    tensorflow/lite/kernels/internal/common.cc @2e50943472e6 (MultiplyByQuantizedMultiplier for int64).
    """
    product = acc * reduce_multiplier(params.multiplier)  # int64 arrays wrap
    acc_scaled = wrap32(shift_right_half_up_64(product, 15 - params.shift))
    with_zero_point = wrap32(acc_scaled + params.output_zero_point)
    return {
        "product": product,
        "acc_scaled": acc_scaled,
        "with_zero_point": with_zero_point,
        "output": np.clip(with_zero_point, params.activation_min, params.activation_max),
    }
