"""Rules of requantization as C: one function for each rule, whole numbers only.

A rule that multiplies in floats gets the float's mantissa and exponent as integers: what a float32 or float64 product
and its rounding are is calculated in 64-bit integers, which no compiler may fuse or widen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ....model.types import Array, IntegerType
from ....rules.base import Unsupported
from ....rules.requantize.fold import RequantParams, multiplier_q15
from ....rules.requantize.forms import Add, Float, OneRounding, Requantize, Tie, TwoRoundings
from .library import Library

__all__ = ["READER", "Requantizer", "form_lines", "requantizer"]

READER = "c99"

_TIES: dict[Tie, str] = {"half_up": "round_half_up", "half_away": "round_half_away", "half_even": "round_half_even"}
_FLOAT_TIES: dict[Tie, int] = {"half_even": 0, "half_away": 1, "half_up": 2}


@dataclass(frozen=True, eq=False)
class Requantizer:
    """A rule's function in C and the numbers that it is given.

    Attributes:
        function: (acc, multiplier, shift, const requantization *) -> the clamped output, int32_t.
        structure: the type `requantization` that goes with it.
        names: what its numbers are called: multiplier and shift, or mantissa and exponent; then a bias that it adds.
        factors: each of them, all `[1]` or all `[channels]`, in the types that the function takes them in.
    """

    function: str
    structure: str
    names: tuple[str, ...]
    factors: tuple[Array, ...]


def requantizer(params: RequantParams, library: Library) -> Requantizer:
    """Write the rule of a layer's requantization.

    Args:
        params: the layer's folded constants.
        library: where the function goes.

    Raises:
        Unsupported: a value of a field that C does not have, or a factor that is not finite.
    """
    rule = params.rule
    wide = rule.sums.bits == 64
    lines = form_lines(rule.requantize, params.dtype, wide, library)
    names, stem, factors = _factors(rule.requantize, params)
    kinds = tuple(KINDS[values.dtype.name] for values in factors)
    stem_of_kinds = "requantization_with_bias" if len(kinds) > 2 else "requantization"
    stem_of_kinds += "64" if kinds[0] == "int64_t" else ""
    structure = library.function(stem_of_kinds, _structure(kinds, names))
    numbers = ", ".join(f"{kind} {name}" for kind, name in zip(kinds, names, strict=True))
    body = [
        f"/* {rule.name} */",
        f"static int32_t @({'int64_t' if wide else 'int32_t'} acc, {numbers}, const {structure} *q) {{",
        *(f"  {line}" for line in lines),
        "}",
    ]
    return Requantizer(library.function(stem, "\n".join(body)), structure, names, factors)


def form_lines(form: Requantize, dtype: IntegerType, wide: bool, library: Library) -> list[str]:
    """A form as statements: from `acc` and its two numbers to a return of the clamped output.

    Args:
        form: the form.
        dtype: the output's element type.
        wide: whether the accumulator has 64 bits.
        library: where helpers go.

    Raises:
        Unsupported: a value of a field that C does not have.
    """
    match form:
        case TwoRoundings():
            lines = _two_roundings(form, library)
        case OneRounding():
            lines = _one_rounding(form, wide, library)
        case Float():
            lines = _float(form, dtype, library)
        case never:
            assert_never(never)
    return [*lines, *_add(form.add, library), *_clamp(form, dtype, library)]


def _factors(form: Requantize, params: RequantParams) -> tuple[tuple[str, ...], str, tuple[Array, ...]]:
    """What a form's numbers are called, what its function is called, and the numbers."""
    match form:
        case TwoRoundings():
            factors = params.multiplier.astype(np.int32), params.shift.astype(np.int32)
            return ("multiplier", "shift"), "requantize_two_roundings", factors
        case OneRounding():
            q15 = multiplier_q15(params)
            factors = (params.multiplier if q15 is None else q15).astype(np.int32), params.shift.astype(np.int32)
            return ("multiplier", "shift"), "requantize_one_rounding", factors
        case Float(bias="in_acc"):
            return ("mantissa", "exponent"), f"requantize_float{form.bits}", _mantissas(form, params)
        case Float():
            bias = params.float_bias
            if bias is None or not np.isfinite(bias).all():
                raise Unsupported(READER, "bias", f"{form.bias}, of a bias that is infinite, no number or not known")
            each = [np.broadcast_to(values, bias.shape) for values in _mantissas(form, params)]
            return ("mantissa", "exponent", "bias_in_steps"), "requantize_with_bias", (*each, bias)
        case never:
            assert_never(never)


KINDS = {"int32": "int32_t", "int64": "int64_t", "float64": "double"}


def _structure(kinds: Sequence[str], names: Sequence[str]) -> str:
    (first, one), *others = zip(kinds, names, strict=True)
    return "\n".join(
        [
            "typedef struct {",
            f"  const {first} *{one}; /* one, or one for each channel */",
            *(f"  const {kind} *{name};" for kind, name in others),
            "  int32_t per_channel; /* 0 or 1 */",
            "  int32_t input_offset, filter_offset, output_offset;",
            "  int32_t activation_min, activation_max;",
            "} @;",
        ]
    )


def _two_roundings(form: TwoRoundings, library: Library) -> list[str]:
    library.helper("shift_right", _TIES[form.tie])
    least = form.least_right
    lines = [
        f"const int32_t right = -shift > {least} ? -shift : {least};",
        f"const int32_t left = shift + right < {31 + least} ? shift + right : {31 + least};",
    ]
    match form.left:
        case "wrap32":
            library.helper("wrap32")
            lines.append("const int32_t shifted = wrap32((uint32_t)((uint64_t)acc << left));")
        case "saturate32":
            library.helper("clamp")
            lines.append(
                "const int32_t shifted = (int32_t)clamp(acc * ((int64_t)1 << left), -INT64_C(0x80000000), "
                "INT64_C(0x7fffffff));"
            )
        case never:
            assert_never(never)
    match form.high:
        case "half_up":
            library.helper("high_product")
            lines.append("const int64_t high = high_product(shifted, multiplier);")
        case "floor":
            lines.append("const int64_t high = shift_right((int64_t)shifted * multiplier, 31);")
        case never_high:
            assert_never(never_high)
    return [*lines, f"const int64_t scaled = {_TIES[form.tie]}(high, right);"]


def _one_rounding(form: OneRounding, wide: bool, library: Library) -> list[str]:
    library.helper("shift_right")
    if wide:
        library.helper("wrap64")
        product = "wrap64((uint64_t)acc * (uint64_t)multiplier)"
    else:
        product = "(int64_t)acc * multiplier"
    lines = [f"const int64_t product = {product};"]
    bits = form.multiplier_bits
    if form.kept_bit:
        library.helper("wrap32")
        count = _count(form, f"{bits - 1} - shift")
        return [
            *lines,
            f"const int32_t doubled = wrap32((uint32_t)shift_right(product, {count}));",
            "const int64_t scaled = shift_right(wrap32((uint32_t)doubled + 1u), 1);",
        ]
    match form.counts:
        case "plain":
            library.helper("round_half_up")
            value = f"round_half_up(product, {_count(form, f'{bits} - shift')})"
        case "modulo_64":
            library.helper("wrap64")
            half = f"UINT64_C(1) << (({bits - 1} - shift) & 63)"
            value = f"shift_right(wrap64((uint64_t)product + ({half})), ({bits} - shift) & 63)"
        case never:
            assert_never(never)
    match form.result:
        case "wide":
            return [*lines, f"const int64_t scaled = {value};"]
        case "wrap32":
            library.helper("wrap32")
            return [*lines, f"const int64_t scaled = wrap32((uint32_t){value});"]
        case never_result:
            assert_never(never_result)


def _count(form: OneRounding, count: str) -> str:
    match form.counts:
        case "plain":
            return f"{count} > 0 ? {count} : 0"
        case "modulo_64":
            return f"({count}) & 63"
        case never:
            assert_never(never)


def _float(form: Float, dtype: IntegerType, library: Library) -> list[str]:
    library.helper(f"float{form.bits}_product")
    lines, acc = [], "acc"
    if form.bias != "in_acc":
        library.helper("with_bias")
        lines, acc = ["const int32_t sum = with_bias(acc, bias_in_steps, &exponent);"], "sum"
    lines.append(f"int64_t scaled = float{form.bits}_product({acc}, mantissa, exponent, {_FLOAT_TIES[form.tie]});")
    match form.limit:
        case "none":
            pass
        case "upper_bound":
            lines += [
                "const int64_t most = (int64_t)q->activation_max - q->output_offset;",
                "scaled = scaled < most ? scaled : most;",
            ]
        case "type":
            library.helper("clamp")
            lines.append(f"scaled = clamp(scaled, {dtype.qmin} - q->output_offset, {dtype.qmax} - q->output_offset);")
        case never:
            assert_never(never)
    match form.out_of_range:
        case "int32_min":
            lines += [
                "if (scaled >= INT64_C(0x80000000) || scaled <= -INT64_C(0x80000000)) {",
                "  scaled = -INT64_C(0x80000000);",
                "}",
            ]
        case "saturate32":
            library.helper("clamp")
            lines.append("scaled = clamp(scaled, -INT64_C(0x80000000), INT64_C(0x7fffffff));")
        case "saturate16":
            library.helper("clamp")
            lines.append("scaled = clamp(scaled, -32768, 32767);")
        case "never":
            pass
        case never_range:
            assert_never(never_range)
    return lines


def _mantissas(form: Float, params: RequantParams) -> tuple[Array, Array]:
    """Each factor as an integer of 24 or 53 bits times a power of two: exact."""
    factor = params.effective_scale.astype(np.float32 if form.bits == 32 else np.float64)
    if not np.isfinite(factor).all():
        raise Unsupported(READER, "effective_scale", "infinite or no number")
    bits, kind = (24, np.int32) if form.bits == 32 else (53, np.int64)
    fraction, exponent = np.frexp(factor.astype(np.float64))
    return np.ldexp(fraction, bits).astype(kind), (exponent - bits).astype(np.int32)


def _add(add: Add, library: Library) -> list[str]:
    match add:
        case "wrap32":
            library.helper("wrap32")
            return ["int64_t total = wrap32((uint32_t)(scaled + q->output_offset));"]
        case "saturate16":
            library.helper("clamp")
            return ["int64_t total = clamp(scaled + q->output_offset, -32768, 32767);"]
        case "wide":
            return ["int64_t total = scaled + q->output_offset;"]
        case never:
            assert_never(never)


def _clamp(form: Requantize, dtype: IntegerType, library: Library) -> Sequence[str]:
    order = form.clamp_order if isinstance(form, Float) else "bounds"
    match order:
        case "bounds":
            library.helper("clamp")
            return ["return (int32_t)clamp(total, q->activation_min, q->activation_max);"]
        case "type_then_low":
            return [
                f"total = total < {dtype.qmax} ? total : {dtype.qmax};",
                "return (int32_t)(total > q->activation_min ? total : q->activation_min);",
            ]
        case never:
            assert_never(never)
