"""Mistakes that replace the whole integer arithmetic, from the input to the rounding.

Function: `whole` (case) -> whole output steps without the zero point, int64 `[rows, out]`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...model.types import Int64Array
from ...ops.dense.eight_bit import PreparedDense
from .accumulate import right_product
from .base import Case, Mistake
from .rounding import to_int
from .scaling import has_scales, several_scales
from .threads import ARM_COMPUTE_834, CMSIS_184, LEETGPU_38
from .window_shapes import convolution_of

__all__ = ["WHOLE"]


def _dequantized(case: Case, kind: npt.DTypeLike, *, along_depth: bool = False) -> Int64Array:
    """The layer in real numbers, then quantized. In float32 the order of the sums is this machine's.

    Args:
        case: the layer and its input.
        kind: the type of the real numbers.
        along_depth: whether the weights' scales, which are the units', are taken along the depth.
    """
    layer = case.layer
    s_x, s_y = (np.asarray(value, kind) for value in (layer.input_scale, layer.output_scale))
    s_w = layer.weights_scale.astype(kind)
    with np.errstate(all="ignore"):  # of extreme scales: infinities and NaN, as C has them
        w = (case.w - case.zw).astype(kind) * (s_w if along_depth else s_w[:, None])
        parts = []
        for rows in case.pieces():
            x = (case.everything(rows).rows(case.x) - case.zx).astype(kind) * s_x
            sums = x @ w.T if x.ndim == 2 else np.einsum("ngk,gok->ngo", x, w.reshape(x.shape[1], -1, x.shape[2]))
            parts.append(sums.reshape(len(x), -1) + case.bias.astype(kind) * (s_x * s_w))
        return to_int(np.rint(np.concatenate(parts) / s_y).astype(np.float64))


def _square(prepared: PreparedDense) -> bool:
    return several_scales(prepared) and prepared.layer.units == prepared.layer.depth


def _right_sums(case: Case, w: Int64Array) -> Int64Array:
    """The sums of products with zero points, without the bias: `[rows, out]`."""
    return np.concatenate([right_product(case, grid, grid.rows(case.x), case.zx, w, case.zw) for grid in case.grids])


def _through_float16(case: Case) -> Int64Array:
    """The real-valued result is held in float16 before it is quantized."""
    with np.errstate(over="ignore"):
        real = ((_right_sums(case, case.w) + case.bias) * case.bias_scale).astype(np.float16)
    return to_int(np.rint(real.astype(np.float64) / case.scales.output))


def _input_channels(prepared: PreparedDense) -> int:
    """Of a convolution that sums over several input channels their number, else 0."""
    layer = convolution_of(prepared)
    return 0 if layer is None or layer.groups > 1 else int(layer.input.shape[-1])


def _rounded_for_each_channel(case: Case) -> Int64Array:
    """The sum of each input channel is rounded by itself, and so is the bias."""
    channels, factor = _input_channels(case.prepared), case.scales.factor
    total = np.rint(case.bias * factor)
    for channel in range(channels):
        only = np.arange(case.w.shape[1]) % channels == channel
        total = total + np.rint(_right_sums(case, np.where(only, case.w, case.zw)) * factor)
    return to_int(total)


def _never_reset(case: Case) -> Int64Array:
    """The accumulator goes on from one window of an image to the next, or from one dense unit to the next."""
    sums = _right_sums(case, case.w)
    if case.windows is None:
        sums = np.cumsum(sums + case.bias, axis=1)
    else:
        sums = np.cumsum(sums.reshape(-1, case.sample_rows, sums.shape[1]), axis=1).reshape(sums.shape) + case.bias
    return to_int(np.rint(low_bits(sums, 32) * case.scales.factor))


_SUM = "acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias; y = zy + round(acc * m)"
_SUM_C = "int32_t acc;  /* integers throughout; the scales come in once, in m */"

WHOLE: tuple[Mistake, ...] = (
    Mistake(
        "calculated_in_real_numbers",
        "whole",
        "input and weights are turned into real numbers (float32), multiplied, and the result is quantized: values "
        "near a tie fall the other way",
        _SUM,
        _SUM_C,
        lambda case: _dequantized(case, np.float32),
        rarity=1.2,
        seen=(LEETGPU_38,),
    ),
    Mistake(
        "calculated_in_real_numbers_float64",
        "whole",
        "input and weights are turned into real numbers (float64), multiplied, and the result is quantized: exact ties "
        "fall the other way",
        _SUM,
        _SUM_C,
        lambda case: _dequantized(case, np.float64),
        rarity=1.5,
    ),
    Mistake(
        "weights_scale_along_depth",
        "whole",
        "the scales of the units are applied along the depth: weights * scales, with no axis of its own for the units",
        "w_real = w * s_w[:, None]  # [out, 1]: one scale for each row",
        "w_real = w[unit * depth + k] * s_w[unit];",
        lambda case: _dequantized(case, np.float64, along_depth=True),
        _square,
        rarity=2,
    ),
    Mistake(
        "real_result_in_float16",
        "whole",
        "the real-valued result acc * s_x * s_w is held in float16 before it is divided by s_y",
        _SUM,
        _SUM_C,
        _through_float16,
        has_scales,
        rarity=2,
        seen=(ARM_COMPUTE_834,),
    ),
    Mistake(
        "rounded_for_each_input_channel",
        "whole",
        "the sum of each input channel is scaled and rounded by itself, and so is the bias; there is one rounding",
        _SUM,
        _SUM_C,
        _rounded_for_each_channel,
        lambda prepared: _input_channels(prepared) > 1,
        rarity=2.5,
        seen=(CMSIS_184,),
        needs_images=True,
    ),
    Mistake(
        "accumulator_never_reset",
        "whole",
        "the accumulator is not set back for the next element: it goes on from the one before",
        _SUM,
        "int32_t acc = bias[unit];  /* for each output element */",
        _never_reset,
        rarity=2.5,
    ),
)
