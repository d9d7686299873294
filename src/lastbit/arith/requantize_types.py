"""What a requantization rule is, and a rule with its constants folded for one layer: the types alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..types import DType

__all__ = ["Bounds", "Form", "RequantParams", "RequantRule", "ScaleProduct"]

ScaleProduct = Literal["dd", "fd", "ff"]
Form = Literal[
    "float64",
    "q31_up_up",
    "q31_up_away",
    "q31_single",
    "float32",
    # in requantize_int16.py
    "q15",
    # in requantize_more.py
    "q31_single_wrap",
    "q15_wrap",
    "float32_clip",
    "float32_bias_fused",
    "float32_bias_reciprocal",
    "float32_bias_division",
    # in requantize_cpu.py
    "float64_saturate",
    "float32_saturate",
    "q31_floor_up_wrap",
    "q31_floor_up_saturate",
    "q31_up_away_saturate",
]
Bounds = Literal["half_away", "half_even", "half_even_then_zero_point"]


@dataclass(frozen=True)
class RequantRule:
    """One way of getting from acc to the output.

    Attributes:
        name: the key in its table: `requantize.RULES`, `rules_int16.RULES_64` or `other_rules.OTHER_RULES`.
        scale_product: how s_x * s_w / s_y is calculated: `dd` all in float64; `fd` the product in float32, the
            quotient in float64; `ff` all in float32.
        form: the multiplier's form and the rounding steps (see `requantize._FORMS`).
        bounds: tie rule of the activation bounds: `half_away` rounds bound/s_y and adds the zero point; `half_even`
            adds the zero point in float32 first, `half_even_then_zero_point` afterwards.
        equation: the rule in one line of text.
        acc_bits: bits of the accumulator that the rule starts from; it wraps.
    """

    name: str
    scale_product: ScaleProduct
    form: Form
    bounds: Bounds
    equation: str
    acc_bits: Literal[32, 64] = 32


@dataclass(frozen=True, eq=False)
class RequantParams:
    """A rule with its constants folded for one layer. Per-channel arrays are `[out]`, per-tensor ones `[1]`.

    Attributes:
        rule: the rule.
        effective_scale: the real factor, float64 (`ff` rules: float32).
        multiplier: Q0.31 integers, for the q31 and q15 forms (0 elsewhere).
        shift: power of two, positive = left, likewise.
        output_zero_point: zy, quantized steps.
        activation_min: lower clamp bound, quantized domain.
        activation_max: upper clamp bound, quantized domain.
        dtype: the output's element type.
        bias: the layer's bias, int64 `[out]`, for the forms that add it themselves in float32; else None.
        float_bias: the same as they add it, exact in float64, `[out]`; else None.
    """

    rule: RequantRule
    effective_scale: npt.NDArray[np.float64 | np.float32]
    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    output_zero_point: int
    activation_min: int
    activation_max: int
    dtype: DType
    bias: npt.NDArray[np.int64] | None = None
    float_bias: npt.NDArray[np.float64] | None = None
