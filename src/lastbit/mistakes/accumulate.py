"""Mistakes in the sum of products, its zero-point terms, and the bias.

Functions: `product` (case, grid, x, zx, w, zw) -> acc without bias, where x and w are what the slots before have made
of them, with the zero points still to be taken off; `bias` (case, acc, bias) -> (acc, added after scaling, to be
requantized apart), where the last two are 0 or arrays like bias.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ops.dense_8bit import PreparedDense
from .base import Case, Int64Array, Mistake, wrap_bits
from .grid import Grid
from .links import FORUM

__all__ = ["ACCUMULATE", "right_bias", "right_product"]

Product = Callable[[Case, Grid, Int64Array, int, Int64Array, int], Int64Array]


def right_product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    """Sum of (x - zx)(w - zw), taken apart into four sums."""
    return grid.dot(x, w) + _corrections(grid, x, zx, w, zw)


def right_bias(_case: Case, acc: Int64Array, bias: Int64Array) -> tuple[Int64Array, Int64Array | int, Int64Array | int]:
    """Acc + bias."""
    return acc + bias, 0, 0


def _corrections(grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = x.shape[-1] * zx * zw - zx * grid.sum_w(w)
    return total - zw * grid.sum_x(x) if zw else total


def _raw(change: Callable[[Int64Array], Int64Array]) -> Product:
    """The raw product's sum is changed; the zero-point terms are right."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return change(grid.dot(x, w)) + _corrections(grid, x, zx, w, zw)

    return product


def _sum(change: Callable[[Int64Array], Int64Array]) -> Product:
    """The whole sum is changed, zero-point terms and all."""

    def product(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return change(right_product(case, grid, x, zx, w, zw))

    return product


def _each(change: Callable[[Int64Array], Int64Array]) -> Product:
    """Each raw product is changed, the sum is wide; the zero-point terms are right."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return grid.dot_of(x, w, change) + _corrections(grid, x, zx, w, zw)

    return product


def _each_centred(change: Callable[[Int64Array], Int64Array]) -> Product:
    """Each product of centred values is changed, the sum is wide."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return grid.dot_of(x - zx, w - zw, change)

    return product


def _part(first: int, count: Callable[[int], int]) -> Product:
    """Only some of the products are summed."""

    def product(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        last = count(x.shape[-1])
        return right_product(case, grid, x[..., first:last], zx, w[..., first:last], zw)

    return product


def _low(bits: int) -> Callable[[Int64Array], Int64Array]:
    return lambda value: wrap_bits(value, bits)


def _once(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = grid.dot(x, w) + _corrections(grid, x, 0, w, zw) - zx
    return total


def _times_depth(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = grid.dot(x, w) + _corrections(grid, x, 0, w, zw) - zx * x.shape[-1]
    return total


def _no_cross_term(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = right_product(case, grid, x, zx, w, zw) - x.shape[-1] * zx * zw
    return total


def _negative_cross_term(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = right_product(case, grid, x, zx, w, zw) - 2 * x.shape[-1] * zx * zw
    return total


def _remainder(block: int) -> Callable[[PreparedDense], bool]:
    return lambda prepared: prepared.layer.depth > block and prepared.layer.depth % block != 0


def _deep(prepared: PreparedDense) -> bool:
    return prepared.layer.depth > 1


def _zx(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point != 0


def _cross(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point * prepared.layer.weights_zero_point != 0


def _eight_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.bits == 8


def _sixteen_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.bits == 16


def _biased(prepared: PreparedDense) -> bool:
    return bool(prepared.layer.bias_values.any())


def _beyond(bits: int) -> Callable[[PreparedDense], bool]:
    return lambda prepared: bool((np.abs(prepared.layer.bias_values) >= 1 << (bits - 1)).any())


def _several_biases(prepared: PreparedDense) -> bool:
    return bool((prepared.layer.bias_values != prepared.layer.bias_values[:1]).any())


_WIDE = "acc = x.astype(np.int32) @ w.astype(np.int32).T"
_WIDE_C = "int32_t acc; acc += (int32_t)x[k] * w[k];"
_ADD = "acc = acc + bias  # int32, before the scaling"
_ADD_C = "int32_t acc = bias[unit];"
_LOOP = "for (int k = 0; k < depth; ++k)"

ACCUMULATE: tuple[Mistake, ...] = (
    Mistake(
        "product_wraps_int8",
        "product",
        "the int8 matrix product stays int8 and wraps; the zero-point terms are added afterwards",
        _WIDE,
        _WIDE_C,
        _raw(_low(8)),
        _eight_bits,
        rarity=1,
        seen=(FORUM,),
    ),
    Mistake(
        "sum_wraps_int8",
        "product",
        "the whole sum, zero points taken off, is held in int8 and wraps",
        _WIDE,
        _WIDE_C,
        _sum(_low(8)),
        _eight_bits,
        rarity=1.5,
    ),
    Mistake(
        "each_product_wraps_int8",
        "product",
        "each product x * w wraps in int8 before it is summed",
        "acc = (x.astype(np.int32)[:, None] * w).sum(axis=-1)",
        _WIDE_C,
        _each(_low(8)),
        _eight_bits,
        rarity=1.5,
    ),
    Mistake(
        "each_centred_product_wraps_int8",
        "product",
        "each product (x - zx)(w - zw) wraps in int8 before it is summed",
        "acc = ((x.astype(np.int32) - zx)[:, None] * (w.astype(np.int32) - zw)).sum(axis=-1)",
        _WIDE_C,
        _each_centred(_low(8)),
        _eight_bits,
    ),
    Mistake(
        "product_wraps_int16",
        "product",
        "the sum of raw products is held in int16 and wraps; the zero-point terms are added afterwards",
        _WIDE,
        _WIDE_C,
        _raw(_low(16)),
    ),
    Mistake(
        "sum_wraps_int16",
        "product",
        "the accumulator is int16 and wraps",
        _WIDE,
        _WIDE_C,
        _sum(_low(16)),
    ),
    Mistake(
        "sum_saturates_int16",
        "product",
        "the accumulator is saturated to int16",
        _WIDE,
        _WIDE_C,
        _sum(lambda v: np.clip(v, -(1 << 15), (1 << 15) - 1)),
        rarity=2.5,
    ),
    Mistake(
        "sum_wraps_int32",
        "product",
        "the accumulator is int32 and wraps; layers with int16 activations need 64 bits",
        "acc = x.astype(np.int64) @ w.astype(np.int64).T",
        "int64_t acc;",
        _sum(_low(32)),
        _sixteen_bits,
    ),
    Mistake(
        "last_product_left_out",
        "product",
        "the loop over the depth stops one early",
        "acc = x @ w.T  # all of the depth",
        _LOOP,
        _part(0, lambda depth: depth - 1),
        _deep,
    ),
    Mistake(
        "first_product_left_out",
        "product",
        "the loop over the depth starts at 1",
        "acc = x @ w.T  # all of the depth",
        _LOOP,
        _part(1, lambda depth: depth),
        _deep,
        rarity=2.5,
    ),
    *(
        Mistake(
            f"remainder_of_{block}_left_out",
            "product",
            f"blocks of {block} products are summed, and the remainder of the depth is left out",
            "acc = x @ w.T  # all of the depth",
            f"for (int k = depth / {block} * {block}; k < depth; ++k)  /* the rest */",
            _part(0, lambda depth, block=block: depth // block * block),  # type: ignore[misc]
            _remainder(block),
            rarity=2.5,
        )
        for block in (4, 8, 16)
    ),
    Mistake(
        "input_zero_point_subtracted_once",
        "product",
        "the input's zero point is subtracted once from the sum; each product has it, times its weight",
        "acc = x @ w.T - zx * w.sum(axis=1)  # all in int32",
        "acc -= zx * sum_of_weights[unit];",
        _once,
        _zx,
        rarity=1.5,
    ),
    Mistake(
        "input_zero_point_without_weights",
        "product",
        "depth * zx is subtracted from the sum; it is zx * sum(w)",
        "acc = x @ w.T - zx * w.sum(axis=1)  # all in int32",
        "acc -= zx * sum_of_weights[unit];",
        _times_depth,
        _zx,
    ),
    Mistake(
        "cross_term_missing",
        "product",
        "the term depth * zx * zw is missing",
        "acc = x @ w.T - zx * w.sum(axis=1) - zw * x.sum(axis=1, keepdims=True) + depth * zx * zw",
        "acc += depth * zx * zw;",
        _no_cross_term,
        _cross,
    ),
    Mistake(
        "cross_term_subtracted",
        "product",
        "the term depth * zx * zw has the wrong sign",
        "acc = x @ w.T - zx * w.sum(axis=1) - zw * x.sum(axis=1, keepdims=True) + depth * zx * zw",
        "acc += depth * zx * zw;",
        _negative_cross_term,
        _cross,
    ),
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
