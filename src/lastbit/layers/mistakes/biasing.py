"""Mistakes in adding the bias.

Function: `bias` (case, grid, acc, bias) -> `Accumulated`, where acc is the sum of products, and the bias is int64 and
broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.types import Float64Array, Int64Array
from ...ops.dense.eight_bit import PreparedDense
from .base import Case, Mistake
from .rounding import FARTHEST, to_int
from .sums import Grid
from .threads import ARMNN_550, EXECUTORCH_20655, TF_102943

__all__ = ["BIASING", "Accumulated", "right_bias"]


@dataclass(frozen=True, eq=False)
class Accumulated:
    """What the slots up to the bias make.

    Attributes:
        acc: int64, within the accumulator's width.
        after: int64, to be added after the scaling: a bias in the wrong place.
        apart: int64, to be scaled and rounded by itself and then added.
        real_part: float64, to be added to acc before the scaling, which is then in float64; NaN where there is none.
    """

    acc: Int64Array
    after: Int64Array | int = 0
    apart: Int64Array | int = 0
    real_part: Float64Array | None = None


def right_bias(_case: Case, _grid: Grid, acc: Int64Array, bias: Int64Array) -> Accumulated:
    """Acc + bias."""
    return Accumulated(acc + bias)


def _real_bias(case: Case, grid: Grid, acc: Int64Array, bias: Int64Array) -> Accumulated:
    return Accumulated(acc, real_part=np.asarray(bias * grid.unit_values(case.bias_scale), np.float64))


def _bias_as_real(step: Callable[[Case], Float64Array | float]) -> Callable[..., Accumulated]:
    """The real-valued sum with a bias whose steps are too large: by what one must be multiplied with to be right."""

    def function(case: Case, grid: Grid, acc: Int64Array, bias: Int64Array) -> Accumulated:
        return Accumulated(acc, real_part=np.asarray(bias / grid.unit_values(np.asarray(step(case))), np.float64))

    return function


def _bias_in_another_scale(made: Callable[[Case], Float64Array | float]) -> Callable[..., Accumulated]:
    """The real-valued bias in steps of one scale alone, where a step of the accumulator is the product of two."""

    def function(case: Case, grid: Grid, acc: Int64Array, bias: Int64Array) -> Accumulated:
        return Accumulated(acc + to_int(np.rint(bias * grid.unit_values(np.asarray(made(case)))), FARTHEST))

    return function


def _has_relu(prepared: PreparedDense) -> bool:
    return _biased(prepared) and prepared.layer.activation in ("RELU", "RELU6")


def _biased_and_scaled(prepared: PreparedDense) -> bool:
    return _biased(prepared) and prepared.layer.given is None


def _biased(prepared: PreparedDense) -> bool:
    return bool(prepared.layer.bias_values.any())


def _beyond(bits: int) -> Callable[[PreparedDense], bool]:
    return lambda prepared: bool((np.abs(prepared.layer.bias_values) >= 1 << (bits - 1)).any())


def _several_biases(prepared: PreparedDense) -> bool:
    return bool((prepared.layer.bias_values != prepared.layer.bias_values[:1]).any())


_ADD = "acc = acc + bias  # int32, before the scaling"
_ADD_C = "int32_t acc = bias[unit];"

BIASING: tuple[Mistake, ...] = (
    Mistake(
        "bias_missing",
        "bias",
        "the bias is not added",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc),
        _biased,
        rarity=1,
    ),
    Mistake(
        "bias_twice",
        "bias",
        "the bias is added twice",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc + 2 * bias),
        _biased,
    ),
    Mistake(
        "bias_subtracted",
        "bias",
        "the bias is subtracted",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc - bias),
        _biased,
        rarity=2.5,
    ),
    Mistake(
        "bias_added_for_each_product",
        "bias",
        "the bias is added inside the loop over the depth, once for each product",
        _ADD,
        "int32_t acc = bias[unit];  /* before the loop */",
        lambda case, grid, acc, bias: Accumulated(acc + case.layer.depth * bias),
        lambda prepared: _biased(prepared) and prepared.layer.depth > 1,
        rarity=2.5,
    ),
    Mistake(
        "bias_in_weights_scale",
        "bias",
        "the bias is quantized with the weights' scale alone; a step of it is s_x * s_w",
        "bias = np.rint(bias_real / (s_x * s_w))",
        "bias = lround(bias_real / ((double)s_x * s_w[unit]));",
        _bias_in_another_scale(lambda case: case.scales.input),
        _biased_and_scaled,
        rarity=2,
        seen=(EXECUTORCH_20655,),
    ),
    Mistake(
        "bias_in_input_scale",
        "bias",
        "the bias is quantized with the input's scale alone; a step of it is s_x * s_w",
        "bias = np.rint(bias_real / (s_x * s_w))",
        "bias = lround(bias_real / ((double)s_x * s_w[unit]));",
        _bias_in_another_scale(lambda case: case.scales.weights),
        _biased_and_scaled,
        rarity=2.5,
    ),
    Mistake(
        "activation_before_bias",
        "bias",
        "a ReLU is applied to the sum before the bias is added",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(np.maximum(acc, 0) + bias),
        _has_relu,
        rarity=2.5,
    ),
    Mistake(
        "bias_first_for_all",
        "bias",
        "bias[0] is added to every unit",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc + case.bias[0]),
        _several_biases,
    ),
    Mistake(
        "bias_as_int8",
        "bias",
        "the bias is cut to int8; it is int32",
        "bias = buffer.view(np.int32)",
        "const int32_t *bias;",
        lambda case, grid, acc, bias: Accumulated(acc + low_bits(bias, 8)),
        _beyond(8),
    ),
    Mistake(
        "bias_as_int16",
        "bias",
        "the bias is cut to int16; it is int32",
        "bias = buffer.view(np.int32)",
        "const int32_t *bias;",
        lambda case, grid, acc, bias: Accumulated(acc + low_bits(bias, 16)),
        _beyond(16),
    ),
    Mistake(
        "bias_after_scaling",
        "bias",
        "the int32 bias is added after the scaling; it is in accumulator steps and belongs before it",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc, after=bias),
        _biased,
        rarity=1.5,
    ),
    Mistake(
        "bias_requantized_apart",
        "bias",
        "the bias is scaled and rounded by itself, then added: two roundings where there is one",
        _ADD,
        _ADD_C,
        lambda case, grid, acc, bias: Accumulated(acc, apart=bias),
        _biased,
    ),
    Mistake(
        "bias_real_on_integer_sum",
        "bias",
        "the real-valued bias (bias * s_x * s_w) is added to the integer sum; both must be in accumulator steps",
        _ADD,
        _ADD_C,
        _real_bias,
        _biased,
        rarity=2.5,
        seen=(EXECUTORCH_20655,),
    ),
    Mistake(
        "bias_integer_on_real_sum",
        "bias",
        "the int32 bias is added to the real-valued sum, acc * s_x * s_w; it must be multiplied by s_x * s_w first",
        _ADD,
        _ADD_C,
        _bias_as_real(lambda case: case.bias_scale),
        _biased_and_scaled,
        rarity=2.5,
        seen=(ARMNN_550,),
    ),
    Mistake(
        "bias_dequantized_by_weights_scale",
        "bias",
        "the bias is dequantized as bias * s_w; its real value is bias * s_x * s_w",
        "bias_real = bias * (s_x * s_w)",
        "float bias_real = bias[unit] * (s_x * s_w[unit]);",
        _bias_as_real(lambda case: case.scales.input),
        _biased_and_scaled,
        rarity=2.5,
        alone=True,
    ),
    Mistake(
        "bias_dequantized_by_input_scale",
        "bias",
        "the bias is dequantized as bias * s_x; its real value is bias * s_x * s_w",
        "bias_real = bias * (s_x * s_w)",
        "float bias_real = bias[unit] * (s_x * s_w[unit]);",
        _bias_as_real(lambda case: case.scales.weights),
        _biased_and_scaled,
        rarity=2.5,
        alone=True,
    ),
    Mistake(
        "accumulator_wraps_int16",
        "bias",
        "the accumulator is int16, the bias in it, and wraps",
        "acc = acc.astype(np.int32) + bias",
        "int32_t acc = bias[unit];",
        lambda case, grid, acc, bias: Accumulated(low_bits(acc + bias, 16)),
        _biased,
        rarity=2.5,
        seen=(TF_102943,),
    ),
)
