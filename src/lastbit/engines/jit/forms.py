"""The reader of requantization forms that gives vector code: from int32 (or int64) sums to clamped outputs.

A form's code has slots: constants of each unit, laid out vector by vector behind each other. Scalars are the same for
all units. A value that there is no code for raises `Unsupported`; for a layer with a shift that no vector instruction
has, `form_slots` gives None. The caller then requantizes with NumPy.

The order of the rounding steps is that of the NumPy functions. Where those hold a value in 64 bits only so that
nothing overflows, the code here does the same in 32 with formulas that cannot overflow:
`floor((v + 2^(R-1)) / 2^R) = (v >> R) + ((v >> (R-1)) & 1)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import reduce_multiplier
from ...rules.base import Unsupported
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import Add, ClampOrder, Float, OneRounding, Requantize, TwoRoundings
from ...rules.requantize.vector import left_shift
from .hybrid_forms import HybridEnding, hybrid_code
from .linear import Linear
from .unit import Unit

__all__ = ["SUMS", "Ending", "Sums", "code_of", "form_scalars", "form_slots", "slot_bytes"]

Slots = dict[str, npt.NDArray[Any]]
Code = Callable[[Unit, Any], Any]


@dataclass(frozen=True)
class Sums:
    """The sums themselves, which are not requantized."""


SUMS = Sums()

Ending = Requantize | Linear | HybridEnding | Sums
"""What finishes the sums of a tile: fields, by which its code is made and found again."""

_READER = "llvm"
_INT32_MAX = 2**31 - 1
_FAR = 2**30  # beyond every output, and far from the ends of an int32

_FACTORS = {32: {"factor": "f4"}, 64: {"factor": "f8"}}
_LEFT = {"multiplier": "i4", "left": "i4", "right": "i4", "right_less_one": "i4", "shifts": "i4"}
_ONCE = {"multiplier": "i4", "nudge": "i8", "count": "i8", "sign_bit": "i4"}
_ONCE_64 = {"multiplier": "i8", "nudge": "i8", "count": "i8"}


def code_of(ending: Ending, wide: bool) -> tuple[dict[str, str], Code | None]:
    """The slots of a form with their types, and its code.

    Args:
        ending: what finishes the sums.
        wide: whether the sums have 64 bits.

    Returns:
        Slot -> type, the sums' beginning `bias` first; the code (a vector of sums -> a vector of outputs), or None for
        the sums themselves.

    Raises:
        Unsupported: there is no code for a value.
    """
    start = {"bias": "i8" if wide else "i4"}
    match ending:
        case Sums():
            return start, None
        case Linear():
            signed = {"less_if_negative": "i4"} if ending.signed else {}
            return start | _LINEAR | signed, _linear_signed if ending.signed else _linear
        case HybridEnding():
            slots, code = hybrid_code(ending)
        case Float() | TwoRoundings() | OneRounding():
            slots, code = _of_form(ending, wide)
        case never:
            assert_never(never)
    return start | slots, code


def _of_form(form: Requantize, wide: bool) -> tuple[dict[str, str], Code]:
    match form:
        case Float():
            return _FACTORS[form.bits] | _bias_slots(form), lambda u, acc: _float(u, acc, form, wide)
        case TwoRoundings():
            if form.tie == "half_even":
                raise Unsupported(_READER, "TwoRoundings.tie", form.tie)
            away = {"shifts_mask": "i4"} if form.tie == "half_away" else {}
            return _LEFT | away, lambda u, acc: _two_roundings(u, acc, form)
        case OneRounding():
            if form.result == "wide" and form.add == "wide":
                raise Unsupported(_READER, "OneRounding.result", form.result)
            if wide:
                return _ONCE_64, lambda u, acc: _one_rounding(u, _shifted_64(u, acc), form)
            return _ONCE, lambda u, acc: _one_rounding(u, _product_shifted(u, acc), form)
        case never:
            assert_never(never)


def _bias_slots(form: Float) -> dict[str, str]:
    match form.bias:
        case "in_acc":
            return {}
        case "fused":
            return {"bias_real": "f4", "reciprocal": "f4"}
        case "reciprocal" | "division":
            return {"bias_float": "f4"}
        case never:
            assert_never(never)


# After the rounding


def _finish(u: Unit, scaled: Any, add: Add, fits: bool, order: ClampOrder = "bounds") -> Any:
    """The zero point and the bounds; `fits`: that far from the ends of an int32, no sum wraps."""
    match add:
        case "wrap32":
            pass
        case "saturate16":
            pass  # the value has 16 bits, and the bounds lie within them
        case "wide":
            if not fits:
                scaled = u.v.clamp(scaled, u.v.const(u.v.i32, -_FAR), u.v.const(u.v.i32, _FAR))
        case never:
            assert_never(never)
    total = u.v.add(scaled, u.scalar("zero_point"))
    match order:
        case "bounds":
            return u.bounded(total)
        case "type_then_low":
            return u.bounded(total, "low", "type_max")
        case never_order:
            assert_never(never_order)


# Two roundings


def _two_roundings(u: Unit, acc: Any, form: TwoRoundings) -> Any:
    match form.left:
        case "wrap32":
            shifted = u.v.b.shl(acc, u.i32("left"))
        case "saturate32":
            shifted = _shift_left_saturating(u, acc)
        case never:
            assert_never(never)
    match form.high:
        case "half_up":
            high = u.v.high_mul(shifted, u.i32("multiplier"), 1 << 30)
        case "floor":
            high = u.v.high_mul(shifted, u.i32("multiplier"), 0)
        case never_high:
            assert_never(never_high)
    match form.tie:
        case "half_up":
            scaled = _half_up(u, high)
        case "half_away":
            scaled = _half_away(u, high)
        case "half_even":
            raise Unsupported(_READER, "TwoRoundings.tie", form.tie)
        case never_tie:
            assert_never(never_tie)
    return _finish(u, scaled, form.add, fits=form.least_right > 0)


def _shift_left_saturating(u: Unit, acc: Any) -> Any:
    v, b = u.v, u.v.b
    left = u.i32("left")
    shifted = b.shl(acc, left)
    sign = b.ashr(acc, v.const(v.i32, 31))
    limit = b.xor(sign, v.const(v.i32, _INT32_MAX))
    return b.select(b.icmp_signed("==", b.ashr(shifted, left), acc), shifted, limit)


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


# One rounding


def _product_shifted(u: Unit, acc: Any) -> Any:
    """The low 32 bits of `(acc * multiplier + nudge) >> count`, count 0 to 63, all in 64 bits.

    No vector instruction of AVX2 shifts 64 bits with their sign: 2^63 is added before an unsigned shift (it is in
    the slot `nudge`) and what it became, the slot `sign_bit`, is subtracted behind it.
    """
    v, b = u.v, u.v.b
    (ae, ao), (qe, qo) = v.even_odd(acc), v.even_odd(u.i32("multiplier"))
    (ne, no), (ce, co) = u.i64_halves("nudge"), u.i64_halves("count")
    even = b.lshr(b.add(b.mul(ae, qe), ne), ce)
    odd = b.lshr(b.add(b.mul(ao, qo), no), co)
    return b.sub(v.interleave_low(even, odd), u.i32("sign_bit"))


def _shifted_64(u: Unit, acc: Any) -> Any:
    """The same of 64-bit sums."""
    b = u.v.b
    total = b.add(b.mul(acc, u.i64("multiplier")), u.i64("nudge"))
    return b.trunc(b.ashr(total, u.i64("count")), u.v.i32)


def _one_rounding(u: Unit, shifted: Any, form: OneRounding) -> Any:
    if form.kept_bit:
        one = u.v.const(u.v.i32, 1)
        shifted = u.v.b.ashr(u.v.b.add(shifted, one), one)
    return _finish(u, shifted, form.add, fits=form.kept_bit)


# Floats


def _float(u: Unit, acc: Any, form: Float, wide: bool) -> Any:
    v = u.v
    product = _product(u, acc, form, wide)
    match form.limit:
        case "none":
            pass
        case "upper_bound":
            product = v.minimum_float(product, _as_kind(u, u.scalar("limit_float"), form))
        case "type":
            raised = v.maximum_float(product, _as_kind(u, u.scalar("type_low_float"), form))
            product = v.minimum_float(raised, _as_kind(u, u.scalar("type_high_float"), form))
        case never:
            assert_never(never)
    return _finish(u, _rounded(u, product, form), form.add, form.limit == "type", form.clamp_order)


def _as_kind(u: Unit, value: Any, form: Float) -> Any:
    """A float32 vector in the form's own float."""
    return value if form.bits == 32 else u.v.b.fpext(value, u.v.f64)


def _product(u: Unit, acc: Any, form: Float, wide: bool) -> Any:
    v = u.v
    kind = v.f32 if form.bits == 32 else v.f64
    factor = u.f32("factor") if form.bits == 32 else u.f64("factor")
    match form.bias:
        case "in_acc":
            narrow = acc if wide else _narrow(u, acc)
            return v.b.fmul(v.b.sitofp(narrow, kind), factor)
        case "fused":
            args = [u.f32("bias_real"), u.f32("reciprocal"), v.b.sitofp(acc, kind)]
            return v.b.fmul(v.call(f"llvm.fma.v{v.lanes}f32", v.f32, args), factor)
        case "reciprocal" | "division":
            return v.b.fmul(v.b.fadd(v.b.sitofp(acc, kind), u.f32("bias_float")), factor)
        case never:
            assert_never(never)


def _narrow(u: Unit, acc: Any) -> Any:
    """The accumulator of kernels that have fewer than 32 bits for it."""
    if not u.narrow:
        return acc
    unused = u.scalar("unused_bits")
    return u.v.b.ashr(u.v.b.shl(acc, unused), unused)


def _rounded(u: Unit, product: Any, form: Float) -> Any:
    """To int32. Limits that round to themselves come first: conversions take what is too large to INT32_MIN."""
    v = u.v
    double = form.bits == 64
    match form.out_of_range:
        case "int32_min" | "never":
            pass
        case "saturate16":
            kind = v.f64 if double else v.f32
            product = v.minimum_float(product, v.const(kind, 32767.0))
            product = v.maximum_float(product, v.const(kind, -32768.0))
        case "saturate32":
            # A float32 does not hold the upper end.
            product, double = (product if double else v.b.fpext(product, v.f64)), True
            product = v.minimum_float(product, v.const(v.f64, 2.0**31 - 1))
            product = v.maximum_float(product, v.const(v.f64, -(2.0**31)))
        case never:
            assert_never(never)
    if form.tie == "half_even" and not double:
        return v.round_to_int(product)
    product = product if double else v.b.fpext(product, v.f64)
    match form.tie:
        case "half_even":
            return v.truncate_to_int(v.call(f"llvm.roundeven.v{v.lanes}f64", v.f64, [product]))
        case "half_away":
            return v.round_half_away(product)
        case "half_up":
            whole = v.call(f"llvm.floor.v{v.lanes}f64", v.f64, [product])
            up = v.b.fcmp_ordered(">=", v.b.fsub(product, whole), v.const(v.f64, 0.5))
            return v.truncate_to_int(v.b.fadd(whole, v.b.select(up, v.const(v.f64, 1.0), v.const(v.f64, 0.0))))
        case never_tie:
            assert_never(never_tie)


# The cheap form


def _linear_total(u: Unit, acc: Any) -> Any:
    """`((acc << left) * multiplier >> 32) + addend`; see `jit_linear`."""
    high = u.v.high_half(u.v.b.shl(acc, u.i32("left")), u.i32("multiplier"))
    return u.v.add(high, u.i32("addend"))


def _linear(u: Unit, acc: Any) -> Any:
    return u.bounded(u.v.b.ashr(_linear_total(u, acc), u.i32("right")))


def _linear_signed(u: Unit, acc: Any) -> Any:
    b = u.v.b
    total = _linear_total(u, acc)
    negative = b.icmp_signed("<", acc, u.v.const(u.v.i32, 0))
    return u.bounded(b.ashr(b.select(negative, b.sub(total, u.i32("less_if_negative")), total), u.i32("right")))


_LINEAR = {"multiplier": "i4", "left": "i4", "right": "i4", "addend": "i4"}

# Constants


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
        Slot -> values; None where a shift in it is not covered, or the scales are not there.

    Raises:
        Unsupported: there is no code for a value of the form.
    """
    form, bits = params.rule.requantize, params.rule.sums.bits
    _of_form(form, bits == 64)
    if bits < 32 and not (isinstance(form, Float) and form.bias == "in_acc"):
        raise Unsupported(_READER, "Sums.bits", bits)
    match form:
        case Float():
            return _float_slots(form, params, input_scale, weights_scale)
        case TwoRoundings():
            return _two_slots(form, params)
        case OneRounding():
            return _one_slots(form, params)
        case never:
            assert_never(never)


def _float_slots(
    form: Float,
    params: RequantParams,
    input_scale: np.float32 | None,
    weights_scale: npt.NDArray[np.float32] | None,
) -> Slots | None:
    slots: Slots = {"factor": np.asarray(params.effective_scale, np.float32 if form.bits == 32 else np.float64)}
    match form.bias:
        case "in_acc":
            return slots
        case "fused":
            if params.bias is None or input_scale is None or weights_scale is None:
                return None
            scales = np.float32(input_scale) * weights_scale.astype(np.float32)
            return slots | {"bias_real": params.bias.astype(np.float32) * scales, "reciprocal": np.float32(1) / scales}
        case "reciprocal" | "division":
            if params.float_bias is None:
                return None
            return slots | {"bias_float": params.float_bias.astype(np.float32)}
        case never:
            assert_never(never)


def _two_slots(form: TwoRoundings, params: RequantParams) -> Slots | None:
    right = np.maximum(-params.shift, form.least_right)
    left = left_shift(form, params.shift)
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


def _one_slots(form: OneRounding, params: RequantParams) -> Slots | None:
    multiplier = params.multiplier if form.multiplier_bits == 31 else reduce_multiplier(params.multiplier)
    count = form.multiplier_bits - form.kept_bit - params.shift
    half = np.int64(1) << ((count - 1) & 63)
    match form.counts:
        case "plain":
            if (count < 0).any() or (count > 63).any():
                return None
            half = np.where(count > 0, half, 0)
        case "modulo_64":
            count = count & 63
        case never:
            assert_never(never)
    nudge = np.zeros_like(count) if form.kept_bit else half
    if params.rule.sums.bits == 64:
        return {"multiplier": multiplier, "nudge": nudge, "count": count}
    # 2^63 as an int64 wraps to its negative; so does the sum, as the vector code's does.
    sign = np.uint64(2**63) >> count.astype(np.uint64)
    return {
        "multiplier": multiplier,
        "nudge": (nudge.astype(np.uint64) + np.uint64(2**63)).astype(np.int64),
        "count": count,
        "sign_bit": (sign & np.uint64(0xFFFFFFFF)).astype(np.uint32).astype(np.int64),
    }
