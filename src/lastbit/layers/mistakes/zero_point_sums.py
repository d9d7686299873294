"""Mistakes in the zero-point terms of the sum of products, where the four sums are taken apart.

Function: `product`, as in `accumulate`.
"""

from __future__ import annotations

import numpy as np

from ...model.types import Int64Array
from ...ops.dense.eight_bit import PreparedDense
from .accumulate import right_product, zero_point_terms
from .base import Case, Mistake
from .sums import Grid
from .threads import SO_PURE_PYTHON

__all__ = ["ZERO_POINT_SUMS"]


def _once(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = grid.dot(x, w) + zero_point_terms(grid, x, 0, w, zw) - zx
    return total


def _times_depth(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = grid.dot(x, w) + zero_point_terms(grid, x, 0, w, zw) - zx * x.shape[-1]
    return total


def _first_units_sum(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = grid.dot(x, w) + zero_point_terms(grid, x, 0, w, zw)
    total -= zx * (int(case.w[0].sum()) - x.shape[-1] * zw)
    return total


def _no_cross_term(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = right_product(case, grid, x, zx, w, zw) - x.shape[-1] * zx * zw
    return total


def _negative_cross_term(case: Case, grid: Grid, x: Int64Array, zx: int, w: Int64Array, zw: int) -> Int64Array:
    total: Int64Array = right_product(case, grid, x, zx, w, zw) - 2 * x.shape[-1] * zx * zw
    return total


def _zx(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point != 0


def _several_sums(prepared: PreparedDense) -> bool:
    sums = prepared.layer.weights_values.astype(np.int64).sum(axis=1)
    return _zx(prepared) and bool((sums != sums[0]).any())


def _cross(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point * prepared.layer.weights_zero_point != 0


ZERO_POINT_SUMS: tuple[Mistake, ...] = (
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
        "weights_sum_first_for_all",
        "product",
        "the sum of the first unit's weights, times zx, is subtracted in every unit",
        "acc = x @ w.T - zx * w.sum(axis=1)  # one sum for each unit",
        "acc -= zx * sum_of_weights[unit];",
        _first_units_sum,
        _several_sums,
        rarity=2.5,
        seen=(SO_PURE_PYTHON,),
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
)
