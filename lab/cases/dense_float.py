"""Families of float32 dense layers that tell orders of summation apart, and the rival orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lab.cases.dense import ACTIVATIONS, XNNPACKS, Case, Rng
from lastbit.arith.floats import flush_subnormals, fma32, sum_in_order
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph
from lastbit.model.types import Float32Array
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.float32 import Summation, prepare_dense_float
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.rules.floats.forms import FloatRule
from lastbit.rules.floats.table import FLOAT_CHOICES, FLOAT_RULES
from lastbit.rules.floats.vector import sums

RUNTIMES = (*XNNPACKS, "litert-reference", "tflm")
GOLDEN_SEED, GOLDEN_ROUNDS, LARGEST_CASE = 10, 6, 8_000


def _layer(
    rng: Rng,
    weights: npt.NDArray[np.floating],
    bias: npt.NDArray[np.floating] | None,
    shape: tuple[int, ...],
    keep_num_dims: bool = False,
) -> Subgraph:
    return dense_subgraph(
        weights.astype(np.float32),
        input_quant=None,
        weights_quant=None,
        output_quant=None,
        bias=None if bias is None else bias.astype(np.float32),
        activation=str(rng.choice(ACTIVATIONS, p=[0.55, 0.15, 0.15, 0.15])),
        input_shape=shape,
        keep_num_dims=keep_num_dims,
        input_dtype="float32",
        weights_dtype="float32",
        bias_dtype="float32",
    )


def random_layers(rng: Rng) -> Case:
    """Ordinary layers of every depth, batch and number of units: every rounding shows in the last bit."""
    depth = int(rng.choice([1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 255, 640]))
    units, rows = (
        int(rng.choice([1, 2, 3, 4, 8, 15, 16, 17, 33, 64, 65])),
        int(rng.choice([1, 1, 2, 3, 4, 5, 7, 8, 33])),
    )
    bias = rng.normal(size=units) if rng.random() < 0.7 else None
    graph = _layer(rng, rng.normal(size=(units, depth)), bias, (rows, depth))
    return Case("random layers", graph, tuple(rng.normal(size=(rows, depth)).astype(np.float32) for _ in range(4)))


def many_rows(rng: Rng) -> Case:
    """Many rows and units at once: the bulk of the outputs."""
    depth, units, rows = int(rng.choice([3, 16, 33])), 128, 64
    graph = _layer(rng, rng.normal(size=(units, depth)), rng.normal(size=units), (rows, depth))
    samples = rng.normal(size=(4, rows, depth)) * 10.0 ** rng.uniform(-6, 6, (4, rows, 1))
    return Case("many rows", graph, tuple(samples.astype(np.float32)))


def ranks(rng: Rng) -> Case:
    """Inputs of rank 1 to 4, with and without keep_num_dims."""
    depth, units, rank = int(rng.integers(1, 30)), int(rng.integers(1, 20)), int(rng.integers(1, 5))
    shape = (*(int(v) for v in rng.integers(1, 4, rank - 1)), depth)
    keep = bool(rng.random() < 0.5) and rank > 1
    graph = _layer(rng, rng.normal(size=(units, depth)), rng.normal(size=units), shape, keep)
    return Case("ranks 1 to 4, keep_num_dims", graph, (rng.normal(size=shape).astype(np.float32),))


def cancellation(rng: Rng) -> Case:
    """Terms that cancel: what is left shows the order and whether products were rounded."""
    depth, units, rows = int(rng.choice([2, 6, 16, 40])), int(rng.choice([4, 17])), int(rng.choice([1, 3]))
    half = rng.normal(size=(units, depth // 2)) * 10.0 ** rng.uniform(-4, 4, (units, depth // 2))
    weights = np.concatenate([half, -half], axis=1)
    graph = _layer(rng, weights, rng.normal(size=units) * 1e-3, (rows, depth))
    values = rng.normal(size=(rows, depth // 2)).astype(np.float32)
    beside = np.nextafter(values, np.float32(9))
    pair = (np.concatenate([values, values], axis=1), np.concatenate([values, beside], axis=1))
    return Case("cancellation", graph, pair)


def ends_of_float32(rng: Rng) -> Case:
    """Subnormal, huge, infinite and not-a-number values; zeros of both signs."""
    depth, units, rows = int(rng.choice([1, 4, 9])), int(rng.choice([3, 16])), int(rng.choice([1, 2]))
    bias = rng.choice([0.0, -0.0, 1e-40, -1e-40, 1e38, 1.0], units)
    weights = rng.normal(size=(units, depth)) * 10.0 ** rng.choice([-38, -20, 0, 20], (units, depth))
    weights[rng.random(weights.shape) < 0.2] = -0.0
    graph = _layer(rng, weights, bias, (rows, depth))
    shape = (rows, depth)
    samples = [
        np.zeros(shape),
        -np.zeros(shape),
        rng.normal(size=shape) * 1e-40,
        rng.normal(size=shape) * 1e-20,
        rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-38, 38, shape),
        rng.normal(size=shape) * 1e38,
    ]
    for special in (np.inf, -np.inf, np.nan):
        values = rng.normal(size=shape)
        values.flat[rng.integers(values.size)] = special
        samples.append(values)
    with np.errstate(over="ignore"):
        return Case("ends of float32", graph, tuple(x.astype(np.float32) for x in samples))


def flush_boundary(rng: Rng) -> Case:
    """Products around 2^-126: x86 flushes by the rounding with an unbounded exponent, not by the one to a subnormal."""
    steps = np.arange(16)
    below, above = 2.0**-63 * (1 - steps * 2.0**-24), 2.0**-63 * (1 + steps * 2.0**-23)
    sign = rng.choice([-1.0, 1.0])
    graph = _layer(rng, (sign * below)[:, None], None, (16, 1))
    samples = (above[:, None].astype(np.float32), below[:, None].astype(np.float32))
    return Case("products around 2^-126", graph, samples)


def refusals(rng: Rng) -> Case:
    """Float16 weights without a DEQUANTIZE before the layer, which every runtime refuses."""
    graph = _layer(rng, rng.normal(size=(4, 8)), rng.normal(size=4), (1, 8))
    tensors = list(graph.tensors)
    data = tensors[1].data
    assert data is not None
    tensors[1] = replace(tensors[1], dtype=DTYPE_BY_NAME["float16"], data=data.astype(np.float16))
    sample = rng.normal(size=(1, 8)).astype(np.float32)
    return Case("layers that some kernels refuse", replace(graph, tensors=tuple(tensors)), (sample,))


FAMILIES: tuple[Callable[[Rng], Case], ...] = (
    random_layers,
    ranks,
    cancellation,
    ends_of_float32,
    flush_boundary,
    refusals,
)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """`rounds` cases of every family, and now and then one with many rows."""
    rng = np.random.default_rng(seed)
    for number in range(rounds):
        for family in FAMILIES:
            yield family(rng)
        if number % 3 == 2:
            yield many_rows(rng)


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set."""
    for case in all_cases(GOLDEN_SEED, GOLDEN_ROUNDS):
        outputs = 4 * len(case.samples) * math.prod(case.graph.tensors[-1].shape)
        if len(write(case.graph)) + sum(x.nbytes for x in case.samples) + outputs <= LARGEST_CASE:
            yield "float32", case


def _lanes(_: FloatRule, rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    """Four sums side by side, added in pairs: what a vectorised loop would do."""
    parts = [sum_in_order(rows[:, lane::4], weights[:, lane::4]) for lane in range(4)]
    with np.errstate(all="ignore"):
        total = (parts[0] + parts[2]) + (parts[1] + parts[3])
        return np.asarray(total + (np.float32(0) if bias is None else bias), np.float32)


def _fma_flush_rounded(
    _: FloatRule, rows: Float32Array, weights: Float32Array, bias: Float32Array | None
) -> Float32Array:
    total = np.zeros(len(weights), np.float32) if bias is None else flush_subnormals(bias)
    for k in range(rows.shape[1]):
        total = flush_subnormals(fma32(flush_subnormals(rows[:, k, None]), flush_subnormals(weights[:, k]), total))
    return np.asarray(total, np.float32)


def _backwards(rule: FloatRule, rows: Float32Array, weights: Float32Array, bias: Float32Array | None) -> Float32Array:
    return sums(rule, rows[:, ::-1], weights[:, ::-1], bias)


FUSED, IN_ORDER = FLOAT_RULES["float32-fma-bias_first"], FLOAT_RULES["float32-in_order-bias_last"]
# A rule, and the summation that a rival has instead of its own.
RIVALS: tuple[tuple[FloatRule, Summation], ...] = (
    *((rule, sums) for rule in FLOAT_RULES.values()),
    (replace(IN_ORDER, name="float32-four_lanes"), _lanes),
    (replace(IN_ORDER, name="float32-in_order-bias_first", bias="first"), sums),
    (replace(FUSED, name="float32-fma-bias_last", bias="last"), sums),
    (replace(FUSED, name="float32-fma-unflushed", flush=False), sums),
    (replace(FUSED, name="float32-fma-flush_rounded"), _fma_flush_rounded),
    (replace(IN_ORDER, name="float32-backwards"), _backwards),
    (replace(IN_ORDER, name="float32-in_order-infinite", ends="infinite"), sums),
)


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every order that could be thought to be a layer's, prepared for it."""
    found: dict[str, PreparedOperator] = {
        rule.name: prepare_dense_float(model, op, rule, summation=summation) for rule, summation in RIVALS
    }
    return found | {name: prepare_fully_connected(model, op, name) for name in FLOAT_CHOICES}
