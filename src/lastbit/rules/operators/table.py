"""Every rule of the operators around dense layers that is a list of stages, or a choice of two: one line each.

Names are those of one operator: two operators may have a rule of one name that are not the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..base import ElementGroups
from ..requantize.forms import Tie, TwoRoundings
from .forms import (
    Centered,
    Combined,
    Factor,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    Halved,
    HighProduct,
    Product15,
    Quotient,
    Register,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Weighted,
)
from .reductions import AVERAGE_POOL, MAX_POOL, MEAN, SUM
from .rule import (
    Choice,
    InnerGroups,
    NotNegative,
    Output,
    PowersOfTwo,
    RealOutput,
    Staged,
)
from .table_parts import ADDED, AWAY, BOTH_CENTERED, CENTERED, EIGHT_BIT, FLOOR_UP, RATIO_32, RATIO_64, UP, Rules, named

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

# ADD and SUB: both inputs to twice the larger scale, with 20 or 15 bits more; the sum to the output's scale.
_TO_LARGER = (Factor(64, ("s_1",), ("twice_larger",)), Factor(64, ("s_2",), ("twice_larger",)))
_FROM_LARGER = Factor(64, ("twice_larger",), ("headroom", "s_y"))


def _fixed_point(form: TwoRoundings | HighProduct, add: Register) -> Staged:
    sides = (Rescaled(f"scaled_{n}", f"centered_{n}", _TO_LARGER[n - 1], form, headroom=True) for n in (1, 2))
    total = Combined("sum", ("scaled_1", "scaled_2"), "sum", "wrap32")
    return Staged(
        "fixed_point",
        (*BOTH_CENTERED, *sides, total, Rescaled("acc_scaled", "sum", _FROM_LARGER, AWAY)),
        Output("acc_scaled", add),
    )


_FIXED_POINT = _fixed_point(AWAY, "wrap32")
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
                "fixed_point_vector", InnerGroups(8, EIGHT_BIT, "yes"), _fixed_point(_AFTER, "wrap16"), _FIXED_POINT
            ),
        ),
    ),
)
_POWER = ShiftedRight("half_away")
_SHIFTED = Staged(
    "power_of_two",
    (
        *BOTH_CENTERED,
        Rescaled("scaled_1", "centered_1", Factor(32, ("s_1",), ("s_y",)), _POWER),
        Rescaled("scaled_2", "centered_2", Factor(32, ("s_2",), ("s_y",)), _POWER),
        Combined("acc_scaled", ("scaled_1", "scaled_2"), "sum", "saturate16"),
    ),
    ADDED,
)

ADD_SUB = named(
    _FIXED_POINT,
    _FIXED_POINT_VECTOR,
    Staged(
        "q20_half_up",
        (
            *BOTH_CENTERED,
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


def _product(
    name: str, bits: Literal[32, 64], output: Output, types: tuple[str, ...] = (), form: TwoRoundings = AWAY
) -> Staged:
    factor = Factor(bits, ("s_1", "s_2"), ("s_y",))
    product = Combined("product", ("centered_1", "centered_2"), "product", "wide")
    return Staged(name, (*BOTH_CENTERED, product, Rescaled("acc_scaled", "product", factor, form)), output, types)


_Q31_PRODUCT = _product("q31_half_up_half_away/float32", 32, ADDED)
_SATURATED = _product("q31_vector/float32", 32, Output("acc_scaled", "wrap16", keep="saturate16"))
_WRAPPED = _product("q31_vector/float32", 32, Output("acc_scaled", "wrap16"))

MUL = named(
    _Q31_PRODUCT,
    _product("q31_half_up_half_away/float64", 64, ADDED),
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
            *BOTH_CENTERED,
            Combined("product", ("centered_1", "centered_2"), "product", "wide"),
            FloatScaled("scaled", "product", Factor(32, ("s_1", "s_2"), ("s_y",))),
            FloatRounded("acc_scaled", "scaled", "half_even", out_of_range="int32_min"),
        ),
        Output("acc_scaled", "wrap32", bounds="half_even"),
    ),
    _product(
        "q31_floor_half_up", 32, Output("acc_scaled", "wrap32", bounds="half_even"), types=EIGHT_BIT, form=FLOOR_UP
    ),
)


def _from_float(quotient: Quotient, rounded: FloatRounded, name: str, types: tuple[str, ...] = ()) -> Staged:
    return Staged(name, (quotient, rounded), ADDED, types)


def _vector8(name: str, out_of_range: Literal["int32_min", "nearest32"]) -> Choice:
    """Eight elements at a time are multiplied with the inverse; the rest is divided in float64."""
    return Choice(
        name,
        ElementGroups(8),
        _from_float(
            Quotient("scaled", 32, "inverse", False),
            FloatRounded("acc_scaled", "scaled", "half_even", "none", out_of_range),
            name,
        ),
        _from_float(
            Quotient("scaled", 64, "division", False),
            FloatRounded("acc_scaled", "scaled", "half_away", "none", out_of_range),
            name,
        ),
    )


_KEPT = Centered("centered", 1, "wrap32")
_REQUANTIZED = Staged("q31_half_up_half_away", (_KEPT, Rescaled("acc_scaled", "centered", RATIO_64, AWAY)), ADDED)

QUANTIZE = named(
    _from_float(
        Quotient("scaled", 32, "division", False),
        FloatRounded("acc_scaled", "scaled", "half_away", "none", "int32_min"),
        "float32_divide_half_away",
    ),
    _from_float(
        Quotient("scaled", 32, "division", False),
        FloatRounded("acc_scaled", "scaled", "half_away", "none", "nearest32"),
        "float32_divide_half_away/nearest",
    ),
    _vector8("vector8_inverse_half_even", "int32_min"),
    _vector8("vector8_inverse_half_even/nearest", "nearest32"),
    _from_float(
        Quotient("scaled", 32, "inverse", True),
        FloatRounded("acc_scaled", "scaled", "half_even", "int16_max", "saturate16"),
        "float32_inverse_half_even_saturate",
        types=EIGHT_BIT,
    ),
    _from_float(
        Quotient("scaled", 32, "inverse", True),
        FloatRounded("acc_scaled", "scaled", "half_even", "none", "nearest16"),
        "float32_inverse_half_even_nearest",
        types=EIGHT_BIT,
    ),
    _REQUANTIZED,
    Choice(
        "q31_vector16_half_up",
        ElementGroups(16),
        Staged("q31_vector16_half_up", (_KEPT, Rescaled("acc_scaled", "centered", RATIO_64, UP)), ADDED),
        _REQUANTIZED,
        types=EIGHT_BIT,
    ),
    Staged(
        "q8_half_up",
        (_KEPT, Rescaled("acc_scaled", "centered", RATIO_32, FixedBits(8))),
        ADDED,
        types=EIGHT_BIT,
    ),
)

_DIFFERENCE = Staged("float32_difference_times_scale", (CENTERED,), RealOutput("centered", "difference"))

DEQUANTIZE = named(
    _DIFFERENCE,
    replace(_DIFFERENCE, name="float32_difference_times_scale/any_zero_point", symmetric_int16=False),
    Choice(
        "float32_vector8_product_plus_offset",
        ElementGroups(8),
        Staged("float32_vector8_product_plus_offset", (CENTERED,), RealOutput("input", "product_plus_offset")),
        _DIFFERENCE,
    ),
    Choice(
        "float32_vector8_fused_plus_offset",
        ElementGroups(8),
        Staged("float32_vector8_fused_plus_offset", (CENTERED,), RealOutput("input", "fused_plus_offset")),
        _DIFFERENCE,
    ),
    Staged("float16_widen", (), RealOutput("input", "widened"), types=("float16",)),
)

RELU = named(
    Staged(
        "q31_half_up_half_away/float32_ratio", (CENTERED, Rescaled("acc_scaled", "centered", RATIO_32, AWAY)), ADDED
    ),
    Staged(
        "q31_half_up_half_away/float64_ratio", (CENTERED, Rescaled("acc_scaled", "centered", RATIO_64, AWAY)), ADDED
    ),
    Staged("clamp_without_rescale", (), Output("input", "nothing", domain="input")),
)


def _slopes(
    name: str,
    above: Factor,
    below: Factor,
    form: TwoRoundings | FixedBits = AWAY,
    negative: Literal["result", "multiplier"] = "result",
) -> Choice:
    then, otherwise = (
        Staged(name, (CENTERED, Rescaled("acc_scaled", "centered", factor, form, negative=negative)), ADDED)
        for factor in (above, below)
    )
    return Choice(name, NotNegative("centered"), then, otherwise)


_BELOW_32 = Factor(32, ("s_1", "alpha"), ("s_y",))

LEAKY_RELU = named(
    _slopes("q31_half_up_half_away/float32", RATIO_32, _BELOW_32),
    _slopes("q31_half_up_half_away/float64", RATIO_64, Factor(64, ("s_1", "alpha"), ("s_y",))),
    _slopes("q31_half_up_half_away/float32_signed", RATIO_32, _BELOW_32, negative="multiplier"),
    _slopes("q8_half_up", RATIO_32, Factor(32, ("s_1",), ("s_y",), ("alpha",)), FixedBits(8)),
)

_TO_OUTPUT = Factor(32, ("one_by_128", "s_1"), ("s_y",))


def _swish(name: str, rounding: Literal["truncated", "floor"], tie: Tie) -> Staged:
    relative = Factor(32, ("one_by_128", "s_1"), ("three_by_2_15",))
    stages = (
        CENTERED,
        Shifted("shifted", "centered", 7),
        Fixed16("relative", "shifted", relative, "applied"),
        Halved("factor", "relative"),
        Fixed16("scaled_input", "shifted", _TO_OUTPUT, "left_out"),
        Product15("product", ("factor", "scaled_input"), rounding),
        ScaledBack("acc_scaled", "product", _TO_OUTPUT, tie),
    )
    return Staged(name, stages, Output("acc_scaled", "wide"))


_SWISH_AWAY = _swish("fixed_point_int16", "truncated", "half_away")
_VECTOR_SWISH = "fixed_point_int16_vector8"

HARD_SWISH = named(
    _SWISH_AWAY,
    Choice(_VECTOR_SWISH, ElementGroups(8), _swish(_VECTOR_SWISH, "floor", "half_up"), _SWISH_AWAY),
)

STAGED_RULES: dict[str, Rules] = {
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
