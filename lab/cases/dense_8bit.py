"""Families of dense layers with an 8-bit input beside plain int8: uint8, weights with a zero point, int4 weights.

The generators of `dense_families` for these kinds of layers, and a few that only make sense here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lab.cases import dense as dense_families
from lab.cases.dense import Case, Kind, Rng
from lastbit.layers.separating_inputs import probe_subgraph
from lastbit.model.graph import Model, Operator
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import quant
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.rules.base import WHOLE, IntegerRule, Scales, Sums
from lastbit.rules.requantize.table import RULES

UINT8 = Kind(input_dtype="uint8", weights_dtype="uint8")
UINT8_ZERO_POINT = Kind(input_dtype="uint8", weights_dtype="uint8", weights_zero_point=True)
INT8_ZERO_POINT = Kind(weights_zero_point=True)
INT4 = Kind(weights_dtype="int4")
INT4_PER_CHANNEL = Kind(per_channel=True, weights_dtype="int4")
INT4_ZERO_POINT = Kind(weights_dtype="int4", weights_zero_point=True)

KINDS = (UINT8, UINT8_ZERO_POINT, INT8_ZERO_POINT, INT4, INT4_PER_CHANNEL, INT4_ZERO_POINT)
GOLDEN_SEED, GOLDEN_ROUNDS, GOLDEN_PROBES, LARGEST_MODEL = 8, 1, 240, 9_000


def small_shapes(rng: Rng, kind: Kind) -> Case:
    """Every small depth, odd and even, with few units: how weights are packed shows at the ends of rows."""
    depth, units, rows = int(rng.integers(1, 20)), int(rng.integers(1, 10)), int(rng.choice([1, 2, 5]))
    graph = dense_families.make_layer(
        rng, "plain", kind, units=units, depth=depth, bias=rng.integers(-900, 900, units), input_shape=(rows, depth)
    )
    return dense_families.random_case("small shapes", dense_families.rescaled(graph, rng), rng, 4)


def lowest_weights(rng: Rng, kind: Kind) -> Case:
    """Many weights at the lowest value there is (int4: -8), which a sign-magnitude kernel gets wrong."""
    depth, units = int(rng.choice([4, 16, 32, 33, 64, 130])), int(rng.choice([1, 4, 9]))
    graph = dense_families.make_layer(
        rng, "plain", kind, units=units, depth=depth, bias=rng.integers(-900, 900, units), input_shape=(3, depth),
        lowest=0.5,
    )  # fmt: skip
    return dense_families.random_case("lowest weights", dense_families.rescaled(graph, rng), rng, 4)


def narrow_accumulator(rng: Rng, kind: Kind) -> Case:
    """Biases around 2^27, where an accumulator of 28 bits wraps and one of 32 does not."""
    units, depth = 16, int(rng.choice([2, 8, 63, 256]))
    ends = rng.choice([2**27, -(2**27), 2**28, -(2**29)], units) + rng.integers(-30000, 30000, units)
    graph = dense_families.make_layer(
        rng, str(rng.choice(["small", "vanishing"])), kind, units=units, depth=depth, bias=ends, input_shape=(4, depth)
    )
    return dense_families.random_case("accumulators of 28 bits", graph, rng, 4)


def long_sums(rng: Rng, kind: Kind) -> Case:
    """Inputs and weights at their ends over a large depth: 16-bit partial sums of a kernel would saturate."""
    depth, units = int(rng.choice([512, 2048])), 4
    graph = dense_families.rescaled(dense_families.make_layer(rng, "plain", kind, units=units, depth=depth), rng)
    layer = Case("", graph, ()).layer
    rows = dense_families.boundary_inputs(layer, rng)
    return Case("long sums of extremes", graph, tuple(row[None] for row in rows))


def bounds_at_ties(rng: Rng, kind: Kind) -> Case:
    """A fused activation whose bound lies half-way between two output steps: before or after the zero point?"""
    while True:
        steps = int(rng.integers(2, 40)) + 0.5
        activation, real = [("RELU6", 6.0), ("RELU_N1_TO_1", 1.0)][int(rng.integers(2))]
        scale = np.float32(real / steps)
        if np.float32(real) / scale == np.float32(steps):
            break
    graph = dense_families.make_layer(rng, "plain", kind, units=12, depth=9, activation=activation, input_shape=(6, 9))
    tensors = list(graph.tensors)
    given, weights, output = tensors[0], tensors[1], tensors[-1]
    assert given.quant is not None
    assert weights.quant is not None
    low, high = dense_families.dtype_range(kind.input_dtype)
    # 0.08 output steps for each step of the accumulator: outputs spread far beyond both bounds. An odd zero point
    # makes the even neighbour another one after it is added.
    tensors[0] = replace(given, quant=quant(scale * 4, (low + high + 1) // 2))
    tensors[1] = replace(weights, quant=quant(weights.quant.scale * 0 + 0.02, weights.quant.zero_point))
    tensors[-1] = replace(output, quant=quant(scale, int(rng.integers(low // 2, high // 2)) | 1))
    return dense_families.random_case("activation bounds at ties", replace(graph, tensors=tuple(tensors)), rng, 4)


def beyond_int32(rng: Rng, kind: Kind) -> Case:
    """Scaled accumulators that leave int32, with every sort of output zero point: saturate, wrap, or INT32_MIN?"""
    low, _ = dense_families.dtype_range(kind.input_dtype)
    template = dense_families.make_layer(rng, "above_one", kind, units=24, depth=2)
    tensors = list(template.tensors)
    output = tensors[-1]
    tensors[-1] = replace(output, quant=quant(0.125, int(rng.choice([low, 0, 0, -3 if low < 0 else 3]))))
    layer = Case("", replace(template, tensors=tuple(tensors)), ()).layer
    factors = np.float64(8) * np.broadcast_to(layer.weights_scale, 24)
    away = np.repeat([-1, 0, 1, 40], 6) * np.tile([1, 1, 1, -1, -1, -1], 4)
    bias = np.rint(np.tile([-1.0, 1.0], 12) * 2.0**31 / factors).astype(np.int64) + away
    graph = probe_subgraph(layer, [bias[i : i + 1] for i in range(24)], list(range(24)))
    return dense_families.random_case("scaled beyond int32", graph, rng, 1)


EXTRA: tuple[Callable[[Rng, Kind], Case], ...] = (
    small_shapes,
    lowest_weights,
    narrow_accumulator,
    long_sums,
    bounds_at_ties,
    beyond_int32,
)


def cases(rng: Rng, rounds: int, kind: Kind, probes: int = 4000) -> Iterator[Case]:
    """`rounds` cases of every family for one kind of layer."""
    for _ in range(rounds):
        yield from dense_families.cases(rng, 1, kind, probes)
        for family in EXTRA:
            yield family(rng, kind)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Every kind, one after the other."""
    for number, kind in enumerate(KINDS):
        yield from cases(np.random.default_rng([seed, 100 + number]), rounds, kind)


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set, with the kind of layer each case is of."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([GOLDEN_SEED, number])
        chosen = list(cases(rng, GOLDEN_ROUNDS, kind, GOLDEN_PROBES))
        # Small ones that separate rules which little else separates.
        chosen += [family(rng, kind) for family in (bounds_at_ties, beyond_int32) for _ in range(6)]
        chosen += [dense_families.requantization(rng, kind, "small", GOLDEN_PROBES) for _ in range(2)]
        yield from ((kind.group, case) for case in chosen if len(write(case.graph)) <= LARGEST_MODEL)


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of the family, prepared for a layer; with int4 weights each also with an accumulator of 28 bits."""
    weights = model.operand(op, 1)
    dtype = "" if weights is None else weights.dtype.name
    own = {
        n: r for n, r in RULES.items() if r.scales == Scales(r.scales.product) and r.sums == Sums(32, r.sums.products)
    }
    names = list(own)
    # What fbgemm's source says and no build does. It parts from what builds do at a few accumulators of large biases,
    # which the golden set of fbgemm's own family has (families_other_runtimes.fused_bias).
    names.remove("float32-bias_by_reciprocal-half_even")
    if dtype == "uint8":
        # float32-half_even once more: they differ where INT32_MIN plus a negative zero point wraps.
        names.remove("float32-half_even-saturate")
    narrow: list[IntegerRule] = []
    if dtype == "int4":
        # Two products of an int4 weight never leave 16 bits.
        names = [name for name in names if own[name].sums.products == WHOLE]
        narrow = [replace(own[name], name=f"{name}/acc28", sums=Sums(28)) for name in names]
    return {rule.name: prepare_fully_connected(model, op, rule) for rule in (*(own[name] for name in names), *narrow)}
