"""The finishing of hybrid dense layers as vector code: from int32 sums to clamped float32 outputs, as their bits.

Every row has a record of its own, its zero point (int32) and its scale (float32), written when it was quantized.

XNNPACK's kernels run with subnormal results set to zero, by the rounding to 24 bits with an unbounded exponent. So the
fused multiply-add is done twice: as it is, and with the factor and the addend 2^60 times as large, where nothing that
matters is subnormal. Where the second one is below 2^60 times the smallest normal number, the result is zero. Where it
overflows, the result is far from that: a sum that large, or one of addends that large, has no bits down there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...model.types import Array
from .unit import Unit
from .vectors import Vectors

__all__ = ["HYBRID_FORMS", "RECORD_BYTES", "fused_slots"]

RECORD_BYTES = 8
"""Of one row: its zero point and its scale."""

_LARGER = np.float32(2.0**60)
_SMALLEST_LARGER = 2.0 ** (60 - 126)
_SIGN = -(2**31)


def fused_slots(factor: Array, addend: Array) -> dict[str, Array]:
    """The constants of the two fused multiply-adds: float32 `[out]` each."""
    with np.errstate(over="ignore"):
        return {
            "factor": factor,
            "addend": addend,
            "factor_larger": factor * _LARGER,
            "addend_larger": addend * _LARGER,
        }


def _total(u: Unit, acc: Any) -> Any:
    """The sums less the zero point's part, as float32."""
    b = u.v.b
    return b.sitofp(b.sub(acc, b.mul(u.row_i32(0), u.i32("weights_sum"))), u.v.f32)


def _fma(v: Vectors, a: Any, x: Any, c: Any) -> Any:
    return v.call(f"llvm.fma.v{v.lanes}f32", v.f32, [a, x, c])


def _fused(u: Unit, acc: Any) -> Any:
    v, b = u.v, u.v.b
    scaled = b.fmul(_total(u, acc), u.row_f32(4))
    result = _fma(v, scaled, u.f32("factor"), u.f32("addend"))
    size = v.call(f"llvm.fabs.v{v.lanes}f32", v.f32, [_fma(v, scaled, u.f32("factor_larger"), u.f32("addend_larger"))])
    tiny = b.fcmp_ordered("<", size, v.const(v.f32, _SMALLEST_LARGER))
    kept = b.select(tiny, v.const(v.i32, _SIGN), v.const(v.i32, -1))
    return b.bitcast(b.and_(b.bitcast(result, v.i32), kept), v.f32)


def _clamp_value_first(u: Unit, value: Any) -> Any:
    """NaN stays."""
    v = u.v
    return v.minimum_float(u.f32("high"), v.maximum_float(u.f32("low"), value))


def _clamp_bound_first(u: Unit, value: Any) -> Any:
    """NaN becomes the lower bound."""
    v = u.v
    return v.minimum_float(u.f32("high"), v.maximum_float(value, u.f32("low")))


def _fused_value_first(u: Unit, acc: Any) -> Any:
    return u.v.b.bitcast(_clamp_value_first(u, _fused(u, acc)), u.v.i32)


def _fused_bound_first(u: Unit, acc: Any) -> Any:
    return u.v.b.bitcast(_clamp_bound_first(u, _fused(u, acc)), u.v.i32)


def _unfused(u: Unit, acc: Any) -> Any:
    v, b = u.v, u.v.b
    product = b.fmul(_total(u, acc), b.fmul(u.f32("factor"), u.row_f32(4)))
    result = b.fadd(u.f32("addend"), product)
    # Without an activation nothing is clamped, not even a NaN.
    unclamped = b.icmp_signed("!=", u.i32("unclamped"), v.const(v.i32, 0))
    return b.bitcast(b.select(unclamped, result, _clamp_bound_first(u, result)), v.i32)


_SUMS = {"bias": "i4", "weights_sum": "i4", "factor": "f4", "addend": "f4", "low": "f4", "high": "f4"}
_FUSED = {**_SUMS, "factor_larger": "f4", "addend_larger": "f4"}

HYBRID_FORMS: dict[str, tuple[dict[str, str], Callable[[Unit, Any], Any] | None]] = {
    "hybrid_fused_value_first": (_FUSED, _fused_value_first),
    "hybrid_fused_bound_first": (_FUSED, _fused_bound_first),
    "hybrid_unfused": ({**_SUMS, "unclamped": "i4"}, _unfused),
}
"""What finishes hybrid layers. `bias` is what the integer sums begin with, `addend` the layer's bias."""
