"""Requantization forms of other CPUs and other versions: the rules of `requantize.py` with other ways of overflowing.

Within int32 each is the same as a form there; what differs is where an intermediate result leaves its register.
`requantize` calls them by a rule's form; the rules stand in `cpu_rules.py`, their slow twins in `exact_cpu.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..types import Array
from .fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    round_half_away,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap32,
)
from .requantize_types import RequantParams

__all__ = [
    "float32_saturate",
    "float64_saturate",
    "q31_floor_up_saturate",
    "q31_floor_up_wrap",
    "q31_up_away_saturate",
]

Int64Array = npt.NDArray[np.int64]


def float64_saturate(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """LiteRT's reference kernels on ARM64: converting a float64 that does not fit saturates (x86: INT32_MIN).

    Shown on ai-edge-litert 1.4.0 and 2.0.2 for aarch64.
    """
    product = acc.astype(np.float64) * params.effective_scale
    acc_scaled = np.clip(round_half_away(product), INT32_MIN, INT32_MAX).astype(np.int64)
    return _finish(acc_scaled, wrap32(acc_scaled + params.output_zero_point), params, {"product": product})


def float32_saturate(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """XNNPACK where the zero point is added in saturating 16-bit lanes and both bounds come last.

    Shown on TensorFlow 2.12 to 2.15 (x86-64).
    """
    product = acc.astype(np.float32) * params.effective_scale.astype(np.float32)
    acc_scaled = np.clip(np.rint(product.astype(np.float64)), -(2**15), 2**15 - 1).astype(np.int64)
    with_zero_point = np.clip(acc_scaled + params.output_zero_point, -(2**15), 2**15 - 1)
    return _finish(acc_scaled, with_zero_point, params, {"product": product})


def q31_floor_up_wrap(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """Ruy's matrix product on ARM64: a left shift that wraps, a product rounded down, a right shift rounded half up.

    The right shift is one at least, and the left shift is longer by that; so as long as nothing wraps, both roundings
    together are one rounding half up.

    Source: google/ruy, ruy/kernel_arm64.cc (sshl, sqdmulh, srshl). Shown on ai-edge-litert 1.4.0 and 2.0.2 for aarch64.
    """
    left, right = _shifts(params.shift)
    shifted = wrap32(acc << np.minimum(left, 32))
    return _floor_up(shifted, right, params, wraps=True)


def q31_floor_up_saturate(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """XNNPACK's uint8 kernels on ARM64 ("rndnu"): as `q31_floor_up_wrap`, but the left shift saturates.

    Source: google/XNNPACK, src/microparams-init.c (xnn_init_qu8_conv_minmax_rndnu_neon_params) and
    src/qs8-gemm/neon-mlal-lane.c.in. Shown on ai-edge-litert 1.4.0 and 2.0.2 for aarch64.
    """
    left, right = _shifts(params.shift)
    # An accumulator is an int32 value: shifted by 31 it still fits an int64.
    shifted = np.clip(acc << np.minimum(left, 31), INT32_MIN, INT32_MAX)
    return _floor_up(shifted, right, params, wraps=False)


def q31_up_away_saturate(acc: Int64Array, params: RequantParams) -> dict[str, Array]:
    """The gemmlowp library's output pipeline: double rounding after a left shift that saturates.

    Source: google/gemmlowp, fixedpoint/fixedpoint.h (ShiftLeft) and internal/output.h. Shown on tflite-runtime 2.14.0.
    """
    shifted = np.clip(acc << np.clip(params.shift, 0, 31), INT32_MIN, INT32_MAX)
    high = saturating_rounding_doubling_high_mul(shifted, params.multiplier)
    acc_scaled = rounding_divide_by_pot(high, np.maximum(-params.shift, 0))
    with_zero_point = wrap32(acc_scaled + params.output_zero_point)
    return _finish(acc_scaled, with_zero_point, params, {"acc_shifted": shifted, "high_mul": high})


def _shifts(shift: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The left and the right shift, where the right one is one at least."""
    right = np.maximum(-shift, 1)
    return shift + right, right


def _floor_up(shifted: Int64Array, right: Int64Array, params: RequantParams, wraps: bool) -> dict[str, Array]:
    high = (shifted * params.multiplier) >> 31
    acc_scaled = (high + (np.int64(1) << (right - 1))) >> right
    total = acc_scaled + params.output_zero_point
    steps: dict[str, Array] = {"acc_shifted": shifted, "high_mul": high}
    return _finish(acc_scaled, wrap32(total) if wraps else total, params, steps)


def _finish(
    acc_scaled: Int64Array, with_zero_point: Int64Array, params: RequantParams, steps: dict[str, Array]
) -> dict[str, Array]:
    steps["acc_scaled"] = acc_scaled
    steps["with_zero_point"] = with_zero_point
    steps["output"] = np.clip(with_zero_point, params.activation_min, params.activation_max)
    return steps
