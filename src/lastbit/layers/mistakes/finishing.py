"""Mistakes after the rounding: output zero point, clamp, layout.

Functions: `output_zero_point` (case) -> (added to acc before the scaling, added after the rounding); `activation`
(case, lo, hi) -> (lo, hi); `range` (case, y, lo, hi) -> y as it is stored; `layout` (out `[rows, out]`, rows of a
sample) -> out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.types import Int64Array, fused_bounds, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.window_layer import WindowLayer
from .base import Case, Mistake
from .threads import ESP_NN_25, PYRTLNET_6, SO_PURE_PYTHON, TF_58987, TT_METAL_56327

__all__ = ["FINISHING", "RAW", "right_range"]


def right_range(_case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    """Saturate to the clamp bounds."""
    return np.clip(y, low, high)


def _ends(case: Case) -> tuple[int, int]:
    dtype = integer_type(case.layer.output.dtype)
    return dtype.qmin, dtype.qmax


def _held(case: Case, y: Int64Array) -> Int64Array:
    """The low bits that the output's type has."""
    dtype = integer_type(case.layer.output.dtype)
    return low_bits(y, dtype.bits, signed=dtype.qmin < 0)


def _only_activation(case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    """The activation's own bounds hold; the type's do not."""
    qmin, qmax = _ends(case)
    y = np.maximum(y, low) if low > qmin else y
    return np.minimum(y, high) if high < qmax else y


def raw_output(case: Case, acc: Int64Array) -> Int64Array:
    """The accumulator as the output, after a ReLU at 0 where the layer has one."""
    return np.maximum(acc, 0) if case.layer.activation.startswith("RELU") else acc


RAW: dict[str, Callable[[Case, Int64Array], Int64Array]] = {
    "requantization_missing": raw_output,
    "accumulator_cast_to_output": lambda case, acc: raw_output(case, _held(case, acc)),
    "accumulator_clamped_to_output": lambda case, acc: raw_output(case, np.clip(acc, *_ends(case))),
}
"""Mistakes in the multiplier that leave out the output's zero point and clamp too: name -> accumulator to output."""


def _wraps(case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    return _held(case, _only_activation(case, y, low, high))


def _before_zero_point(case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    qmin, qmax = _ends(case)
    return _held(case, np.clip(y - case.zy, qmin, qmax) + case.zy)


def _symmetric(case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    qmin = _ends(case)[0]
    return np.clip(y, max(low, qmin + 1), high)


def _as_other_type(case: Case, y: Int64Array, low: int, high: int) -> Int64Array:
    """Clipped to the other 8-bit type's range, then stored in this one."""
    qmin = _ends(case)[0]
    other = (0, 255) if qmin < 0 else (-128, 127)
    return _held(case, np.clip(y, *other))


def _without_zero_point(case: Case, low: int, high: int) -> tuple[int, int]:
    qmin, qmax = _ends(case)
    below, above = fused_bounds(case.layer.activation)
    # A bound at the type's own end may have been cut to it, so it is made anew: a ReLU's is 0.
    if np.isfinite(below):
        low = low - case.zy if low > qmin else max(qmin, _steps(case, below))
    if np.isfinite(above):
        high = high - case.zy if high < qmax else min(qmax, _steps(case, above))
    return low, high


def _steps(case: Case, value: float) -> int:
    """A bound in output steps, without the zero point, rounded half away from zero."""
    return 0 if value == 0 else int(np.copysign(np.floor(abs(value) / float(case.layer.output_scale) + 0.5), value))


def _relu(case: Case, low: int, high: int) -> tuple[int, int]:
    return max(low, case.zy), high


def _relu_at_zero(case: Case, low: int, high: int) -> tuple[int, int]:
    return max(low, 0), high


def _relu6_as_relu(case: Case, low: int, high: int) -> tuple[int, int]:
    return low, _ends(case)[1]


def _relu6_at_six(case: Case, low: int, high: int) -> tuple[int, int]:
    return low, min(_ends(case)[1], case.zy + 6)


def _channels_first(out: Int64Array, rows: int) -> Int64Array:
    """Each image's channels one behind the other."""
    if len(out) % rows:  # a part of an image
        return out
    return out.reshape(-1, rows, out.shape[1]).transpose(0, 2, 1).reshape(out.shape)


def _truncated_bound(case: Case, low: int, high: int) -> tuple[int, int]:
    return low, min(_ends(case)[1], case.zy + int(6.0 / float(case.layer.output_scale)))


def _relu6(prepared: PreparedDense) -> bool:
    """The activation's upper bound is inside the type's range."""
    largest = integer_type(prepared.layer.output.dtype).qmax
    return prepared.layer.activation == "RELU6" and prepared.requant.activation_max < largest


def _zy(prepared: PreparedDense) -> bool:
    return prepared.layer.output_zero_point != 0


def _zx_not_zy(prepared: PreparedDense) -> bool:
    return prepared.layer.output_zero_point != prepared.layer.input_zero_point


def _activated(prepared: PreparedDense) -> bool:
    return prepared.layer.activation != "NONE"


def _activated_off_zero(prepared: PreparedDense) -> bool:
    return _activated(prepared) and _zy(prepared)


def _not_activated(prepared: PreparedDense) -> bool:
    return prepared.layer.activation == "NONE"


def _signed(prepared: PreparedDense) -> bool:
    return integer_type(prepared.layer.output.dtype).qmin < 0


def _eight_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.output.dtype.bits == 8


_Y = "y = zy + round(acc * m)"
_Y_C = "y = zy + (int32_t)round(acc * m);"
_CLIP = "np.clip(zy + round(acc * m), lo, hi).astype(np.int8)"
_CLIP_C = "y = y < lo ? lo : y > hi ? hi : y;"
_BOUNDS = "lo = max(-128, zy + round(low / s_y)); hi = min(127, zy + round(high / s_y))"
_BOUNDS_C = "lo = zy;  /* ReLU: the real value 0 is the integer zy */"

FINISHING: tuple[Mistake, ...] = (
    Mistake(
        "output_zero_point_missing",
        "output_zero_point",
        "the output's zero point is not added",
        _Y,
        _Y_C,
        lambda case: (0, 0),
        _zy,
        rarity=1,
        seen=(SO_PURE_PYTHON,),
    ),
    Mistake(
        "output_zero_point_subtracted",
        "output_zero_point",
        "the output's zero point is subtracted; it is added",
        _Y,
        _Y_C,
        lambda case: (0, -case.zy),
        _zy,
        rarity=1.5,
    ),
    Mistake(
        "output_zero_point_twice",
        "output_zero_point",
        "the output's zero point is added twice",
        _Y,
        _Y_C,
        lambda case: (0, 2 * case.zy),
        _zy,
        rarity=2.5,
    ),
    Mistake(
        "output_zero_point_is_inputs",
        "output_zero_point",
        "the input's zero point is added to the output",
        "zy = output_details['quantization_parameters']['zero_points'][0]",
        "const int32_t zy = output->params.zero_point;",
        lambda case: (0, case.zx),
        _zx_not_zy,
        rarity=1.5,
    ),
    Mistake(
        "output_zero_point_before_scaling",
        "output_zero_point",
        "the output's zero point is added to the accumulator, before the scaling",
        _Y,
        _Y_C,
        lambda case: (case.zy, 0),
        _zy,
    ),
    Mistake(
        "activation_missing",
        "activation",
        "the fused activation is not applied",
        _BOUNDS,
        _BOUNDS_C,
        lambda case, low, high: _ends(case),
        _activated,
        rarity=1.2,
    ),
    Mistake(
        "activation_without_zero_point",
        "activation",
        "the activation's bounds lack the output's zero point (ReLU at 0)",
        _BOUNDS,
        _BOUNDS_C,
        _without_zero_point,
        _activated_off_zero,
        rarity=1.2,
        seen=(SO_PURE_PYTHON,),
    ),
    Mistake(
        "relu6_without_upper_bound",
        "activation",
        "the layer has a ReLU6, and only its lower bound is applied",
        _BOUNDS,
        _BOUNDS_C,
        _relu6_as_relu,
        _relu6,
        rarity=1.5,
    ),
    Mistake(
        "relu6_at_integer_6",
        "activation",
        "the ReLU6's upper bound is zy + 6; it is zy + 6 / s_y",
        _BOUNDS,
        _BOUNDS_C,
        _relu6_at_six,
        _relu6,
    ),
    Mistake(
        "relu6_bound_truncated",
        "activation",
        "the ReLU6's upper bound, 6 / s_y, is truncated; it is rounded",
        _BOUNDS,
        _BOUNDS_C,
        _truncated_bound,
        _relu6,
    ),
    Mistake(
        "relu_that_is_not_there",
        "activation",
        "a ReLU is applied, and the layer has none",
        _CLIP,
        _CLIP_C,
        _relu,
        _not_activated,
    ),
    Mistake(
        "relu_at_zero_that_is_not_there",
        "activation",
        "a ReLU at the integer 0 is applied, and the layer has none",
        _CLIP,
        _CLIP_C,
        _relu_at_zero,
        lambda prepared: _not_activated(prepared) and _zy(prepared) and _signed(prepared),
    ),
    Mistake(
        "output_wraps",
        "range",
        "the output is cast to its type without clamping, and wraps",
        _CLIP,
        _CLIP_C,
        _wraps,
        rarity=1,
        seen=(PYRTLNET_6, TT_METAL_56327),
    ),
    Mistake(
        "clamp_missing",
        "range",
        "the output is not clamped to its type's range",
        _CLIP,
        _CLIP_C,
        _only_activation,
        rarity=1.2,
    ),
    Mistake(
        "clamp_symmetric",
        "range",
        "the output is clamped to -127; the type's smallest value is -128",
        _CLIP,
        _CLIP_C,
        _symmetric,
        _signed,
        rarity=1.5,
    ),
    Mistake(
        "clamp_of_the_other_type",
        "range",
        "the output is clamped to the other 8-bit type's range",
        _CLIP,
        _CLIP_C,
        _as_other_type,
        _eight_bits,
    ),
    Mistake(
        "clamp_to_int8",
        "range",
        "the output is clamped to int8's range; it is int16",
        _CLIP,
        _CLIP_C,
        lambda case, y, low, high: np.clip(y, max(low, -128), min(high, 127)),
        lambda prepared: prepared.layer.output.dtype.name == "int16",
        seen=(TF_58987,),
    ),
    Mistake(
        "clamp_before_zero_point",
        "range",
        "the value is clamped before the zero point is added, and the sum wraps",
        _CLIP,
        _CLIP_C,
        _before_zero_point,
        _zy,
    ),
    Mistake(
        "output_column_major",
        "layout",
        "the output matrix is written in column-major order",
        "out[row, unit] = y  # C order, [rows, units]",
        "out[row * units + unit] = y;",
        lambda out, _rows: out.T.reshape(out.shape),
        lambda prepared: prepared.layer.units > 1 and not isinstance(prepared.layer, WindowLayer),
        rarity=2,
        across_rows=True,
    ),
    Mistake(
        "output_channels_first",
        "layout",
        "the output image is written with its channels first (NCHW); TFLite has them last (NHWC)",
        "out[n, y, x, o] = v  # [n, h, w, out]",
        "out[(y * width + x) * channels + o] = v;",
        _channels_first,
        lambda prepared: prepared.layer.units > 1 and isinstance(prepared.layer, WindowLayer),
        rarity=2,
        seen=(ESP_NN_25,),
    ),
    Mistake(
        "units_reversed",
        "layout",
        "the output units are in reverse order",
        "out[row, unit] = y",
        "out[row * units + unit] = y;",
        lambda out, _rows: out[:, ::-1],
        lambda prepared: prepared.layer.units > 1,
        rarity=3,
    ),
)
