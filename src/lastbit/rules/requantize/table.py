"""Every rule of integer layers that a runtime follows, or that is a rival of one: one line each.

Adding a rule that is made of known values is adding its line here.
"""

from __future__ import annotations

from dataclasses import replace

from ..base import (
    NEIGHBOURS,
    ChannelGroups,
    Either,
    ElementGroups,
    IntegerRule,
    OneRow,
    Scales,
    Sums,
    ThreeByThree,
    Window,
)
from .forms import Float, OneRounding, TwoRoundings
from .names import canonical_name

__all__ = [
    "AROUND_DENSE",
    "CHOICES",
    "CHOICES_AROUND_DENSE",
    "COMMON",
    "COMMON_INT16",
    "EIGHT_BIT",
    "INT16",
    "RULES",
    "line_of",
]

_ACC = Sums(32)
_ACC_64 = Sums(64)
_ACC_28 = Sums(28)
_PAIRS = Sums(32, NEIGHBOURS)
_NO_ZW = Sums(32, weights_zero_point="ignored")

_DD, _FD, _FF = Scales("dd"), Scales("fd"), Scales("ff")
_FIRST_DD, _FIRST_FD = Scales("dd", "first"), Scales("fd", "first")

# LiteRT's reference kernels, on x86-64 and on ARM64, where a conversion saturates.
_FLOAT64 = Float(64, "half_away", "in_acc", "none", "int32_min", "wrap32", "bounds")
_FLOAT64_ARM = Float(64, "half_away", "in_acc", "none", "saturate32", "wrap32", "bounds")
# XNNPACK: x86-64 with AVX512; KleidiAI's SME kernels; lanes of 16 bits.
_FLOAT32 = Float(32, "half_even", "in_acc", "upper_bound", "int32_min", "wrap32", "type_then_low")
_FLOAT32_ARM = Float(32, "half_even", "in_acc", "none", "saturate32", "wrap32", "bounds")
_FLOAT32_16 = Float(32, "half_even", "in_acc", "none", "saturate16", "saturate16", "bounds")
# ONNX Runtime.
_CLIP = Float(32, "half_even", "in_acc", "type", "never", "wide", "bounds")
# PyTorch's fbgemm. What its source says of the per-tensor kernel is `reciprocal`; no build that was run does it.
_FUSED = Float(32, "half_even", "fused", "none", "int32_min", "wide", "bounds")
_RECIPROCAL = Float(32, "half_even", "reciprocal", "none", "int32_min", "wide", "bounds")
_DIVISION = Float(32, "half_even", "division", "none", "int32_min", "wide", "bounds")
# LiteRT's builtin kernels, TensorFlow Lite Micro, CMSIS-NN; gemmlowp's pipeline; ruy on ARM64; XNNPACK's "rndnu".
_UP_UP = TwoRoundings("wrap32", "half_up", "half_up", 0, "wrap32")
_UP_AWAY = TwoRoundings("wrap32", "half_up", "half_away", 0, "wrap32")
_UP_AWAY_SATURATE = TwoRoundings("saturate32", "half_up", "half_away", 0, "wrap32")
_FLOOR_UP = TwoRoundings("wrap32", "floor", "half_up", 1, "wrap32")
_FLOOR_UP_SATURATE = TwoRoundings("saturate32", "floor", "half_up", 1, "wide")
_FLOOR_UP_WIDE = TwoRoundings("wrap32", "floor", "half_up", 1, "wide")
_SINGLE = OneRounding(31, False, "plain", "wide", "wrap32")
_Q15 = OneRounding(15, False, "modulo_64", "wrap32", "wrap32")
# CMSIS-NN built with CMSIS_NN_USE_SINGLE_ROUNDING, and its kernels for int16.
_SINGLE_KEPT = OneRounding(31, True, "plain", "wrap32", "wrap32")
_Q15_KEPT = OneRounding(15, True, "plain", "wrap32", "wrap32")

RULES: dict[str, IntegerRule] = {
    rule.name: rule
    for rule in (
        IntegerRule("float64-half_away", _ACC, _DD, _FLOAT64, "half_away"),
        IntegerRule("float64-half_away/acc64", _ACC_64, _DD, _FLOAT64, "half_away"),
        IntegerRule("float64-half_away-saturate", _ACC, _DD, _FLOAT64_ARM, "half_away"),
        IntegerRule("float64-half_away-saturate/acc64", _ACC_64, _DD, _FLOAT64_ARM, "half_away"),
        IntegerRule("float32-half_even", _ACC, _FF, _FLOAT32, "half_even"),
        IntegerRule("float32-half_even/acc28", _ACC_28, _FF, _FLOAT32, "half_even"),
        IntegerRule("float32-half_even/weights_zero_point_ignored", _NO_ZW, _FF, _FLOAT32, "half_even"),
        IntegerRule("float32-half_even-saturate32", _ACC, _FF, _FLOAT32_ARM, "half_even"),
        IntegerRule("float32-half_even-saturate", _ACC, _FF, _FLOAT32_16, "half_even"),
        IntegerRule("float32-half_even-saturate/acc28", _ACC_28, _FF, _FLOAT32_16, "half_even"),
        IntegerRule("float32-half_even-saturate/weights_zero_point_ignored", _NO_ZW, _FF, _FLOAT32_16, "half_even"),
        IntegerRule("float32-clip-half_even", _ACC, _FF, _CLIP, "half_even_then_zero_point"),
        IntegerRule("float32-clip-half_even/pairs", _PAIRS, _FF, _CLIP, "half_even_then_zero_point"),
        IntegerRule("float32-bias_fused-half_even", _ACC, _FF, _FUSED, "half_away"),
        IntegerRule("float32-bias_fused-half_even/pairs", _PAIRS, _FF, _FUSED, "half_away"),
        IntegerRule("float32-bias_by_reciprocal-half_even", _ACC, _FF, _RECIPROCAL, "half_away"),
        IntegerRule("float32-bias_by_division-half_even", _ACC, _FF, _DIVISION, "half_away"),
        IntegerRule("float32-bias_by_division-half_even/pairs", _PAIRS, _FF, _DIVISION, "half_away"),
        IntegerRule("q31-half_up-half_up/dd", _ACC, _DD, _UP_UP, "half_away"),
        IntegerRule("q31-half_up-half_up/fd", _ACC, _FD, _UP_UP, "half_away"),
        IntegerRule("q31-half_up-half_away/dd", _ACC, _DD, _UP_AWAY, "half_away"),
        IntegerRule("q31-half_up-half_away/fd", _ACC, _FD, _UP_AWAY, "half_away"),
        IntegerRule("q31-half_up-half_away/dd/first_weights_scale", _ACC, _FIRST_DD, _UP_AWAY, "half_away"),
        IntegerRule("q31-half_up-half_away/fd/first_weights_scale", _ACC, _FIRST_FD, _UP_AWAY, "half_away"),
        IntegerRule("q31-half_up-half_away-saturate/fd", _ACC, _FD, _UP_AWAY_SATURATE, "half_away"),
        IntegerRule("q31-floor-half_up/fd", _ACC, _FD, _FLOOR_UP, "half_away"),
        IntegerRule("q31-floor-half_up/dd", _ACC, _DD, _FLOOR_UP, "half_away"),
        IntegerRule("q31-floor-half_up-saturate/ff", _ACC, _FF, _FLOOR_UP_SATURATE, "half_even"),
        IntegerRule("q31-floor-half_up/ff", _ACC, _FF, _FLOOR_UP_WIDE, "half_even"),
        IntegerRule("q31-single-half_up/dd", _ACC, _DD, _SINGLE, "half_away"),
        IntegerRule("q31-single-half_up/fd", _ACC, _FD, _SINGLE, "half_away"),
        IntegerRule("q31-single_wrap-half_up/dd", _ACC, _DD, _SINGLE_KEPT, "half_away"),
        IntegerRule("q15-half_up/dd", _ACC_64, _DD, _Q15, "half_away"),
        IntegerRule("q15-half_up/fd", _ACC_64, _FD, _Q15, "half_away"),
        IntegerRule("q15-half_up/dd/first_weights_scale", _ACC_64, _FIRST_DD, _Q15, "half_away"),
        IntegerRule("q15-half_up/fd/first_weights_scale", _ACC_64, _FIRST_FD, _Q15, "half_away"),
        IntegerRule("q15_wrap-half_up/dd", _ACC_64, _DD, _Q15_KEPT, "half_away"),
    )
}
"""Name -> rule."""


def _named(*names: str) -> dict[str, IntegerRule]:
    return {name: RULES[name] for name in names}


COMMON = _named(
    "float64-half_away",
    "q31-half_up-half_up/dd",
    "q31-half_up-half_up/fd",
    "q31-half_up-half_away/dd",
    "q31-half_up-half_away/fd",
    "q31-single-half_up/dd",
    "q31-single-half_up/fd",
    "float32-half_even",
)
"""What a layer with an 8-bit input could be thought to follow: rivals of each other, name -> rule."""

COMMON_INT16 = COMMON | _named("float64-half_away/acc64", "q15-half_up/dd", "q15-half_up/fd")
"""The same for int16 inputs."""

AROUND_DENSE = COMMON_INT16 | _named(
    "float32-half_even-saturate",
    "float32-half_even-saturate32",
    "q31-floor-half_up/dd",
    "q31-floor-half_up/fd",
    "q31-floor-half_up/ff",
    "q31-floor-half_up-saturate/ff",
)
"""The rules of convolutions and matrix products."""

EIGHT_BIT = {name: rule for name, rule in RULES.items() if (rule.sums, rule.scales.weights_scale) == (_ACC, "own")}
"""All rules that requantize a whole 32-bit accumulator in another way."""

INT16 = COMMON_INT16 | _named(
    "q15_wrap-half_up/dd",
    "float64-half_away-saturate",
    "float64-half_away-saturate/acc64",
    "q31-floor-half_up/fd",
    "q31-floor-half_up/dd",
)
"""All that a layer with int16 inputs follows somewhere, or could be thought to follow."""

_BY_FIELDS = {rule: rule for rule in RULES.values()}


def line_of(rule: IntegerRule) -> IntegerRule:
    """The table's line with these fields; without one, the rule by a name that is made of its fields."""
    return _BY_FIELDS.get(rule) or replace(rule, name=canonical_name(rule))


# LiteRT's product of a matrix with one vector, tried before the matrix library: it takes four units and eight values at
# a time and has no smaller form.
_ONE_ROW = OneRow(least_units=4, least_depth=8)


def _by_rows(name: str, one_row: str, rows: str) -> Either:
    return Either(name, _ONE_ROW, RULES[one_row], RULES[rows])


CHOICES: dict[str, Either] = {
    choice.name: choice
    for choice in (
        _by_rows("q31-by_rows-single/fd", "q31-half_up-half_up/fd", "q31-single-half_up/fd"),
        _by_rows("q31-by_rows-single/dd", "q31-half_up-half_up/dd", "q31-single-half_up/dd"),
        _by_rows("q31-by_rows-floor/fd", "q31-half_up-half_up/fd", "q31-floor-half_up/fd"),
        _by_rows("q31-by_rows-floor/dd", "q31-half_up-half_up/dd", "q31-floor-half_up/dd"),
    )
}
"""Name -> choice of two, of dense layers."""

# A vector loop takes eight output channels at a time and rounds half up; what is left over is rounded half away.
_GROUPS = ChannelGroups(8)
# The same of sixteen output elements at a time, wherever rows and channels end.
_ELEMENTS = ElementGroups(16)
# XNNPACK has depthwise kernels for windows of up to 25 taps; all else is a matrix product.
_WINDOW = Window(25)
# KleidiAI's kernels for SME do not take a dense layer over pixels whose weights have one scale.
_WINDOW_OR_PIXELS = Window(25, or_pixels=True)
# LiteRT's builtin kernels for 3x3 depthwise filters on ARM64.
_FILTER = ThreeByThree(8)

CHOICES_AROUND_DENSE: dict[str, Either] = {
    choice.name: choice
    for choice in (
        Either("q31-by_channel/dd", _GROUPS, RULES["q31-half_up-half_up/dd"], RULES["q31-half_up-half_away/dd"]),
        Either("q31-by_channel/fd", _GROUPS, RULES["q31-half_up-half_up/fd"], RULES["q31-half_up-half_away/fd"]),
        Either("q31-by_element/fd", _ELEMENTS, RULES["q31-half_up-half_up/fd"], RULES["q31-half_up-half_away/fd"]),
        Either("float32-half_even/by_window", _WINDOW, RULES["float32-half_even-saturate"], RULES["float32-half_even"]),
        *(
            Either(name, when, RULES["float32-half_even-saturate"], RULES["float32-half_even-saturate32"])
            for name, when in (
                ("float32-half_even-saturate32/by_window", _WINDOW),
                ("float32-half_even-saturate32/by_window_or_pixels", _WINDOW_OR_PIXELS),
            )
        ),
        Either(
            "q31-floor-half_up/by_window",
            _WINDOW,
            RULES["q31-floor-half_up/ff"],
            RULES["q31-floor-half_up-saturate/ff"],
        ),
        Either("q31-by_filter/fd", _FILTER, RULES["q31-half_up-half_up/fd"], RULES["q31-half_up-half_away/fd"]),
        *CHOICES.values(),
    )
}
"""The same of convolutions."""
