"""Mistakes in adding the bias.

Function: `bias` (case, acc, bias) -> (acc, added after scaling, to be requantized apart), where the last two are 0 or
arrays like bias.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ops.dense_8bit import PreparedDense
from .base import Case, Int64Array, Mistake, wrap_bits

__all__ = ["BIASING", "right_bias"]


def right_bias(_case: Case, acc: Int64Array, bias: Int64Array) -> tuple[Int64Array, Int64Array | int, Int64Array | int]:
    """Acc + bias."""
    return acc + bias, 0, 0


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
        lambda case, acc, bias: (acc, 0, 0),
        _biased,
        rarity=1,
    ),
    Mistake(
        "bias_twice",
        "bias",
        "the bias is added twice",
        _ADD,
        _ADD_C,
        lambda case, acc, bias: (acc + 2 * bias, 0, 0),
        _biased,
    ),
    Mistake(
        "bias_subtracted",
        "bias",
        "the bias is subtracted",
        _ADD,
        _ADD_C,
        lambda case, acc, bias: (acc - bias, 0, 0),
        _biased,
        rarity=2.5,
    ),
    Mistake(
        "bias_added_for_each_product",
        "bias",
        "the bias is added inside the loop over the depth, once for each product",
        _ADD,
        "int32_t acc = bias[unit];  /* before the loop */",
        lambda case, acc, bias: (acc + case.layer.depth * bias, 0, 0),
        lambda prepared: _biased(prepared) and prepared.layer.depth > 1,
        rarity=2.5,
    ),
    Mistake(
        "bias_first_for_all",
        "bias",
        "bias[0] is added to every unit",
        _ADD,
        _ADD_C,
        lambda case, acc, bias: (acc + case.bias[0], 0, 0),
        _several_biases,
    ),
    Mistake(
        "bias_as_int8",
        "bias",
        "the bias is cut to int8; it is int32",
        "bias = buffer.view(np.int32)",
        "const int32_t *bias;",
        lambda case, acc, bias: (acc + wrap_bits(bias, 8), 0, 0),
        _beyond(8),
    ),
    Mistake(
        "bias_as_int16",
        "bias",
        "the bias is cut to int16; it is int32",
        "bias = buffer.view(np.int32)",
        "const int32_t *bias;",
        lambda case, acc, bias: (acc + wrap_bits(bias, 16), 0, 0),
        _beyond(16),
    ),
    Mistake(
        "bias_after_scaling",
        "bias",
        "the int32 bias is added after the scaling; it is in accumulator steps and belongs before it",
        _ADD,
        _ADD_C,
        lambda case, acc, bias: (acc, bias, 0),
        _biased,
        rarity=1.5,
    ),
    Mistake(
        "bias_requantized_apart",
        "bias",
        "the bias is scaled and rounded by itself, then added: two roundings where there is one",
        _ADD,
        _ADD_C,
        lambda case, acc, bias: (acc, 0, bias),
        _biased,
    ),
)
