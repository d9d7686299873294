"""Rules of MEAN, SUM and pools of quantized values: one line each."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..base import ChannelGroups
from ..requantize.forms import TwoRoundings
from .forms import Affine, CountDivision, Factor, FloatRounded, FloatScaled, FusedAffine, Largest, Rescaled, Total
from .rule import Choice, HeightAndWidth, Output, Staged
from .table_parts import ADDED, AWAY, RATIO_32, RATIO_64, UP, named

__all__ = ["AVERAGE_POOL", "MAX_POOL", "MEAN", "SUM"]


def _total(name: str, factor: Factor, *, count: bool) -> Staged:
    rescaled = Rescaled("acc_scaled", "sum", factor, AWAY, count_in_multiplier=count)
    return Staged(name, (Total("sum", True), rescaled), ADDED)


def _float_total(name: str, factor: Factor, tie: Literal["half_even", "half_away"] = "half_even") -> Staged:
    stages = (
        Total("sum", True),
        Total("raw_sum", False),
        FloatScaled("product", "raw_sum", factor),
        Affine("moved", "product", "both", factor),
        FloatRounded("with_zero_point", "moved", tie),
    )
    return Staged(name, stages, Output("with_zero_point", "nothing"), fits_int32=True)


def _fused_total(
    name: str, factor: Factor, offset: Literal["input", "both"], tie: Literal["half_even", "half_away"]
) -> Staged:
    step, output = (
        ("with_zero_point", Output("with_zero_point", "nothing")) if offset == "both" else ("acc_scaled", ADDED)
    )
    sums = (Total("sum", True), Total("raw_sum", False))
    stages = (*sums, FusedAffine("moved", "raw_sum", offset, factor), FloatRounded(step, "moved", tie))
    return Staged(name, stages, output, fits_int32=True)


def _height_width(name: str, when: HeightAndWidth) -> Choice:
    """Sums of whole groups of channels in vectors, the others one by one; all else as over other dimensions."""

    def sums(form: TwoRoundings) -> Staged:
        factor = Factor(32, ("s_1",), ("count", "s_y"))
        stages = (Total("sum", True), Total("raw_sum", False), Rescaled("acc_scaled", "raw_sum", factor, form))
        return Staged(name, stages, Output("acc_scaled", "rounded_offset"), fits_int32=True)

    groups = Choice(name, ChannelGroups(16), sums(UP), sums(AWAY))
    return Choice(name, when, groups, replace(_FOLDED, fits_int32=True))


_MEAN_FACTOR = Factor(32, ("s_1",), ("s_y",), ("one_by_count",))
_FOLDED = _total("q31_folded_count", RATIO_64, count=True)

MEAN = named(
    _FOLDED,
    _float_total("float32_bias_half_even", _MEAN_FACTOR),
    _float_total("float32_bias_half_away", _MEAN_FACTOR, "half_away"),
    _fused_total("float32_fused_bias_half_even", _MEAN_FACTOR, "both", "half_even"),
    _height_width("q31_height_width", HeightAndWidth()),
    _height_width("q31_height_width_as_written", HeightAndWidth(from_end=False)),
)

SUM = named(
    _total("q31_folded_count", RATIO_64, count=False),
    _float_total("float32_bias_half_even", RATIO_32),
    _float_total("float32_bias_half_away", RATIO_32, "half_away"),
    _fused_total("float32_fused_bias_half_even", RATIO_32, "both", "half_even"),
    _fused_total("float32_fused_sum", RATIO_32, "input", "half_away"),
    Staged(
        "float32_sum",
        (
            Total("sum", True),
            Total("raw_sum", False),
            FloatScaled("product", "raw_sum", RATIO_32),
            Affine("moved", "product", "input", RATIO_32),
            FloatRounded("acc_scaled", "moved", "half_away"),
        ),
        ADDED,
        fits_int32=True,
    ),
)

AVERAGE_POOL = named(
    Staged(
        "mean_half_away",
        (Total("sum", False), CountDivision("mean", "sum", "half_away")),
        Output("mean", "nothing"),
    )
)

MAX_POOL = named(
    Staged("maximum/half_away", (Largest("maximum"),), Output("maximum", "nothing")),
    Staged("maximum/half_even", (Largest("maximum"),), Output("maximum", "nothing", bounds="half_even")),
)
