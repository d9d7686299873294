"""Which rule each runtime follows in the operators around dense layers: convolutions, pools, arithmetic, shapes."""

from __future__ import annotations

from .base import Refused, Rule
from .shared import EIGHT_BIT

__all__ = ["BUILTIN_OPERATORS", "REFERENCE_OPERATORS", "TFLM_OPERATORS", "XNNPACK_OPERATORS"]

Rules = dict[tuple[str, str], Rule | Refused]

_NO_UINT8 = Refused("the interpreter has no uint8 kernel for it")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_COPIES = (
    "CONCATENATION",
    "EXPAND_DIMS",
    "PACK",
    "PAD",
    "PADV2",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TRANSPOSE",
    "UNPACK",
)
_COMPARISONS = ("MAXIMUM", "MINIMUM")
_MOVED = ("float32", "int8", "uint8", "int16", "int32")
_INT8 = ("int8 per_tensor", "int8 per_channel")


def _same(operators: tuple[str, ...], types: tuple[str, ...], rule: str, kernel: str) -> Rules:
    """One rule for several operators whose input and output have one type."""
    return {(operator, f"{t}->{t}"): Rule(rule, kernel) for operator in operators for t in types}


def _convolutions(operators: tuple[str, ...], variants: tuple[str, ...], rule: str, kernel: str) -> Rules:
    return {(operator, variant): Rule(rule, kernel) for operator in operators for variant in variants}


def _copies(types: tuple[str, ...], kernel: str) -> Rules:
    """Operators that only move values, with SPLIT, FILL and SHAPE, whose first input is not the array."""
    return {
        **_same(_COPIES, types, "copy", kernel),
        **{("SPLIT", f"int32->{t}"): Rule("copy", kernel) for t in types},
        **{("FILL", f"{n}->{t}"): Rule("copy", kernel) for n in ("int32", "int64") for t in types},
        **{("SHAPE", f"{t}->{n}"): Rule("copy", kernel) for n in ("int32", "int64") for t in types},
    }


_GROUPED = tuple(f"{variant} grouped" for variant in _INT8)

XNNPACK_OPERATORS: Rules = {
    **_convolutions(("CONV_2D",), (*_INT8, *_GROUPED, "uint8 per_tensor"), "float32-half_even", "xnnpack"),
    **_convolutions(("DEPTHWISE_CONV_2D",), (*_INT8, "uint8 per_tensor"), "float32-half_even", "xnnpack"),
    **_same(("MAX_POOL_2D",), EIGHT_BIT, "maximum/half_even", "xnnpack"),
    **_same(("ADD", "SUB"), EIGHT_BIT, "q20_half_up", "xnnpack"),
    **_same(("MUL",), EIGHT_BIT, "float32_half_even", "xnnpack"),
    **_same(("LEAKY_RELU",), EIGHT_BIT, "q8_half_up", "xnnpack"),
    **_same(("MEAN", "SUM"), EIGHT_BIT, "float32_bias_half_even", "xnnpack"),
    **_same(("CONCATENATION", "PAD", "STRIDED_SLICE", "TRANSPOSE"), ("int8", "uint8", "float32"), "copy", "xnnpack"),
    **{("SPLIT", f"int32->{t}"): Rule("copy", "xnnpack") for t in ("int8", "uint8", "float32")},
}

BUILTIN_OPERATORS: Rules = {
    **_convolutions(("CONV_2D",), _INT8, "q31-half_up-half_up/dd", "builtin"),
    **_convolutions(("CONV_2D",), _GROUPED, "q31-half_up-half_away/dd", "builtin"),
    ("CONV_2D", "uint8 per_tensor"): Rule("q31-half_up-half_up/fd", "builtin"),
    **_convolutions(("DEPTHWISE_CONV_2D",), _INT8, "q31-by_channel/dd", "builtin"),
    ("DEPTHWISE_CONV_2D", "uint8 per_tensor"): Rule("q31-half_up-half_away/fd", "builtin"),
    **_same(("AVERAGE_POOL_2D",), (*EIGHT_BIT, "int16"), "mean_half_away", "builtin"),
    **_same(("MAX_POOL_2D",), (*EIGHT_BIT, "int16"), "maximum/half_away", "builtin"),
    **_same(("ADD",), (*EIGHT_BIT, "int16"), "fixed_point_vector", "builtin"),
    **_same(("SUB",), (*EIGHT_BIT, "int16"), "fixed_point", "builtin"),
    **_same(("MUL",), ("int16",), "q31_half_up_half_away/float32", "builtin"),
    **_same(("MUL",), EIGHT_BIT, "q31_vector/float32", "builtin"),
    **_same(("MEAN",), EIGHT_BIT, "q31_height_width", "builtin"),
    **_same(("LEAKY_RELU",), (*EIGHT_BIT, "int16"), "q31_half_up_half_away/float32", "builtin"),
    **_same(("HARD_SWISH",), EIGHT_BIT, "fixed_point_int16", "builtin"),
    **_same(("SUM",), EIGHT_BIT, "float32_sum", "builtin"),
    **_copies(_MOVED, "builtin"),
    **_same(_COMPARISONS, ("int8", "uint8", "int16", "int32"), "compare", "builtin"),
}

REFERENCE_OPERATORS: Rules = {
    **_convolutions(_CONVOLUTIONS, _INT8, "q31-half_up-half_away/dd", "reference"),
    **_convolutions(("CONV_2D",), _GROUPED, "q31-half_up-half_away/dd", "reference"),
    **_convolutions(_CONVOLUTIONS, ("uint8 per_tensor",), "q31-half_up-half_away/fd", "reference"),
    **_same(("AVERAGE_POOL_2D",), (*EIGHT_BIT, "int16"), "mean_half_away", "reference"),
    **_same(("MAX_POOL_2D",), (*EIGHT_BIT, "int16"), "maximum/half_away", "reference"),
    **_same(("ADD", "SUB"), (*EIGHT_BIT, "int16"), "fixed_point", "reference"),
    **_same(("MUL",), (*EIGHT_BIT, "int16"), "q31_half_up_half_away/float32", "reference"),
    **_same(("MEAN",), EIGHT_BIT, "q31_folded_count", "reference"),
    **_same(("LEAKY_RELU",), (*EIGHT_BIT, "int16"), "q31_half_up_half_away/float32", "reference"),
    **_same(("HARD_SWISH",), EIGHT_BIT, "fixed_point_int16", "reference"),
    **{
        ("SUM", f"{t}->{t}"): Refused("not exact: what the reference kernel adds up is not understood")
        for t in EIGHT_BIT
    },
    **_copies(_MOVED, "reference"),
    **_same(_COMPARISONS, ("int8", "uint8", "int16", "int32"), "compare", "reference"),
}

TFLM_OPERATORS: Rules = {
    **_convolutions(_CONVOLUTIONS, _INT8, "q31-half_up-half_away/dd", "tflm"),
    **_convolutions(("CONV_2D",), _GROUPED, "q31-half_up-half_away/dd", "tflm"),
    **{(operator, "uint8 per_tensor"): _NO_UINT8 for operator in _CONVOLUTIONS},
    **_same(("AVERAGE_POOL_2D",), ("int8", "int16"), "mean_half_away", "tflm"),
    **_same(("MAX_POOL_2D",), ("int8", "int16"), "maximum/half_away", "tflm"),
    **_same(("ADD", "SUB"), ("int8", "int16"), "fixed_point", "tflm"),
    **_same(("MUL",), ("int8", "int16"), "q31_half_up_half_away/float64", "tflm"),
    **_same(("MEAN", "SUM"), ("int8",), "q31_folded_count", "tflm"),
    **_same(("LEAKY_RELU",), ("int8", "int16"), "q31_half_up_half_away/float64", "tflm"),
    **_same(("HARD_SWISH",), ("int8",), "fixed_point_int16", "tflm"),
    **_copies(tuple(t for t in _MOVED if t != "uint8"), "tflm"),
    **_same(_COMPARISONS, ("int8", "int16", "int32"), "compare", "tflm"),
    **{
        (operator, "int32->int32"): Refused("the interpreter has no int32 kernel for it")
        for operator in ("TRANSPOSE", "EXPAND_DIMS")
    },
    ("SQUEEZE", "uint8->uint8"): Rule("copy", "tflm"),
    **{(operator, "uint8->uint8"): _NO_UINT8 for operator in (*_COPIES, *_COMPARISONS) if operator != "SQUEEZE"},
    ("SPLIT", "int32->uint8"): _NO_UINT8,
    ("SHAPE", "uint8->int32"): Rule("copy", "tflm"),
    **{("SHAPE", f"{t}->int64"): Refused("the interpreter gives shapes as int32 only") for t in (*_MOVED, "uint8")},
    **{
        ("FILL", f"{n}->{t}"): Refused("the interpreter fills with float32, int8 and int32 only")
        for n in ("int32", "int64")
        for t in ("int16", "uint8")
    },
    **{
        (operator, "uint8->uint8"): _NO_UINT8
        for operator in (*_POOLS, "ADD", "SUB", "MUL", "MEAN", "SUM", "LEAKY_RELU", "HARD_SWISH")
    },
}
