"""Mistakes in quantizing the layer's input, where the real input is known.

Function: `input` (case, x) -> x; `case.real` has the input before it was quantized.
"""

from __future__ import annotations

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.types import Array, Int64Array, integer_type
from ...ops.dense.eight_bit import PreparedDense
from .base import Case, Mistake
from .rounding import FARTHEST, to_int
from .threads import TF_62640, ZEPHYR_88638

__all__ = ["QUANTIZING"]


def _quantized(case: Case, steps: Array) -> Int64Array:
    """Real steps as the input's type holds them after a cast, which wraps."""
    dtype = integer_type(case.layer.input.dtype)
    return low_bits(to_int(np.trunc(steps), FARTHEST), dtype.bits, signed=dtype.qmin < 0)


def _real_steps(case: Case) -> Array:
    assert case.real is not None
    return case.real.astype(np.float64) / float(case.layer.input_scale)


def _input_truncated(case: Case, _x: Int64Array) -> Int64Array:
    return _quantized(case, np.clip(_real_steps(case) + case.zx, *_range(case)))


def _input_truncated_before_zero_point(case: Case, _x: Int64Array) -> Int64Array:
    return np.clip(to_int(np.trunc(_real_steps(case)), FARTHEST) + case.zx, *_range(case))


def _input_wraps(case: Case, _x: Int64Array) -> Int64Array:
    return _quantized(case, np.rint(_real_steps(case)) + case.zx)


def _input_without_zero_point(case: Case, _x: Int64Array) -> Int64Array:
    return np.clip(to_int(np.rint(_real_steps(case)), FARTHEST), *_range(case))


def _input_cast(case: Case, _x: Int64Array) -> Int64Array:
    assert case.real is not None
    return _quantized(case, case.real.astype(np.float64))


def _range(case: Case) -> tuple[int, int]:
    dtype = integer_type(case.layer.input.dtype)
    return dtype.qmin, dtype.qmax


def _zx(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point != 0


_RIGHT = "x = np.clip(np.round(real / s_x) + zx, -128, 127).astype(np.int8)"
_RIGHT_C = "q = zx + (int32_t)round(real / s_x);"

QUANTIZING: tuple[Mistake, ...] = (
    Mistake(
        "input_quantized_by_truncation",
        "input",
        "the input is quantized with a cast, x / s_x + zx, which truncates; it must be rounded",
        _RIGHT,
        _RIGHT_C,
        _input_truncated,
        rarity=1.2,
        seen=(ZEPHYR_88638,),
        needs_real_input=True,
    ),
    Mistake(
        "input_truncated_before_zero_point",
        "input",
        "the input is quantized with a cast of x / s_x, to which zx is added; it must be rounded",
        _RIGHT,
        _RIGHT_C,
        _input_truncated_before_zero_point,
        rarity=1.2,
        needs_real_input=True,
    ),
    Mistake(
        "input_quantized_without_clamp",
        "input",
        "the quantized input is cast to its type without clamping, and wraps",
        _RIGHT,
        "q = q < -128 ? -128 : q > 127 ? 127 : q;",
        _input_wraps,
        needs_real_input=True,
    ),
    Mistake(
        "input_quantized_without_zero_point",
        "input",
        "the input is quantized without its zero point",
        _RIGHT,
        _RIGHT_C,
        _input_without_zero_point,
        _zx,
        rarity=1.5,
        needs_real_input=True,
    ),
    Mistake(
        "input_cast_without_scale",
        "input",
        "the real input is cast to its type without quantizing it",
        _RIGHT,
        _RIGHT_C,
        _input_cast,
        rarity=1.5,
        seen=(TF_62640,),
        needs_real_input=True,
    ),
)
