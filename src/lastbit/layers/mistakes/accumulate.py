"""Mistakes in the sum of products and its zero-point terms.

Function: `product` (case, grid, x, zx, w, zw) -> acc without bias, where x and w are what the slots before have made
of them, with the zero points still to be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...model.types import Int64Array, IntArray
from ...ops.dense.eight_bit import PreparedDense
from ...rules.base import NEIGHBOURS, Pairs, Whole
from ...rules.sums.pairs16 import first_places, kernel_shifts, sums_in_16_bits
from .base import Case, Mistake
from .sums import Grid
from .threads import (
    BITNET_459,
    CMSIS_184,
    COMFY_KITCHEN_133,
    FORUM,
    HALIDE_656,
    LLAMA_RDNA_19,
    ONEDNN_476,
    PYTORCH_76390,
    TF_53763,
    TFLM_3598,
    TRITON_2296,
)

__all__ = ["ACCUMULATE", "product_of", "right_product", "zero_point_terms"]

Product = Callable[[Case, Grid, Int64Array, int, Int64Array, int], Int64Array]


def right_product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    """Sum of (x - zx)(w - zw), taken apart into four sums."""
    return grid.dot(x, w) + zero_point_terms(grid, x, zx, w, zw)


def product_of(case: Case) -> Product:
    """What is right for a layer: the exact sum, or where its kernel adds in pairs of 16 bits, theirs."""
    match case.prepared.products:
        case Whole():
            return right_product
        case Pairs() as pairs:
            return _in_pairs(pairs)
        case never:
            assert_never(never)


def zero_point_terms(grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    """What is added to the sum of x * w to have that of (x - zx)(w - zw)."""
    total: Int64Array = x.shape[-1] * zx * zw - zx * grid.sum_w(w)
    return total - zw * grid.sum_x(x) if zw else total


def _raw(change: Callable[[Int64Array], Int64Array]) -> Product:
    """The raw product's sum is changed; the zero-point terms are right."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return change(grid.dot(x, w)) + zero_point_terms(grid, x, zx, w, zw)

    return product


def _sum(change: Callable[[Int64Array], Int64Array]) -> Product:
    """The whole sum is changed, zero-point terms and all."""

    def product(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return change(right_product(case, grid, x, zx, w, zw))

    return product


def _each(change: Callable[[IntArray], IntArray]) -> Product:
    """Each raw product is changed, the sum is wide; the zero-point terms are right."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return grid.dot_of(x, w, change) + zero_point_terms(grid, x, zx, w, zw)

    return product


def _each_centred(change: Callable[[IntArray], IntArray]) -> Product:
    """Each product of centred values is changed, the sum is wide."""

    def product(_case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        return grid.dot_of(x - zx, w - zw, change)

    return product


def _saturated_at_each_step(products: IntArray) -> IntArray:
    """The sum of products, kept within 16 bits after each of them: one value in the place of the products."""
    total = np.zeros(products.shape[:-1], products.dtype)
    for product in np.ascontiguousarray(np.moveaxis(products, -1, 0)):
        total += product
        np.minimum(total, (1 << 15) - 1, out=total)
        np.maximum(total, -(1 << 15), out=total)
    return total[..., None]


def _part(first: int, count: Callable[[int], int]) -> Product:
    """Only some of the products are summed."""

    def product(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        last = count(x.shape[-1])
        return right_product(case, grid, x[..., first:last], zx, w[..., first:last], zw)

    return product


def _low(bits: int) -> Callable[[Int64Array], Int64Array]:
    return lambda value: low_bits(value, bits)


def _low_of(kind: str) -> Callable[[Int64Array], Int64Array]:
    return _low(8) if kind == "int8" else lambda value: low_bits(value, 8, signed=False)


def _cast_to(kind: str) -> Callable[[IntArray], IntArray]:
    """The low bits of each product, in their own type."""
    return lambda products: products.astype(kind)


def _input_is(kind: str) -> Callable[[PreparedDense], bool]:
    return lambda prepared: prepared.layer.input.dtype.name == kind


def _in_pairs(pairs: Pairs) -> Product:
    """int8 inputs and uint8 weights are shifted for the kernel, and what that adds is subtracted again."""

    def product(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
        up, w_up = kernel_shifts(case.layer.input.dtype.name, case.layer.weights.dtype.name)
        order = _partners_together(pairs, x.shape[-1])

        def kept(sums: IntArray) -> IntArray:
            return sums_in_16_bits(sums, pairs.overflow)

        total = grid.dot_of(_take(x + up, order), _take(w + w_up, order), kept, together=2)
        if w_up:
            total = total - w_up * (grid.sum_x(x) + up * x.shape[-1])
        return total - up * grid.sum_w(w) + zero_point_terms(grid, x, zx, w, zw)

    return product


def _take(values: Int64Array, order: npt.NDArray[np.int64]) -> Int64Array:
    """Columns in another order; the one behind the last is of zeros."""
    filled: Int64Array = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, 1)])
    return filled[..., order]


def _partners_together(pairs: Pairs, depth: int) -> npt.NDArray[np.int64]:
    """Places in such an order that two and two are a pair: `[2 * n]`; the place `depth` stands for a product of 0."""
    first = first_places(depth, pairs.partner, pairs.last_group == "paired")
    alone = np.setdiff1d(np.arange(depth), [first, first + pairs.partner])
    second = np.concatenate([first + pairs.partner, np.full(len(alone), depth)])
    return np.stack([np.concatenate([first, alone]), second], axis=-1).reshape(-1)


def _pairs_can_saturate(prepared: PreparedDense) -> bool:
    w = np.abs(prepared.layer.weights_values.astype(np.int64))
    w = w[:, : w.shape[1] // 2 * 2].reshape(len(w), -1, 2).sum(axis=-1)
    signed = prepared.layer.weights.dtype.name == "int8" and prepared.pairs is None
    return signed and _eight_bits(prepared) and bool((w * 255 >= 1 << 15).any())


def _beyond_float32(prepared: PreparedDense) -> bool:
    w = np.abs(prepared.layer.weights_values.astype(np.int64)).sum(axis=1)
    return bool((w << prepared.layer.input.dtype.bits).max(initial=0) > 1 << 24)


def _remainder(block: int) -> Callable[[PreparedDense], bool]:
    return lambda prepared: prepared.layer.depth > block and prepared.layer.depth % block != 0


def _deep(prepared: PreparedDense) -> bool:
    return prepared.layer.depth > 1


def _eight_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.bits == 8


def _sixteen_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.bits == 16


_WIDE = "acc = x.astype(np.int32) @ w.astype(np.int32).T"
_WIDE_C = "int32_t acc; acc += (int32_t)x[k] * w[k];"
_LOOP = "for (int k = 0; k < depth; ++k)"

ACCUMULATE: tuple[Mistake, ...] = (
    *(
        Mistake(
            f"product_wraps_{kind}",
            "product",
            f"the {kind} matrix product stays {kind} and wraps; the zero-point terms are added afterwards",
            _WIDE,
            _WIDE_C,
            _raw(_low_of(kind)),
            _input_is(kind),
            rarity=1,
            seen=(FORUM, TRITON_2296) if kind == "int8" else (),
        )
        for kind in ("int8", "uint8")
    ),
    *(
        Mistake(
            f"sum_wraps_{kind}",
            "product",
            f"the whole sum, zero points subtracted, is held in {kind} and wraps",
            _WIDE,
            _WIDE_C,
            _sum(_low_of(kind)),
            _input_is(kind),
            rarity=1.5,
            seen=(TRITON_2296,) if kind == "int8" else (),
            of_the_sum=True,
        )
        for kind in ("int8", "uint8")
    ),
    *(
        Mistake(
            f"each_product_wraps_{kind}",
            "product",
            f"each product x * w wraps in {kind} before it is summed",
            "acc = (x.astype(np.int32)[:, None] * w).sum(axis=-1)",
            _WIDE_C,
            _each(_cast_to(kind)),
            _input_is(kind),
            rarity=1.5,
        )
        for kind in ("int8", "uint8")
    ),
    Mistake(
        "each_centred_product_wraps_int8",
        "product",
        "each product (x - zx)(w - zw) wraps in int8 before it is summed",
        "acc = ((x.astype(np.int32) - zx)[:, None] * (w.astype(np.int32) - zw)).sum(axis=-1)",
        _WIDE_C,
        _each_centred(_cast_to("int8")),
        _input_is("int8"),
    ),
    Mistake(
        "product_pairs_saturate_int16",
        "product",
        "pairs of neighbouring products are summed in int16 and saturate (vpmaddubsw on x86, with x as uint8)",
        _WIDE,
        _WIDE_C,
        _in_pairs(NEIGHBOURS),
        _pairs_can_saturate,
        rarity=2.5,
        seen=(PYTORCH_76390, ONEDNN_476),
    ),
    Mistake(
        "sum_in_float32",
        "product",
        "the sum is taken through float32, which holds no odd numbers beyond 2^24",
        _WIDE,
        _WIDE_C,
        _sum(lambda v: v.astype(np.float32).astype(np.int64)),
        _beyond_float32,
        rarity=2.5,
        seen=(COMFY_KITCHEN_133,),
        of_the_sum=True,
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
        seen=(BITNET_459,),
        of_the_sum=True,
    ),
    Mistake(
        "sum_saturates_int16",
        "product",
        "the accumulator is saturated to int16",
        _WIDE,
        _WIDE_C,
        _sum(lambda v: np.clip(v, -(1 << 15), (1 << 15) - 1)),
        rarity=2.5,
        of_the_sum=True,
    ),
    Mistake(
        "sum_saturates_int16_at_each_step",
        "product",
        "the accumulator saturates to int16 after each product (__SSAT(acc, 16))",
        _WIDE,
        _WIDE_C,
        _each_centred(_saturated_at_each_step),
        rarity=2.5,
        seen=(CMSIS_184,),
    ),
    Mistake(
        "sum_wraps_int32",
        "product",
        "the accumulator is int32 and wraps; layers with int16 activations need 64 bits",
        "acc = x.astype(np.int64) @ w.astype(np.int64).T",
        "int64_t acc;",
        _sum(_low(32)),
        _sixteen_bits,
        seen=(TF_53763, TFLM_3598),
        of_the_sum=True,
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
            seen=(HALIDE_656, LLAMA_RDNA_19),
        )
        for block in (4, 8, 16)
    ),
)
