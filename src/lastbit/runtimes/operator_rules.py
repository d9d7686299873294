"""Which rule each runtime follows in the operators around dense layers: convolutions, pools, arithmetic, shapes."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .derive import hybrid_rules
from .table_parts import EIGHT_BIT, MISREAD_BIAS
from .variant import Key, key_of

__all__ = [
    "BUILTIN_HYBRID",
    "BUILTIN_OPERATORS",
    "REFERENCE_HYBRID",
    "REFERENCE_OPERATORS",
    "TFLM_OPERATORS",
    "XNNPACK_AVX2_OPERATORS",
    "XNNPACK_AVXVNNI_OPERATORS",
    "XNNPACK_HYBRID_BOUND_FIRST",
    "XNNPACK_OPERATORS",
]

Rules = dict[Key, Rule | Refused]

_NO_UINT8 = Refused(Refusal.RUNTIME, "the interpreter has no uint8 kernel for it")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_COPIES = (
    "BATCH_TO_SPACE_ND",
    "CONCATENATION",
    "EXPAND_DIMS",
    "GATHER",
    "MIRROR_PAD",
    "PACK",
    "PAD",
    "PADV2",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TRANSPOSE",
    "UNPACK",
)
_COMPARISONS = ("MAXIMUM", "MINIMUM")
_MOVED = ("float32", "int8", "uint8", "int16", "int32")
_INT8 = ("int8 per_tensor", "int8 per_channel")


def _same(operators: tuple[str, ...], types: tuple[str, ...], rule: str, kernel: Family) -> Rules:
    """One rule for several operators whose input and output have one type."""
    return {key_of(operator, f"{t}->{t}"): Rule(rule, kernel) for operator in operators for t in types}


def _convolutions(operators: tuple[str, ...], variants: tuple[str, ...], rule: str, kernel: Family) -> Rules:
    return {key_of(operator, variant): Rule(rule, kernel) for operator in operators for variant in variants}


def _variables(types: tuple[str, ...], kernel: Family) -> Rules:
    """Operators that keep values between calls."""
    return {
        key_of("VAR_HANDLE", "absent->resource"): Rule("variable", kernel),
        **{key_of("READ_VARIABLE", f"resource->{t}"): Rule("variable", kernel) for t in types},
        **{key_of("ASSIGN_VARIABLE", f"{t}->resource"): Rule("variable", kernel) for t in types},
    }


def _copies(types: tuple[str, ...], kernel: Family) -> Rules:
    """Operators that only move values, with SPLIT, FILL and SHAPE, whose first input is not the array."""
    return {
        **_same(_COPIES, types, "copy", kernel),
        **{key_of("SPLIT", f"int32->{t}"): Rule("copy", kernel) for t in types},
        **{key_of("FILL", f"{n}->{t}"): Rule("copy", kernel) for n in ("int32", "int64") for t in types},
        **{key_of("SHAPE", f"{t}->{n}"): Rule("copy", kernel) for n in ("int32", "int64") for t in types},
    }


_GROUPED = tuple(f"{variant} grouped" for variant in _INT8)
_INT16 = tuple(f"int16 x int8 -> int16 {granularity}" for granularity in ("per_tensor", "per_channel"))
_GROUPED_INT16 = tuple(f"{variant} grouped" for variant in _INT16)


def _int16_convolutions(rules: dict[str, str], grouped: dict[str, str], kernel: Family) -> Rules:
    """Convolutions of int16 by int8: bias -> rule, of all and of those with groups."""
    by_name = (("CONV_2D", _INT16, rules), ("CONV_2D", _GROUPED_INT16, grouped), ("DEPTHWISE_CONV_2D", _INT16, rules))
    table: Rules = {
        key_of(operator, f"{variant} {bias}"): Rule(rule, kernel)
        for operator, variants, biases in by_name
        for variant in variants
        for bias, rule in biases.items()
        if operator == "CONV_2D" or bias in ("int64_bias", "no_bias")
    }
    if "int32_bias" not in rules:
        table |= {key_of("CONV_2D", f"{variant} int32_bias"): MISREAD_BIAS for variant in (*_INT16, *_GROUPED_INT16)}
    reason = MISREAD_BIAS if kernel == Family.TFLM else Refused(Refusal.RUNTIME, "the runtime wants an int64 bias")
    return table | {key_of("DEPTHWISE_CONV_2D", f"{variant} int32_bias"): reason for variant in _INT16}


_ARG_TYPES = ("int8", "uint8", "int32", "float32")


def _float_forms(kernel: Family, hard_swish: str) -> Rules:
    """Operators on float32 that round once, or in an order that is known."""
    return {
        **_same(("ADD", "SUB", "MUL", "LEAKY_RELU"), ("float32",), "float32", kernel),
        key_of("HARD_SWISH", "float32->float32"): Rule(hard_swish, kernel),
        **_same(("MEAN", "SUM"), ("float32",), "float32_in_order", kernel),
        key_of("AVERAGE_POOL_2D", "float32->float32"): Rule("float32_in_order", kernel),
        key_of("MAX_POOL_2D", "float32->float32"): Rule("float32_first", kernel),
    }


def _positions(types: tuple[str, ...], outputs: tuple[str, ...], kernel: Family) -> Rules:
    """ARG_MAX and ARG_MIN; a runtime that does not take a type refuses it."""
    return {
        key_of(operator, f"{t}->{n}"): Rule("first_position", kernel)
        if t in types and n in outputs
        else Refused(Refusal.RUNTIME, f"the interpreter takes {', '.join(types)} and gives {', '.join(outputs)}")
        for operator in ("ARG_MAX", "ARG_MIN")
        for t in ("int8", "uint8", "int16", "int32", "float32")
        for n in ("int32", "int64")
    }


_READ_AS_INT64 = {"int64_bias": "q15-half_up/dd", "no_bias": "q15-half_up/dd"}
_UNSETTLED_ORDER = Refused(
    Refusal.NOT_EXACT, "not exact: the order in which this kernel adds depends on the shape and is not known"
)
_FLOAT = "float32 unquantized"
_HYBRID = tuple(f"float32 x int8 -> float32 {granularity}" for granularity in ("per_tensor", "per_channel"))
_GROUPED_HYBRID = tuple(f"{variant} grouped" for variant in _HYBRID)
_SATURATE = "float32-half_even-saturate"
_HALF_AWAY = "q31-half_up-half_away/dd"

XNNPACK_OPERATORS: Rules = {
    # The depthwise kernels add the zero point in 16 bits, saturating; the matrix products in 32.
    **_convolutions(("CONV_2D",), (*_INT8, *_GROUPED), "float32-half_even/by_window", Family.XNNPACK),
    **_convolutions(("DEPTHWISE_CONV_2D",), _INT8, "float32-half_even/by_window", Family.XNNPACK),
    **_convolutions(_CONVOLUTIONS, ("uint8 per_tensor",), "float32-half_even", Family.XNNPACK),
    **_same(("MAX_POOL_2D",), EIGHT_BIT, "maximum/half_even", Family.XNNPACK),
    **_same(("ADD", "SUB"), EIGHT_BIT, "q20_half_up", Family.XNNPACK),
    **_same(("MUL",), EIGHT_BIT, "float32_half_even", Family.XNNPACK),
    **_same(("LEAKY_RELU",), EIGHT_BIT, "q8_half_up", Family.XNNPACK),
    **_same(("MEAN", "SUM"), EIGHT_BIT, "float32_bias_half_even", Family.XNNPACK),
    **_same(
        ("CONCATENATION", "PAD", "SLICE", "STRIDED_SLICE", "TRANSPOSE"),
        ("int8", "uint8", "float32"),
        "copy",
        Family.XNNPACK,
    ),
    **{key_of("SPLIT", f"int32->{t}"): Rule("copy", Family.XNNPACK) for t in ("int8", "uint8", "float32")},
    **_same(("ADD", "SUB", "MUL"), ("float32",), "float32_flush", Family.XNNPACK),
    **_same(_COMPARISONS, ("float32",), "compare_flush", Family.XNNPACK),
    **_same(("LEAKY_RELU",), ("float32",), "float32_below_zero_flush", Family.XNNPACK),
    **_same(("HARD_SWISH",), ("float32",), "float32_fused_flush", Family.XNNPACK),
    **{key_of(operator, "float32->float32"): _UNSETTLED_ORDER for operator in ("MEAN", "SUM")},
    key_of("AVERAGE_POOL_2D", "float32->float32"): Refused(
        Refusal.NOT_EXACT, "not exact: the order in which XNNPACK adds is not known"
    ),
    key_of("MAX_POOL_2D", "float32->float32"): Refused(
        Refusal.NOT_EXACT, "not exact: which of 0.0 and -0.0 XNNPACK takes is not known"
    ),
    key_of("BATCH_MATMUL", "int8->int8"): Rule("float32-half_even", Family.XNNPACK),
    **_convolutions(("TRANSPOSE_CONV",), (*_INT8, "uint8 per_tensor"), "float32-half_even", Family.XNNPACK),
    **{
        key: rule
        for key, rule in _variables((*EIGHT_BIT, "float32"), Family.XNNPACK).items()
        if key != key_of("VAR_HANDLE", "absent->resource")
    },
    **_convolutions(("CONV_2D",), (_FLOAT, f"{_FLOAT} grouped"), "float32_fma/bias_first", Family.XNNPACK),
    key_of("DEPTHWISE_CONV_2D", _FLOAT): Rule("float32_fma/bias_first", Family.XNNPACK),
    **_convolutions(("CONV_2D",), (*_HYBRID, *_GROUPED_HYBRID), "hybrid-qd8-fma/images", Family.XNNPACK),
}

XNNPACK_HYBRID_BOUND_FIRST: Rules = {
    **hybrid_rules(Family.XNNPACK, "hybrid-qd8-fma-bound_first", "hybrid-qd8-fma"),
    **_convolutions(("CONV_2D",), (*_HYBRID, *_GROUPED_HYBRID), "hybrid-qd8-fma-bound_first/images", Family.XNNPACK),
}
"""Hybrid layers by the kernels of other x86-64 CPUs."""

# What other kernels do otherwise than those of AVX512-VNNI: those of AVX-VNNI, and those of AVX2.
XNNPACK_AVXVNNI_OPERATORS: Rules = {
    **_same(("LEAKY_RELU",), ("float32",), "float32_by_sign_flush", Family.XNNPACK),
}

XNNPACK_AVX2_OPERATORS: Rules = {
    **XNNPACK_AVXVNNI_OPERATORS,
    **_convolutions(("CONV_2D",), (*_INT8, *_GROUPED), _SATURATE, Family.XNNPACK),
    **_convolutions(("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), _INT8, _SATURATE, Family.XNNPACK),
    key_of("BATCH_MATMUL", "int8->int8"): Rule(_SATURATE, Family.XNNPACK),
}


def _litert_operators(kernel: Family) -> Rules:
    """What LiteRT's optimized and its reference kernels do alike."""
    return {
        **_convolutions(("CONV_2D",), _GROUPED, "q31-half_up-half_away/dd", kernel),
        **_same(("AVERAGE_POOL_2D",), (*EIGHT_BIT, "int16"), "mean_half_away", kernel),
        **_same(("MAX_POOL_2D",), (*EIGHT_BIT, "int16"), "maximum/half_away", kernel),
        **_same(("HARD_SWISH",), EIGHT_BIT, "fixed_point_int16", kernel),
        **_copies(_MOVED, kernel),
        **_variables(_MOVED, kernel),
        key_of("CALL_ONCE", "absent->absent"): Rule("variable", kernel),
        **_same(_COMPARISONS, ("int8", "uint8", "int16", "int32", "float32"), "compare", kernel),
        key_of("CONV_2D", f"{_FLOAT} grouped"): Rule("float32_in_order/bias_last", kernel),
        **_positions(_ARG_TYPES, ("int32", "int64"), kernel),
        key_of("BATCH_MATMUL", "int8->int8"): Rule("q31-half_up-half_away/fd", kernel),
        key_of("BATCH_MATMUL", "int16->int16"): Rule("q15-half_up/fd", kernel),
    }


def _transpose_convolutions(rule: str, kernel: Family, uint8: Rule | Refused) -> Rules:
    """TRANSPOSE_CONV: the rule of int8, and of int16 with an int32 bias that is stated; what uint8 follows."""
    table: Rules = {key_of("TRANSPOSE_CONV", variant): Rule(rule, kernel) for variant in _INT8}
    table[key_of("TRANSPOSE_CONV", "uint8 per_tensor")] = uint8
    for variant in _INT16:
        for bias in ("int64_bias", "no_bias"):
            table[key_of("TRANSPOSE_CONV", f"{variant} {bias}")] = Rule("q15-half_up/dd", kernel)
        stated = MISREAD_BIAS if kernel is Family.TFLM else Rule(rule, kernel)
        table[key_of("TRANSPOSE_CONV", f"{variant} int32_bias_type")] = stated
        table[key_of("TRANSPOSE_CONV", f"{variant} int32_bias")] = MISREAD_BIAS
    return table


BUILTIN_OPERATORS: Rules = {
    **_litert_operators(Family.BUILTIN),
    **_transpose_convolutions("q31-by_channel/dd", Family.BUILTIN, Rule("q31-by_element/fd", Family.BUILTIN)),
    **_convolutions(("CONV_2D",), _INT8, "q31-half_up-half_up/dd", Family.BUILTIN),
    key_of("CONV_2D", "uint8 per_tensor"): Rule("q31-half_up-half_up/fd", Family.BUILTIN),
    **_int16_convolutions(
        {**_READ_AS_INT64, "int32_bias_type": "q31-half_up-half_up/dd"},
        {**_READ_AS_INT64, "int32_bias_type": _HALF_AWAY},
        Family.BUILTIN,
    ),
    **_convolutions(("DEPTHWISE_CONV_2D",), _INT8, "q31-by_channel/dd", Family.BUILTIN),
    key_of("DEPTHWISE_CONV_2D", "uint8 per_tensor"): Rule("q31-half_up-half_away/fd", Family.BUILTIN),
    **_same(("ADD",), EIGHT_BIT, "fixed_point_vector", Family.BUILTIN),
    **_same(("SUB",), EIGHT_BIT, "fixed_point", Family.BUILTIN),
    **_same(("ADD",), ("int16",), "fixed_point_vector/power_of_two", Family.BUILTIN),
    **_same(("SUB",), ("int16",), "fixed_point/power_of_two", Family.BUILTIN),
    **_same(("MUL",), ("int16",), "q31_half_up_half_away/float32", Family.BUILTIN),
    **_same(("MUL",), EIGHT_BIT, "q31_vector/float32", Family.BUILTIN),
    **_same(("MEAN",), EIGHT_BIT, "q31_height_width", Family.BUILTIN),
    **_same(("MEAN",), ("int16",), "q31_folded_count", Family.BUILTIN),
    **_same(("LEAKY_RELU",), EIGHT_BIT, "q31_half_up_half_away/float32", Family.BUILTIN),
    **_same(("LEAKY_RELU",), ("int16",), "q31_half_up_half_away/float32_signed", Family.BUILTIN),
    **_same(("SUM",), (*EIGHT_BIT, "int16"), "float32_sum", Family.BUILTIN),
    **_same(("RESIZE_NEAREST_NEIGHBOR",), ("float32", "int16"), "nearest/float32", Family.BUILTIN),
    **_same(("RESIZE_NEAREST_NEIGHBOR",), EIGHT_BIT, "nearest/fixed16", Family.BUILTIN),
    **_float_forms(Family.BUILTIN, "float32_vector4"),
    key_of("MEAN", "float32->float32"): _UNSETTLED_ORDER,
    key_of("CONV_2D", _FLOAT): Refused(
        Refusal.NOT_EXACT,
        "not exact: Eigen's matrix product adds in an order that depends on the layer's shape and the CPU's cache "
        "sizes",
    ),
    key_of("DEPTHWISE_CONV_2D", _FLOAT): Rule("float32_in_order/bias_first", Family.BUILTIN),
}

# Hybrid convolutions on x86-64; on ARM64 see `arm64_rules`.
_GROUPS = "hybrid-int8-weights_first/images"
BUILTIN_HYBRID: Rules = {
    **_convolutions(("CONV_2D",), _HYBRID, "hybrid-int8-scales_first/images", Family.BUILTIN),
    **_convolutions(("CONV_2D",), _GROUPED_HYBRID, _GROUPS, Family.BUILTIN),
    **_convolutions(("DEPTHWISE_CONV_2D",), _HYBRID, "hybrid-int8-in_fours/depthwise", Family.BUILTIN),
}
REFERENCE_HYBRID: Rules = {
    **_convolutions(("CONV_2D",), (*_HYBRID, *_GROUPED_HYBRID), _GROUPS, Family.REFERENCE),
    **_convolutions(("DEPTHWISE_CONV_2D",), _HYBRID, "hybrid-int8-scales_first/depthwise", Family.REFERENCE),
}

REFERENCE_OPERATORS: Rules = {
    **_litert_operators(Family.REFERENCE),
    **_transpose_convolutions(_HALF_AWAY, Family.REFERENCE, Rule("q31-half_up-half_away/fd", Family.REFERENCE)),
    **_convolutions(_CONVOLUTIONS, _INT8, "q31-half_up-half_away/dd", Family.REFERENCE),
    **_convolutions(_CONVOLUTIONS, ("uint8 per_tensor",), "q31-half_up-half_away/fd", Family.REFERENCE),
    **_int16_convolutions(
        {**_READ_AS_INT64, "int32_bias_type": _HALF_AWAY},
        {**_READ_AS_INT64, "int32_bias_type": _HALF_AWAY},
        Family.REFERENCE,
    ),
    **_same(("ADD", "SUB"), EIGHT_BIT, "fixed_point", Family.REFERENCE),
    **_same(("ADD", "SUB"), ("int16",), "fixed_point/power_of_two", Family.REFERENCE),
    **_same(("MUL",), (*EIGHT_BIT, "int16"), "q31_half_up_half_away/float32", Family.REFERENCE),
    **_same(("RESIZE_NEAREST_NEIGHBOR",), ("float32", *EIGHT_BIT, "int16"), "nearest/float32", Family.REFERENCE),
    **_same(("MEAN",), (*EIGHT_BIT, "int16"), "q31_folded_count", Family.REFERENCE),
    **_same(("LEAKY_RELU",), (*EIGHT_BIT, "int16"), "q31_half_up_half_away/float32", Family.REFERENCE),
    **{
        key_of("SUM", f"{t}->{t}"): Refused(
            Refusal.NOT_EXACT, "not exact: the reference kernel prints numbers that its input does not decide"
        )
        for t in (*EIGHT_BIT, "int16")
    },
    **_float_forms(Family.REFERENCE, "float32_division"),
    **_convolutions(_CONVOLUTIONS, (_FLOAT,), "float32_in_order/bias_last", Family.REFERENCE),
}

TFLM_OPERATORS: Rules = {
    **_variables(_MOVED, Family.TFLM),
    key_of("CALL_ONCE", "absent->absent"): Rule("variable", Family.TFLM),
    **_transpose_convolutions(_HALF_AWAY, Family.TFLM, _NO_UINT8),
    **_convolutions(_CONVOLUTIONS, _INT8, "q31-half_up-half_away/dd", Family.TFLM),
    **_convolutions(("CONV_2D",), _GROUPED, "q31-half_up-half_away/dd", Family.TFLM),
    **{key_of(operator, "uint8 per_tensor"): _NO_UINT8 for operator in _CONVOLUTIONS},
    **_int16_convolutions(
        {**_READ_AS_INT64, "int32_bias_type": _HALF_AWAY, "int32_bias": _HALF_AWAY},
        {**_READ_AS_INT64, "int32_bias_type": _HALF_AWAY, "int32_bias": _HALF_AWAY},
        Family.TFLM,
    ),
    **_same(("AVERAGE_POOL_2D",), ("int8", "int16"), "mean_half_away", Family.TFLM),
    **_same(("MAX_POOL_2D",), ("int8", "int16"), "maximum/half_away", Family.TFLM),
    **_same(("ADD", "SUB"), ("int8", "int16"), "fixed_point", Family.TFLM),
    **_same(("MUL",), ("int8", "int16"), "q31_half_up_half_away/float64", Family.TFLM),
    **_same(("MEAN", "SUM"), ("int8", "int16"), "q31_folded_count", Family.TFLM),
    **_same(("LEAKY_RELU",), ("int8", "int16"), "q31_half_up_half_away/float64", Family.TFLM),
    **_same(("HARD_SWISH",), ("int8",), "fixed_point_int16", Family.TFLM),
    **_copies(tuple(t for t in _MOVED if t != "uint8"), Family.TFLM),
    **_same(_COMPARISONS, ("int8", "int16", "int32", "float32"), "compare", Family.TFLM),
    **_float_forms(Family.TFLM, "float32_division"),
    **_convolutions(_CONVOLUTIONS, (_FLOAT,), "float32_in_order/bias_last", Family.TFLM),
    key_of("CONV_2D", f"{_FLOAT} grouped"): Rule("float32_in_order/bias_last", Family.TFLM),
    **{
        key_of(operator, variant): Refused(Refusal.RUNTIME, "the interpreter has no hybrid convolutions")
        for operator in _CONVOLUTIONS
        for variant in (*_HYBRID, *_GROUPED_HYBRID)
        if operator == "CONV_2D" or "grouped" not in variant
    },
    **_positions(("int8", "float32"), ("int32",), Family.TFLM),
    key_of("BATCH_MATMUL", "int8->int8"): Rule("q31-half_up-half_away/dd", Family.TFLM),
    key_of("BATCH_MATMUL", "int16->int16"): Rule("q15-half_up/dd", Family.TFLM),
    **{
        key_of(operator, "int32->int32"): Refused(Refusal.RUNTIME, "the interpreter has no int32 kernel for it")
        for operator in ("TRANSPOSE", "EXPAND_DIMS")
    },
    **_same(("SPACE_TO_BATCH_ND",), ("int8", "float32"), "copy/without_padding", Family.TFLM),
    **_same(("GATHER",), ("int8", "float32"), "copy/int32_positions", Family.TFLM),
    **{
        key_of(operator, f"{t}->{t}"): Refused(Refusal.RUNTIME, "the interpreter has kernels for int8 and float32 only")
        for operator in ("BATCH_TO_SPACE_ND", "GATHER", "MIRROR_PAD", "SPACE_TO_BATCH_ND")
        for t in ("int16", "int32")
    },
    **_same(("RESIZE_NEAREST_NEIGHBOR",), ("float32", "int8", "int16"), "nearest/float32", Family.TFLM),
    key_of("RESIZE_NEAREST_NEIGHBOR", "uint8->uint8"): _NO_UINT8,
    key_of("SQUEEZE", "uint8->uint8"): Rule("copy", Family.TFLM),
    **{key_of(operator, "uint8->uint8"): _NO_UINT8 for operator in (*_COPIES, *_COMPARISONS) if operator != "SQUEEZE"},
    key_of("SPLIT", "int32->uint8"): _NO_UINT8,
    key_of("SHAPE", "uint8->int32"): Rule("copy", Family.TFLM),
    **{
        key_of("SHAPE", f"{t}->int64"): Refused(Refusal.RUNTIME, "the interpreter gives shapes as int32 only")
        for t in (*_MOVED, "uint8")
    },
    **{
        key_of("FILL", f"{n}->{t}"): Refused(Refusal.RUNTIME, "the interpreter fills with float32, int8 and int32 only")
        for n in ("int32", "int64")
        for t in ("int16", "uint8")
    },
    **{
        key_of(operator, "uint8->uint8"): _NO_UINT8
        for operator in (*_POOLS, "ADD", "SUB", "MUL", "MEAN", "SUM", "LEAKY_RELU", "HARD_SWISH")
    },
}
