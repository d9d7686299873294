"""The finishing of hybrid dense layers as vector code: from int32 sums to clamped float32 outputs, as their bits.

Every row has a record of its own, its zero point (int32) and its scale (float32), written when it was quantized.

XNNPACK's kernels run with subnormal results set to zero, by the rounding to 24 bits with an unbounded exponent. So the
fused multiply-add is done twice: as it is, and with the factor and the addend 2^60 times as large, where nothing that
matters is subnormal. Where the second one is below 2^60 times the smallest normal number, the result is zero. Where it
overflows, the result is far from that: a sum that large, or one of addends that large, has no bits down there.
Rows whose scale is not tiny have no subnormal results (`least_scale`), and need one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np

from ...model.types import Array
from .unit import Unit
from .vectors import Vectors

__all__ = ["RECORD_BYTES", "HybridEnding", "fused_slots", "hybrid_code", "least_scale", "paired"]

RECORD_BYTES = 8
"""Of one row: its zero point and its scale."""

_LARGER = np.float32(2.0**60)
_SMALLEST_LARGER = 2.0 ** (60 - 126)
_SIGN = -(2**31)


@dataclass(frozen=True)
class HybridEnding:
    """What finishes hybrid layers.

    Attributes:
        fused: whether the row's scale comes first, and then one fused multiply-add, as XNNPACK does it; else the
            product of both scales, and product and sum are rounded, as LiteRT's own kernels do it.
        clamp: see `rules.hybrid.forms.Clamp`.
    """

    fused: bool
    clamp: Literal["value_first", "bound_first", "bound_first_if_any"]


def paired(sums: Array) -> Array:
    """What the products with a zero point are subtracted by: 256 * high + low of the negative, two int16 in an int32.

    A zero point and 256 times that are an int16 each.

    Args:
        sums: int64 `[out]`, of the weights; below 2^23.
    """
    return ((-sums >> 8 << 16) | (-sums & 0xFF)).astype(np.int32)


def least_scale(factor: Array, addend: Array) -> np.float32:
    """With a row's scale of at least this, no result of the fused multiply-add is subnormal, whatever the sums are.

    A sum of integers times the scale is a multiple of the scale's last bit. So the exact result is a multiple of
    the last bits' product, or of the addend's last bit, and it is zero or as large as the smaller of these.
    """
    used, added = np.abs(factor[factor != 0]), np.abs(addend[addend != 0])
    if added.size and added.min() < 2.0 ** (-126 + 23):
        return np.float32(np.inf)
    exponent = int(np.frexp(used.min())[1]) - 1 if used.size else 0
    return np.float32(2.0 ** max(-126 + 2 * 23 - exponent, -126))


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
    v, b = u.v, u.v.b
    zero = u.row_i32(0)
    pair = b.or_(b.and_(zero, v.const(v.i32, 0xFFFF)), b.shl(zero, v.const(v.i32, 24)))
    return b.sitofp(v.add_pairs(acc, pair, u.i32("weights_sum")), v.f32)


def _fma(v: Vectors, a: Any, x: Any, c: Any) -> Any:
    return v.call(f"llvm.fma.v{v.lanes}f32", v.f32, [a, x, c])


def _fused(u: Unit, acc: Any) -> Any:
    v, b = u.v, u.v.b
    scaled = b.fmul(_total(u, acc), u.row_f32(4))
    result = _fma(v, scaled, u.f32("factor"), u.f32("addend"))
    if u.usual:
        return result
    size = v.call(f"llvm.fabs.v{v.lanes}f32", v.f32, [_fma(v, scaled, u.f32("factor_larger"), u.f32("addend_larger"))])
    tiny = b.fcmp_ordered("<", size, v.const(v.f32, _SMALLEST_LARGER))
    kept = b.select(tiny, v.const(v.i32, _SIGN), v.const(v.i32, -1))
    return b.bitcast(b.and_(b.bitcast(result, v.i32), kept), v.f32)


def _unfused(u: Unit, acc: Any) -> Any:
    b = u.v.b
    product = b.fmul(_total(u, acc), b.fmul(u.f32("factor"), u.row_f32(4)))
    return b.fadd(u.f32("addend"), product)


def _clamped(ending: HybridEnding, u: Unit, value: Any) -> Any:
    v, b = u.v, u.v.b
    match ending.clamp:
        case "value_first":  # NaN stays
            return v.minimum_float(u.f32("high"), v.maximum_float(u.f32("low"), value))
        case "bound_first" | "bound_first_if_any":  # NaN becomes the lower bound
            limited = v.minimum_float(u.f32("high"), v.maximum_float(value, u.f32("low")))
            if ending.clamp == "bound_first":
                return limited
            # Without an activation nothing is clamped, not even a NaN.
            unclamped = b.icmp_signed("!=", u.i32("unclamped"), v.const(v.i32, 0))
            return b.select(unclamped, value, limited)
        case never:
            assert_never(never)


_SUMS = {"weights_sum": "i4", "factor": "f4", "addend": "f4", "low": "f4", "high": "f4"}


def hybrid_code(ending: HybridEnding) -> tuple[dict[str, str], Callable[[Unit, Any], Any]]:
    """The slots of an ending with their types, and its code: outputs are the bits of float32.

    What the integer sums begin with, the slot `bias`, is not among them; the layer's bias is `addend`.
    """
    slots = dict(_SUMS)
    if ending.fused:
        slots |= {"factor_larger": "f4", "addend_larger": "f4"}
    if ending.clamp == "bound_first_if_any":
        slots |= {"unclamped": "i4"}
    finish = _fused if ending.fused else _unfused
    return slots, lambda u, acc: u.v.b.bitcast(_clamped(ending, u, finish(u, acc)), u.v.i32)
