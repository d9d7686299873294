"""Every rule of the operators around dense layers that is a list of stages, or a choice of two: one line each.

Names are those of one operator: two operators may have a rule of one name that are not the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ..base import ChannelGroups, ElementGroups
from ..requantize.forms import TwoRoundings
from .forms import (
    Affine,
    Centered,
    Combined,
    CountDivision,
    Factor,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    Halved,
    HighProduct,
    Largest,
    Product15,
    Quotient,
    Register,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Total,
    Weighted,
)
from .rule import (
    Choice,
    HeightAndWidth,
    InnerGroups,
    NotNegative,
    Output,
    PowersOfTwo,
    RealOutput,
    Staged,
    StagedRule,
)

__all__ = [
    "ADD_SUB",
    "AVERAGE_POOL",
    "DEQUANTIZE",
    "HARD_SWISH",
    "LEAKY_RELU",
    "MAX_POOL",
    "MEAN",
    "MUL",
    "QUANTIZE",
    "RELU",
    "STAGED_RULES",
    "SUM",
]

_Rules = Mapping[str, StagedRule]

_EIGHT_BIT = ("int8", "uint8")
_AWAY = TwoRoundings("wrap32", "half_up", "half_away", 0, "wrap32")
_UP = TwoRoundings("wrap32", "half_up", "half_up", 0, "wrap32")
_CENTERED = Centered("centered")
_BOTH_CENTERED = (Centered("centered_1", 1), Centered("centered_2", 2))
_RATIO_32 = Factor(32, ("s_1",), ("s_y",))
_RATIO_64 = Factor(64, ("s_1",), ("s_y",))
_ADDED = Output("acc_scaled", "wrap32")


def _named(*rules: StagedRule) -> _Rules:
    return {rule.name: rule for rule in rules}


# ADD and SUB: both inputs to twice the larger scale, with 20 or 15 bits more; the sum to the output's scale.
_TO_LARGER = (Factor(64, ("s_1",), ("twice_larger",)), Factor(64, ("s_2",), ("twice_larger",)))
_FROM_LARGER = Factor(64, ("twice_larger",), ("headroom", "s_y"))


def _fixed_point(form: TwoRoundings | HighProduct, add: Register) -> Staged:
    sides = (Rescaled(f"scaled_{n}", f"centered_{n}", _TO_LARGER[n - 1], form, headroom=True) for n in (1, 2))
    total = Combined("sum", ("scaled_1", "scaled_2"), "sum", "wrap32")
    return Staged(
        "fixed_point",
        (*_BOTH_CENTERED, *sides, total, Rescaled("acc_scaled", "sum", _FROM_LARGER, _AWAY)),
        Output("acc_scaled", add),
    )


_FIXED_POINT = _fixed_point(_AWAY, "wrap32")
_BEFORE, _AFTER = HighProduct("before"), HighProduct("after")
# The vector loops of x86 builds.
_FIXED_POINT_VECTOR = Choice(
    "fixed_point_vector",
    InnerGroups(16, ("int8",), "no"),
    _fixed_point(_BEFORE, "wrap16"),
    Choice(
        "fixed_point_vector",
        InnerGroups(16, ("int16",), "no", broadcast=False),
        _fixed_point(_BEFORE, "wrap32"),
        Choice(
            "fixed_point_vector",
            InnerGroups(8, ("uint8",), "no"),
            _fixed_point(_AFTER, "wrap16"),
            Choice(
                "fixed_point_vector", InnerGroups(8, _EIGHT_BIT, "yes"), _fixed_point(_AFTER, "wrap16"), _FIXED_POINT
            ),
        ),
    ),
)
_POWER = ShiftedRight("half_away")
_SHIFTED = Staged(
    "power_of_two",
    (
        *_BOTH_CENTERED,
        Rescaled("scaled_1", "centered_1", Factor(32, ("s_1",), ("s_y",)), _POWER),
        Rescaled("scaled_2", "centered_2", Factor(32, ("s_2",), ("s_y",)), _POWER),
        Combined("acc_scaled", ("scaled_1", "scaled_2"), "sum", "saturate16"),
    ),
    _ADDED,
)

ADD_SUB = _named(
    _FIXED_POINT,
    _FIXED_POINT_VECTOR,
    Staged(
        "q20_half_up",
        (
            *_BOTH_CENTERED,
            Weighted(
                "acc_scaled",
                "sum",
                ("centered_1", "centered_2"),
                (Factor(32, ("s_1",), ("s_y",)), Factor(32, ("s_2",), ("s_y",))),
                20,
            ),
        ),
        Output("acc_scaled", "wrap32", bounds="half_even"),
    ),
    Choice("fixed_point/power_of_two", PowersOfTwo(1), _SHIFTED, _FIXED_POINT, types=("int16",)),
    Choice("fixed_point_vector/power_of_two", PowersOfTwo(1), _SHIFTED, _FIXED_POINT_VECTOR, types=("int16",)),
)


def _product(name: str, bits: Literal[32, 64], output: Output, types: tuple[str, ...] = ()) -> Staged:
    factor = Factor(bits, ("s_1", "s_2"), ("s_y",))
    product = Combined("product", ("centered_1", "centered_2"), "product", "wide")
    return Staged(name, (*_BOTH_CENTERED, product, Rescaled("acc_scaled", "product", factor, _AWAY)), output, types)


_Q31_PRODUCT = _product("q31_half_up_half_away/float32", 32, _ADDED)
_SATURATED = _product("q31_vector/float32", 32, Output("acc_scaled", "wrap16", keep="saturate16"))
_WRAPPED = _product("q31_vector/float32", 32, Output("acc_scaled", "wrap16"))

MUL = _named(
    _Q31_PRODUCT,
    _product("q31_half_up_half_away/float64", 64, _ADDED),
    Choice(
        "q31_vector/float32",
        InnerGroups(16, ("int8",), "either"),
        _SATURATED,
        Choice(
            "q31_vector/float32",
            InnerGroups(8, ("uint8", "int16"), "no"),
            _SATURATED,
            Choice("q31_vector/float32", InnerGroups(8, ("uint8", "int16"), "yes"), _WRAPPED, _Q31_PRODUCT),
        ),
    ),
    Staged(
        "float32_half_even",
        (
            *_BOTH_CENTERED,
            Combined("product", ("centered_1", "centered_2"), "product", "wide"),
            FloatScaled("scaled", "product", Factor(32, ("s_1", "s_2"), ("s_y",))),
            FloatRounded("acc_scaled", "scaled", "half_even", out_of_range="int32_min"),
        ),
        Output("acc_scaled", "wrap32", bounds="half_even"),
    ),
)


def _total(name: str, factor: Factor, *, count: bool) -> Staged:
    rescaled = Rescaled("acc_scaled", "sum", factor, _AWAY, count_in_multiplier=count)
    return Staged(name, (Total("sum", True), rescaled), _ADDED)


def _float_total(name: str, factor: Factor) -> Staged:
    stages = (
        Total("sum", True),
        Total("raw_sum", False),
        FloatScaled("product", "raw_sum", factor),
        Affine("moved", "product", "both", factor),
        FloatRounded("with_zero_point", "moved", "half_even"),
    )
    return Staged(name, stages, Output("with_zero_point", "nothing"), fits_int32=True)


def _height_width(form: TwoRoundings) -> Staged:
    factor = Factor(32, ("s_1",), ("count", "s_y"))
    stages = (Total("sum", True), Total("raw_sum", False), Rescaled("acc_scaled", "raw_sum", factor, form))
    return Staged("q31_height_width", stages, Output("acc_scaled", "rounded_offset"), fits_int32=True)


_FOLDED = _total("q31_folded_count", _RATIO_64, count=True)

MEAN = _named(
    _FOLDED,
    _float_total("float32_bias_half_even", Factor(32, ("s_1",), ("s_y",), ("one_by_count",))),
    Choice(
        "q31_height_width",
        HeightAndWidth(),
        Choice("q31_height_width", ChannelGroups(16), _height_width(_UP), _height_width(_AWAY)),
        replace(_FOLDED, fits_int32=True),
    ),
)

SUM = _named(
    _total("q31_folded_count", _RATIO_64, count=False),
    _float_total("float32_bias_half_even", _RATIO_32),
    Staged(
        "float32_sum",
        (
            Total("sum", True),
            Total("raw_sum", False),
            FloatScaled("product", "raw_sum", _RATIO_32),
            Affine("moved", "product", "input", _RATIO_32),
            FloatRounded("acc_scaled", "moved", "half_away"),
        ),
        _ADDED,
        fits_int32=True,
    ),
)

AVERAGE_POOL = _named(
    Staged(
        "mean_half_away",
        (Total("sum", False), CountDivision("mean", "sum", "half_away")),
        Output("mean", "nothing"),
    )
)

MAX_POOL = _named(
    Staged("maximum/half_away", (Largest("maximum"),), Output("maximum", "nothing")),
    Staged("maximum/half_even", (Largest("maximum"),), Output("maximum", "nothing", bounds="half_even")),
)


def _from_float(quotient: Quotient, rounded: FloatRounded, name: str, types: tuple[str, ...] = ()) -> Staged:
    return Staged(name, (quotient, rounded), _ADDED, types)


_KEPT = Centered("centered", 1, "wrap32")
_REQUANTIZED = Staged("q31_half_up_half_away", (_KEPT, Rescaled("acc_scaled", "centered", _RATIO_64, _AWAY)), _ADDED)

QUANTIZE = _named(
    _from_float(
        Quotient("scaled", 32, "division", False),
        FloatRounded("acc_scaled", "scaled", "half_away", "none", "int32_min"),
        "float32_divide_half_away",
    ),
    Choice(
        "vector8_inverse_half_even",
        ElementGroups(8),
        _from_float(
            Quotient("scaled", 32, "inverse", False),
            FloatRounded("acc_scaled", "scaled", "half_even", "none", "int32_min"),
            "vector8_inverse_half_even",
        ),
        _from_float(
            Quotient("scaled", 64, "division", False),
            FloatRounded("acc_scaled", "scaled", "half_away", "none", "int32_min"),
            "vector8_inverse_half_even",
        ),
    ),
    _from_float(
        Quotient("scaled", 32, "inverse", True),
        FloatRounded("acc_scaled", "scaled", "half_even", "int16_max", "saturate16"),
        "float32_inverse_half_even_saturate",
        types=_EIGHT_BIT,
    ),
    _REQUANTIZED,
    Choice(
        "q31_vector16_half_up",
        ElementGroups(16),
        Staged("q31_vector16_half_up", (_KEPT, Rescaled("acc_scaled", "centered", _RATIO_64, _UP)), _ADDED),
        _REQUANTIZED,
        types=_EIGHT_BIT,
    ),
    Staged(
        "q8_half_up",
        (_KEPT, Rescaled("acc_scaled", "centered", _RATIO_32, FixedBits(8))),
        _ADDED,
        types=_EIGHT_BIT,
    ),
)

_DIFFERENCE = Staged("float32_difference_times_scale", (_CENTERED,), RealOutput("centered", "difference"))

DEQUANTIZE = _named(
    _DIFFERENCE,
    replace(_DIFFERENCE, name="float32_difference_times_scale/any_zero_point", symmetric_int16=False),
    Choice(
        "float32_vector8_product_plus_offset",
        ElementGroups(8),
        Staged("float32_vector8_product_plus_offset", (_CENTERED,), RealOutput("input", "product_plus_offset")),
        _DIFFERENCE,
    ),
    Staged("float16_widen", (), RealOutput("input", "widened"), types=("float16",)),
)

RELU = _named(
    Staged(
        "q31_half_up_half_away/float32_ratio", (_CENTERED, Rescaled("acc_scaled", "centered", _RATIO_32, _AWAY)), _ADDED
    ),
    Staged(
        "q31_half_up_half_away/float64_ratio", (_CENTERED, Rescaled("acc_scaled", "centered", _RATIO_64, _AWAY)), _ADDED
    ),
    Staged("clamp_without_rescale", (), Output("input", "nothing", domain="input")),
)


def _slopes(
    name: str,
    above: Factor,
    below: Factor,
    form: TwoRoundings | FixedBits = _AWAY,
    negative: Literal["result", "multiplier"] = "result",
) -> Choice:
    then, otherwise = (
        Staged(name, (_CENTERED, Rescaled("acc_scaled", "centered", factor, form, negative=negative)), _ADDED)
        for factor in (above, below)
    )
    return Choice(name, NotNegative("centered"), then, otherwise)


_BELOW_32 = Factor(32, ("s_1", "alpha"), ("s_y",))

LEAKY_RELU = _named(
    _slopes("q31_half_up_half_away/float32", _RATIO_32, _BELOW_32),
    _slopes("q31_half_up_half_away/float64", _RATIO_64, Factor(64, ("s_1", "alpha"), ("s_y",))),
    _slopes("q31_half_up_half_away/float32_signed", _RATIO_32, _BELOW_32, negative="multiplier"),
    _slopes("q8_half_up", _RATIO_32, Factor(32, ("s_1",), ("s_y",), ("alpha",)), FixedBits(8)),
)

_TO_OUTPUT = Factor(32, ("one_by_128", "s_1"), ("s_y",))

HARD_SWISH = _named(
    Staged(
        "fixed_point_int16",
        (
            _CENTERED,
            Shifted("shifted", "centered", 7),
            Fixed16("relative", "shifted", Factor(32, ("one_by_128", "s_1"), ("three_by_2_15",)), "applied"),
            Halved("factor", "relative"),
            Fixed16("scaled_input", "shifted", _TO_OUTPUT, "left_out"),
            Product15("product", ("factor", "scaled_input")),
            ScaledBack("acc_scaled", "product", _TO_OUTPUT, "half_away"),
        ),
        Output("acc_scaled", "wide"),
    )
)

STAGED_RULES: dict[str, _Rules] = {
    "ADD": ADD_SUB,
    "AVERAGE_POOL_2D": AVERAGE_POOL,
    "DEQUANTIZE": DEQUANTIZE,
    "HARD_SWISH": HARD_SWISH,
    "LEAKY_RELU": LEAKY_RELU,
    "MAX_POOL_2D": MAX_POOL,
    "MEAN": MEAN,
    "MUL": MUL,
    "QUANTIZE": QUANTIZE,
    "RELU": RELU,
    "RELU6": RELU,
    "RELU_N1_TO_1": RELU,
    "SUB": ADD_SUB,
    "SUM": SUM,
}
"""Operator -> name -> rule."""
