"""Words that several runtimes' tables share."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .variant import Key, key_of

__all__ = [
    "COPIED",
    "EIGHT_BIT",
    "FLOAT_FUNCTIONS",
    "INT16_BIASES",
    "INT16_GRANULARITIES",
    "LITERT_DENSE_REFUSED",
    "MISREAD_BIAS",
    "RELUS",
    "TFLM_DENSE_REFUSED",
    "int16_by_reference",
    "int16_variant",
    "litert_around_dense",
]

EIGHT_BIT = ("int8", "uint8")
RELUS = ("RELU", "RELU6", "RELU_N1_TO_1")
COPIED = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")

_INEXACT = Refused(
    Refusal.NOT_EXACT, "not exact: float exp and tanh are vector polynomials that differ by kernel and CPU"
)

# Operators on float32 that no runtime calculates in a way that can be stated to the last bit for every CPU.
FLOAT_FUNCTIONS = {key_of(operator, "float32->float32"): _INEXACT for operator in ("SOFTMAX", "LOGISTIC", "TANH")}

_UNCHECKED = Refused(
    Refusal.UNDEFINED,
    "the runtime does not check these element types and takes one for another: it prints numbers without meaning, or "
    "writes beyond a buffer and crashes the process. Convert the model again",
)
_DENSE_TYPES = [(x, w, y) for x in EIGHT_BIT for w in (*EIGHT_BIT, "int4") for y in (*EIGHT_BIT, "int16")]
_DENSE_REAL = (("int8", "int8", "int8"), ("uint8", "uint8", "uint8"), ("int8", "int4", "int8"))
_GRANULARITIES = ("per_tensor", "per_channel")


def _dense(x: str, w: str, y: str, granularity: str) -> Key:
    types = x if x == w == y else f"{x} x {w} -> {y}"
    return key_of("FULLY_CONNECTED", f"{types} {granularity}")


# Dense layers with an 8-bit input that LiteRT's own kernels refuse, or run without checking what they are given.
LITERT_DENSE_REFUSED = {
    **{_dense(*t, g): _UNCHECKED for t in _DENSE_TYPES if t not in _DENSE_REAL for g in _GRANULARITIES},
    **{
        _dense(x, w, y, g): Refused(
            Refusal.RUNTIME, f"the runtime writes uint8, int8 and int16 from an 8-bit input, not {y}"
        )
        for x in EIGHT_BIT
        for w in (*EIGHT_BIT, "int4")
        for y in ("int32", "float32")
        for g in _GRANULARITIES
    },
    **{
        _dense("uint8", w, y, "per_channel"): Refused(
            Refusal.RUNTIME, "the runtime takes per-channel weights for int8 and int16 only"
        )
        for w in (*EIGHT_BIT, "int4")
        for y in (*EIGHT_BIT, "int16")
    },
    key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor weights_zero_point"): Refused(
        Refusal.RUNTIME, "the runtime takes int4 weights with zero point 0 only"
    ),
}

_TFLM_TYPES = Refused(
    Refusal.RUNTIME, "the interpreter wants an output of the input's type, and int8 or int4 weights to an int8 input"
)
# The same of TensorFlow Lite Micro, which checks its types.
TFLM_DENSE_REFUSED = {
    **{
        _dense(x, w, y, g): _TFLM_TYPES
        for x in EIGHT_BIT
        for w in (*EIGHT_BIT, "int4")
        for y in (*EIGHT_BIT, "int16", "int32", "float32")
        for g in _GRANULARITIES
        if (x, w, y) not in _DENSE_REAL
    },
    **{
        _dense("uint8", "uint8", "uint8", g): Refused(Refusal.RUNTIME, "the interpreter has no uint8 kernel for it")
        for g in _GRANULARITIES
    },
    _dense("int8", "int4", "int8", "per_channel"): Refused(
        Refusal.RUNTIME, "the interpreter takes int4 weights with one scale only"
    ),
}

# What is known of the bias of a dense layer with int16 activations: see ops.dense_layer.dense_variant.
INT16_BIASES = ("int64_bias", "int32_bias", "int32_bias_type", "no_bias")
INT16_GRANULARITIES = ("per_tensor", "per_tensor weights_zero_point", "per_channel")

MISREAD_BIAS = Refused(
    Refusal.NOT_EXACT,
    "not exact: this kernel reads the int32 bias as int64 and so beyond its end. Store the bias as int64, or let "
    "quantized_bias_type say INT32",
)
"""Of int16 layers with an int32 bias of which the model says nothing else."""


def int16_variant(weights: str, granularity: str, bias: str) -> Key:
    """The key of a dense layer with int16 activations and int8 or int4 weights."""
    return key_of("FULLY_CONNECTED", f"int16 x {weights} -> int16 {granularity} {bias}")


def int16_by_reference(
    kernel: Family, *granularities: str, names: tuple[str, str] = ("float64-half_away", "float64-half_away/acc64")
) -> dict[Key, Rule | Refused]:
    """LiteRT's reference arithmetic for int16 x int8 and int16 x int4: float64 on 64 bits, or on 32 where that is said.

    An int32 bias of which nothing is said is misread: `ops.dense.int16` refuses it. `names`: of the two rules.
    """
    return {
        int16_variant(weights, granularity, bias): Rule(names[bias != "int32_bias_type"], kernel)
        for weights in ("int8", "int4")
        for granularity in granularities
        for bias in INT16_BIASES
    }


def litert_around_dense(
    kernel: Family, *, quantize: str, requantize: str, dequantize: str, softmax: str, int16_curves: str
) -> dict[Key, Rule | Refused]:
    """What LiteRT's optimized and its reference kernels do around dense layers: the same except for a few rules.

    Args:
        kernel: the kernel family.
        quantize: the rule of QUANTIZE from float32.
        requantize: that of QUANTIZE between 8-bit types.
        dequantize: that of DEQUANTIZE from 8-bit types.
        softmax: that of SOFTMAX from 8-bit types.
        int16_curves: that of LOGISTIC and TANH on int16.
    """
    twice, ratio = Rule("q31_half_up_half_away", kernel), Rule("q31_half_up_half_away/float32_ratio", kernel)
    int16, int32 = ("int8->int16", "uint8->int16", "int16->int8"), ("int16->int32", "int32->int8", "int32->int16")
    narrow = ("int8->int8", "uint8->uint8", "int8->int16", "uint8->int16")
    return {
        **{key_of("QUANTIZE", f"float32->{t}"): Rule(quantize, kernel) for t in (*EIGHT_BIT, "int16")},
        **{key_of("QUANTIZE", f"{a}->{b}"): Rule(requantize, kernel) for a in EIGHT_BIT for b in EIGHT_BIT},
        **{key_of("QUANTIZE", types): twice for types in (*int16, "int16->int16", *int32)},
        **{key_of("DEQUANTIZE", f"{t}->float32"): Rule(dequantize, kernel) for t in EIGHT_BIT},
        key_of("DEQUANTIZE", "int16->float32"): Rule("float32_difference_times_scale", kernel),
        key_of("DEQUANTIZE", "float16->float32"): Rule("float16_widen", kernel),
        **{key_of(relu, f"{t}->{t}"): ratio for relu in RELUS for t in EIGHT_BIT},
        **{key_of(relu, "float32->float32"): Rule("float32_clamp", kernel) for relu in RELUS},
        key_of("RELU", "int16->int16"): ratio,
        key_of("RELU6", "int16->int16"): ratio,
        key_of("RELU_N1_TO_1", "int16->int16"): Refused(
            Refusal.RUNTIME, "the runtime takes float32, uint8 and int8 only"
        ),
        **{key_of("SOFTMAX", types): Rule(softmax, kernel) for types in narrow},
        key_of("SOFTMAX", "int16->int16"): Rule("interpolated_int16/float64_tables", kernel),
        **{key_of("LOGISTIC", f"{t}->{t}"): Rule("lut_expf_half_away", kernel) for t in EIGHT_BIT},
        **{key_of("TANH", f"{t}->{t}"): Rule("lut_tanhf_half_away", kernel) for t in EIGHT_BIT},
        key_of("LOGISTIC", "int16->int16"): Rule(int16_curves, kernel),
        key_of("TANH", "int16->int16"): Rule(int16_curves, kernel),
        **{key_of("RESHAPE", f"{t}->{t}"): Rule("copy", kernel) for t in COPIED},
        **FLOAT_FUNCTIONS,
    }
