"""The requantization forms of `arith.requantize` as vector code: from int32 (or int64) sums to clamped outputs.

Each form has slots: constants of each unit, laid out vector by vector behind each other, and its own code. Scalars are
the same for all units. What a form here cannot do (a shift that no vector instruction has), `slots` refuses by giving
None, and the caller requantizes with NumPy.

The order of the rounding steps is that of the NumPy functions. Where those hold a value in 64 bits only so that
nothing overflows, the code here does the same in 32 with formulas that cannot overflow:
`floor((v + 2^(R-1)) / 2^R) = (v >> R) + ((v >> (R-1)) & 1)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import reduce_multiplier
from ..arith.requantize import RequantParams
from .jit_hybrid_forms import HYBRID_FORMS
from .jit_unit import SCALARS, Unit

__all__ = ["FORMS", "FORMS_64", "SCALARS", "form_scalars", "form_slots", "slot_bytes"]

Slots = dict[str, npt.NDArray[Any]]

_INT32_MAX = 2**31 - 1


def _finish(u: Unit, scaled: Any) -> Any:
    total = u.v.add(scaled, u.scalar("zero_point"))
    return u.v.clamp(total, u.scalar("low"), u.scalar("high"))


def _half_up(u: Unit, value: Any) -> Any:
    """Shift right by the slot `right`, ties up."""
    b = u.v.b
    last = b.and_(b.lshr(value, u.i32("right_less_one")), u.i32("shifts"))
    return b.add(b.ashr(value, u.i32("right")), last)


def _half_away(u: Unit, value: Any) -> Any:
    """Shift right by the slot `right`, ties away from zero: negative values are one less before half up.

    INT32_MIN would wrap there, but a product with a multiplier below 2^31 cannot give it.
    """
    b = u.v.b
    negative = b.ashr(value, u.v.const(u.v.i32, 31))
    return _half_up(u, b.add(value, b.and_(negative, u.i32("shifts_mask"))))


def _shift_left(u: Unit, acc: Any) -> Any:
    return u.v.b.shl(acc, u.i32("left"))


def _shift_left_saturating(u: Unit, acc: Any) -> Any:
    v, b = u.v, u.v.b
    left = u.i32("left")
    shifted = b.shl(acc, left)
    sign = b.ashr(acc, v.const(v.i32, 31))
    limit = b.xor(sign, v.const(v.i32, _INT32_MAX))
    return b.select(b.icmp_signed("==", b.ashr(shifted, left), acc), shifted, limit)


def _q31_up_up(u: Unit, acc: Any) -> Any:
    return _finish(u, _half_up(u, u.v.high_mul(_shift_left(u, acc), u.i32("multiplier"), 1 << 30)))


def _q31_up_away(u: Unit, acc: Any) -> Any:
    return _finish(u, _half_away(u, u.v.high_mul(_shift_left(u, acc), u.i32("multiplier"), 1 << 30)))


def _q31_up_away_saturate(u: Unit, acc: Any) -> Any:
    shifted = _shift_left_saturating(u, acc)
    return _finish(u, _half_away(u, u.v.high_mul(shifted, u.i32("multiplier"), 1 << 30)))


def _q31_floor_up_wrap(u: Unit, acc: Any) -> Any:
    return _finish(u, _half_up(u, u.v.high_mul(_shift_left(u, acc), u.i32("multiplier"), 0)))


def _q31_floor_up_saturate(u: Unit, acc: Any) -> Any:
    shifted = _shift_left_saturating(u, acc)
    return _finish(u, _half_up(u, u.v.high_mul(shifted, u.i32("multiplier"), 0)))


def _product_shifted(u: Unit, acc: Any) -> Any:
    """The low 32 bits of `(acc * multiplier + nudge) >> count`, count 0 to 63, all in 64 bits.

    No vector instruction of AVX2 shifts 64 bits with their sign: 2^63 is added before an unsigned shift (it is in
    the slot `nudge`) and what it became, the slot `sign_bit`, is taken off behind it.
    """
    v, b = u.v, u.v.b
    (ae, ao), (qe, qo) = v.even_odd(acc), v.even_odd(u.i32("multiplier"))
    (ne, no), (ce, co) = u.i64_halves("nudge"), u.i64_halves("count")
    even = b.lshr(b.add(b.mul(ae, qe), ne), ce)
    odd = b.lshr(b.add(b.mul(ao, qo), no), co)
    return b.sub(v.interleave_low(even, odd), u.i32("sign_bit"))


def _q31_single(u: Unit, acc: Any) -> Any:
    return _finish(u, _product_shifted(u, acc))


def _halve(u: Unit, doubled: Any) -> Any:
    one = u.v.const(u.v.i32, 1)
    return u.v.b.ashr(u.v.b.add(doubled, one), one)


def _q31_single_wrap(u: Unit, acc: Any) -> Any:
    return _finish(u, _halve(u, _product_shifted(u, acc)))


def _narrow(u: Unit, acc: Any) -> Any:
    """The accumulator of kernels that have fewer than 32 bits for it."""
    unused = u.scalar("unused_bits")
    return u.v.b.ashr(u.v.b.shl(acc, unused), unused)


def _float_product(u: Unit, acc: Any) -> Any:
    return u.v.b.fmul(u.v.b.sitofp(acc, u.v.f32), u.f32("factor"))


def _float32(u: Unit, acc: Any) -> Any:
    limited = u.v.minimum_float(_float_product(u, _narrow(u, acc)), u.scalar("limit_float"))
    total = u.v.add(u.v.round_to_int(limited), u.scalar("zero_point"))
    return u.v.maximum(u.v.minimum(total, u.scalar("type_max")), u.scalar("low"))


def _float32_saturate(u: Unit, acc: Any) -> Any:
    # Both ends first: the conversion would take what is too large to INT32_MIN.
    v = u.v
    product = v.minimum_float(_float_product(u, _narrow(u, acc)), v.const(v.f32, 32767.0))
    limited = v.maximum_float(product, v.const(v.f32, -32768.0))
    return _finish(u, v.round_to_int(limited))


def _float32_clip(u: Unit, acc: Any) -> Any:
    raised = u.v.maximum_float(_float_product(u, acc), u.scalar("type_low_float"))
    return _finish(u, u.v.round_to_int(u.v.minimum_float(raised, u.scalar("type_high_float"))))


def _finish_far(u: Unit, scaled: Any) -> Any:
    """`_finish` for kernels that do not wrap: INT32_MIN plus a negative zero point stays at the lower end."""
    return _finish(u, u.v.maximum(scaled, u.v.const(u.v.i32, -(2**30))))


def _float32_bias_sum(u: Unit, acc: Any) -> Any:
    total = u.v.b.fadd(u.v.b.sitofp(acc, u.v.f32), u.f32("bias_float"))
    return _finish_far(u, u.v.round_to_int(u.v.b.fmul(total, u.f32("factor"))))


def _float32_bias_fused(u: Unit, acc: Any) -> Any:
    v = u.v
    args = [u.f32("bias_real"), u.f32("reciprocal"), v.b.sitofp(acc, v.f32)]
    total = v.call(f"llvm.fma.v{v.lanes}f32", v.f32, args)
    return _finish_far(u, v.round_to_int(v.b.fmul(total, u.f32("factor"))))


def _float64(u: Unit, acc: Any) -> Any:
    product = u.v.b.fmul(u.v.b.sitofp(acc, u.v.f64), u.f64("factor"))
    return _finish(u, u.v.round_half_away(product))


def _float64_saturate(u: Unit, acc: Any) -> Any:
    v = u.v
    product = v.b.fmul(v.b.sitofp(acc, v.f64), u.f64("factor"))
    # Limits that round to themselves; the conversion would take what is too large to INT32_MIN.
    high, low = v.const(v.f64, 2.0**31 - 1), v.const(v.f64, -(2.0**31))
    limited = v.b.select(v.b.fcmp_ordered("<", product, high), product, high)
    limited = v.b.select(v.b.fcmp_ordered(">", limited, low), limited, low)
    return _finish(u, v.round_half_away(limited))


def _q15(u: Unit, acc: Any) -> Any:
    b = u.v.b
    total = b.add(b.mul(acc, u.i64("multiplier")), u.i64("nudge"))
    return _finish(u, b.trunc(b.ashr(total, u.i64("count")), u.v.i32))


def _q15_wrap(u: Unit, acc: Any) -> Any:
    b = u.v.b
    product = b.ashr(b.mul(acc, u.i64("multiplier")), u.i64("count"))
    return _finish(u, _halve(u, b.trunc(product, u.v.i32)))


# Form -> (slots with their types, code). `bias` comes first: what the sums begin with.
_SHIFTS = {"right": "i4", "right_less_one": "i4", "shifts": "i4"}
_TWO_STEPS = {"multiplier": "i4", "left": "i4", **_SHIFTS}
_AWAY = {**_TWO_STEPS, "shifts_mask": "i4"}
_WIDE = {"multiplier": "i4", "nudge": "i8", "count": "i8", "sign_bit": "i4"}
_FACTOR = {"factor": "f4"}

Code = Callable[[Unit, Any], Any]
FORMS: dict[str, tuple[dict[str, str], Code | None]] = {
    name: ({"bias": "i4", **slots}, code)
    for name, slots, code in (
        ("acc", {}, None),
        ("q31_up_up", _TWO_STEPS, _q31_up_up),
        ("q31_up_away", _AWAY, _q31_up_away),
        ("q31_up_away_saturate", _AWAY, _q31_up_away_saturate),
        ("q31_floor_up_wrap", _TWO_STEPS, _q31_floor_up_wrap),
        ("q31_floor_up_saturate", _TWO_STEPS, _q31_floor_up_saturate),
        ("q31_single", _WIDE, _q31_single),
        ("q31_single_wrap", _WIDE, _q31_single_wrap),
        ("float32", _FACTOR, _float32),
        ("float32_saturate", _FACTOR, _float32_saturate),
        ("float32_clip", _FACTOR, _float32_clip),
        ("float32_bias_fused", {**_FACTOR, "bias_real": "f4", "reciprocal": "f4"}, _float32_bias_fused),
        ("float32_bias_reciprocal", {**_FACTOR, "bias_float": "f4"}, _float32_bias_sum),
        ("float32_bias_division", {**_FACTOR, "bias_float": "f4"}, _float32_bias_sum),
        ("float64", {"factor": "f8"}, _float64),
        ("float64_saturate", {"factor": "f8"}, _float64_saturate),
    )
} | HYBRID_FORMS
"""Those on 32-bit sums, hybrid layers' among them. `acc` gives the sums themselves."""

FORMS_64: dict[str, tuple[dict[str, str], Code | None]] = {
    name: ({"bias": "i8", **slots}, code)
    for name, slots, code in (
        ("acc", {}, None),
        ("q15", {"multiplier": "i8", "nudge": "i8", "count": "i8"}, _q15),
        ("q15_wrap", {"multiplier": "i8", "count": "i8"}, _q15_wrap),
        ("float64", {"factor": "f8"}, _float64),
        ("float64_saturate", {"factor": "f8"}, _float64_saturate),
    )
}
"""Those on 64-bit sums."""


def slot_bytes(slots: Mapping[str, str], lanes: int) -> tuple[dict[str, int], int]:
    """Where each slot of one vector of units begins, and how many bytes all take."""
    offsets, position = {}, 0
    for name, kind in slots.items():
        offsets[name] = position
        position += lanes * int(kind[1])
    return offsets, position


def form_scalars(params: RequantParams, acc_bits: int) -> npt.NDArray[np.int32]:
    """The scalars of one layer: int32 `[8]`."""
    dtype, zy = params.dtype, params.output_zero_point
    assert dtype.qmin is not None
    assert dtype.qmax is not None
    floats = np.asarray([params.activation_max - zy, dtype.qmin - zy, dtype.qmax - zy], np.float32)
    whole = [zy, params.activation_min, params.activation_max, dtype.qmax]
    unused = 32 - acc_bits if acc_bits < 32 else 0
    return np.asarray([*whole, *floats.view(np.int32).tolist(), unused], np.int64).astype(np.int32)


def form_slots(
    params: RequantParams, input_scale: np.float32 | None = None, weights_scale: npt.NDArray[np.float32] | None = None
) -> Slots | None:
    """A layer's constants for its form, `[1]` or `[out]` each, without the bias.

    Args:
        params: the folded constants.
        input_scale: s_x, for the form that adds a real-valued bias.
        weights_scale: s_w, likewise.

    Returns:
        Slot -> values; None where this form, or a shift in it, is not covered.
    """
    form, shift = params.rule.form, params.shift
    forms = FORMS if params.rule.acc_bits == 32 else FORMS_64
    if form not in forms or params.rule.acc_bits not in (32, 64):
        return None
    if form.startswith("float64"):
        return {"factor": np.asarray(params.effective_scale, np.float64)}
    if form.startswith("float32_bias") and params.float_bias is not None:
        slots: Slots = {"factor": np.asarray(params.effective_scale, np.float32)}
        if form == "float32_bias_fused":
            if params.bias is None or input_scale is None or weights_scale is None:
                return None
            scales = np.float32(input_scale) * weights_scale.astype(np.float32)
            return slots | {
                "bias_real": params.bias.astype(np.float32) * scales,
                "reciprocal": np.float32(1) / scales,
            }
        return slots | {"bias_float": params.float_bias.astype(np.float32)}
    if form.startswith("float32"):
        return {"factor": np.asarray(params.effective_scale, np.float32)}
    if form.startswith("q31_single"):
        return _wide_slots(params, 31 if form == "q31_single" else 30)
    if form == "q15":
        exponent = 15 - shift
        nudge = np.int64(1) << ((exponent - 1) & 63)
        return {"multiplier": reduce_multiplier(params.multiplier), "nudge": nudge, "count": exponent & 63}
    if form == "q15_wrap":
        count = np.maximum(14 - shift, 0)
        return {"multiplier": reduce_multiplier(params.multiplier), "count": count} if (count < 64).all() else None
    right = np.maximum(-shift, 1 if form.startswith("q31_floor") else 0)
    left = shift + right if form.startswith("q31_floor") else np.clip(shift, 0, 31)
    if (left > 31).any() or (right > 31).any():
        return None
    return {
        "multiplier": params.multiplier,
        "left": left,
        "right": right,
        "right_less_one": np.maximum(right - 1, 0),
        "shifts": (right > 0).astype(np.int64),
        "shifts_mask": -(right > 0).astype(np.int64),
    }


def _wide_slots(params: RequantParams, whole: int) -> Slots | None:
    count = whole - params.shift
    if (count < 0).any() or (count > 63).any():
        return None
    half = np.where(count > 0, np.int64(1) << np.maximum(count - 1, 0), 0) if whole == 31 else np.zeros_like(count)
    # 2^63 as an int64 wraps to its negative; so does the sum, as the vector code's does.
    sign = np.uint64(2**63) >> count.astype(np.uint64)
    return {
        "multiplier": params.multiplier,
        "nudge": (half.astype(np.uint64) + np.uint64(2**63)).astype(np.int64),
        "count": count,
        "sign_bit": (sign & np.uint64(0xFFFFFFFF)).astype(np.uint32).astype(np.int64),
    }
