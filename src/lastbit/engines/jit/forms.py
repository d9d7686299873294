"""The reader of requantization forms that gives vector code: from int32 (or int64) sums to clamped outputs.

A form's code has slots: constants of each unit, laid out vector by vector behind each other (`slots`). Scalars are the
same for all units. A value that there is no code for raises `Unsupported`; the caller then requantizes with NumPy.

The order of the rounding steps is that of the NumPy functions. Where those hold a value in 64 bits only so that
nothing overflows, the code here does the same in 32 with formulas that cannot overflow:
`floor((v + 2^(R-1)) / 2^R) = (v >> R) + ((v >> (R-1)) & 1)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from ...rules.base import Unsupported
from ...rules.requantize.forms import Add, ClampOrder, Float, OneRounding, Requantize, TwoRoundings
from .fused import Fused
from .hybrid_forms import HybridEnding, hybrid_code
from .linear import Linear
from .unit import Unit

__all__ = ["READER", "SUMS", "Ending", "PlainSums", "code_of"]

Code = Callable[[Unit, Any], Any]


@dataclass(frozen=True)
class PlainSums:
    """The sums themselves, which are not requantized."""


SUMS = PlainSums()

Ending = Requantize | Fused | Linear | HybridEnding | PlainSums
"""What finishes the sums of a tile: fields, by which its code is made and found again."""

READER = "llvm"
"""What errors call this reader."""
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
        case PlainSums():
            return start, None
        case Fused():
            return start | _FUSED, _fused_signed if ending.signed else _fused
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
                raise Unsupported(READER, "TwoRoundings.tie", form.tie)
            away = {"shifts_mask": "i4"} if form.tie == "half_away" else {}
            return _LEFT | away, lambda u, acc: _two_roundings(u, acc, form)
        case OneRounding():
            match form.result:
                case "wide":
                    if form.add == "wide":
                        raise Unsupported(READER, "OneRounding.result", form.result)
                case "wrap32":
                    pass
                case never_result:
                    assert_never(never_result)
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
            raise Unsupported(READER, "TwoRoundings.tie", form.tie)
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


# The cheaper forms


def _fused(u: Unit, acc: Any) -> Any:
    return u.bounded(u.v.round_to_int(_fused_total(u, acc, signed=False)))


def _fused_signed(u: Unit, acc: Any) -> Any:
    v = u.v
    total = _fused_total(u, acc, signed=True)
    # Far from the ends of an int32, where LLVM's own conversion is undefined.
    return u.bounded(v.add(v.b.fptosi(total, v.i32), u.scalar("zero_point")))


def _fused_total(u: Unit, acc: Any, *, signed: bool) -> Any:
    """`acc * multiplier + addend`; see `fused`."""
    v = u.v
    real, addend = v.b.sitofp(acc, v.f32), u.f32("addend")
    if signed:
        addend = v.call(f"llvm.copysign.v{v.lanes}f32", v.f32, [addend, real])
    return v.call(f"llvm.fma.v{v.lanes}f32", v.f32, [real, u.f32("multiplier"), addend])


def _linear_total(u: Unit, acc: Any) -> Any:
    """`((acc << left) * multiplier >> 32) + addend`; see `linear`."""
    high = u.v.high_half(u.v.b.shl(acc, u.i32("left")), u.i32("multiplier"))
    return u.v.add(high, u.i32("addend"))


def _linear(u: Unit, acc: Any) -> Any:
    return u.bounded(u.v.b.ashr(_linear_total(u, acc), u.i32("right")))


def _linear_signed(u: Unit, acc: Any) -> Any:
    b = u.v.b
    total = _linear_total(u, acc)
    negative = b.icmp_signed("<", acc, u.v.const(u.v.i32, 0))
    return u.bounded(b.ashr(b.select(negative, b.sub(total, u.i32("less_if_negative")), total), u.i32("right")))


_FUSED = {"multiplier": "f4", "addend": "f4"}
_LINEAR = {"multiplier": "i4", "left": "i4", "right": "i4", "addend": "i4"}
