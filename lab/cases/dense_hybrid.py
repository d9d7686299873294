"""Families of hybrid dense layers (float32 activations, int8 or int4 weights) that separate rules, and the rival rules.

Random inputs separate the formulas of the output (its last bit shows every rounding), but not how rows are quantized:
that takes inputs that fall on ties of the row's own grid, rows of zeros, tiny and huge rows, and weights at the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lab.cases.dense import ACTIVATIONS, Case, Rng
from lab.cases.dense_hybrid_rivals import rivals
from lastbit.model.graph import Subgraph
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import Float32Array

__all__ = ["KINDS", "all_cases", "cases", "golden_cases", "group", "rivals"]

GOLDEN_SEED, GOLDEN_ROUNDS, LARGEST_CASE = 9, 3, 8_000

Kind = tuple[str, bool]  # weights' element type, per channel

KINDS: tuple[Kind, ...] = (("int8", False), ("int8", True), ("int4", False), ("int4", True))


def group(kind: Kind) -> str:
    """The kind in a few words."""
    return f"float32 x {kind[0]} {'per_channel' if kind[1] else 'per_tensor'}"


def _limit(kind: Kind) -> int:
    return 8 if kind[0] == "int4" else 128


def make_layer(
    rng: Rng,
    kind: Kind,
    *,
    units: int,
    depth: int,
    rows: int = 1,
    weights: npt.NDArray[np.integer] | None = None,
    bias: Float32Array | None = None,
    shape: tuple[int, ...] | None = None,
    keep_num_dims: bool = False,
    activation: str | None = None,
    asymmetric: bool | None = None,
) -> Subgraph:
    """A layer of random weights and scales, unless they are given."""
    limit = _limit(kind)
    if weights is None:
        weights = rng.integers(1 - limit, limit, (units, depth))
    scales = rng.uniform(0.0005, 0.05, units if kind[1] and units > 1 else 1)
    return dense_subgraph(
        weights.astype(np.int8),
        input_quant=None,
        weights_quant=quant(scales),
        output_quant=None,
        bias=bias,
        activation=str(rng.choice(ACTIVATIONS, p=[0.55, 0.15, 0.15, 0.15])) if activation is None else activation,
        input_shape=shape or (rows, depth),
        keep_num_dims=keep_num_dims,
        input_dtype="float32",
        weights_dtype=kind[0],
        bias_dtype="float32",
        asymmetric_quantize_inputs=bool(rng.random() < 0.5) if asymmetric is None else asymmetric,
    )


def some_bias(rng: Rng, units: int) -> Float32Array | None:
    """A bias, or now and then none."""
    return rng.normal(size=units).astype(np.float32) if rng.random() < 0.7 else None


def _normal(rng: Rng, shape: tuple[int, ...]) -> Float32Array:
    values = rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4)
    sign = rng.random()
    return np.asarray(np.abs(values) if sign < 0.15 else -np.abs(values) if sign < 0.3 else values, np.float32)


def random_layers(rng: Rng, kind: Kind) -> Case:
    """Ordinary layers of every depth and batch: sums, scales, bias and each rounding of the output."""
    depth = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 34, 36, 62, 64, 66, 100, 128, 255, 640, 1024]))
    units, rows = int(rng.choice([1, 2, 3, 4, 5, 8, 16, 17, 64])), int(rng.choice([1, 1, 2, 3, 4, 5, 8, 16, 33]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units))
    return Case("random layers", graph, tuple(_normal(rng, (rows, depth)) for _ in range(6)))


def many_rows(rng: Rng, kind: Kind) -> Case:
    """Many rows of every magnitude and units at once: the bulk of the outputs."""
    depth, units, rows = int(rng.choice([6, 8, 14, 32, 46, 64])), 128, 64
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units), activation="NONE")
    magnitudes = 10.0 ** rng.uniform(-6, 6, (8, rows, 1))
    values = (rng.normal(size=(8, rows, depth)) + rng.normal(size=(8, rows, 1))) * magnitudes
    return Case("many rows", graph, tuple(values.astype(np.float32)))


def ranks(rng: Rng, kind: Kind) -> Case:
    """Inputs of rank 1 to 4, with and without keep_num_dims."""
    depth, units, rank = int(rng.integers(1, 40)), int(rng.integers(1, 20)), int(rng.integers(1, 5))
    shape = (*(int(v) for v in rng.integers(1, 4, rank - 1)), depth)
    keep = bool(rng.random() < 0.5) and rank > 1
    graph = make_layer(rng, kind, units=units, depth=depth, bias=some_bias(rng, units), shape=shape, keep_num_dims=keep)
    return Case("ranks 1 to 4, keep_num_dims", graph, tuple(_normal(rng, shape) for _ in range(4)))


def input_ties(rng: Rng, kind: Kind) -> Case:
    """Inputs half way between two steps of the row's grid, and one float beside: how rows are rounded."""
    depth = int(rng.choice([2, 5, 8, 12, 16, 31, 32, 40, 64])) + 1
    units, rows = int(rng.choice([3, 4, 8])), int(rng.choice([1, 2, 3]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units), activation="NONE")
    samples = []
    for asymmetric in (False, True, True, True):
        step = 2.0 ** rng.integers(-8, 3)
        low = int(rng.integers(-255, 1)) if asymmetric else -127
        high = 255 + low if asymmetric else 127
        values = rng.integers(low, high, (rows, depth)) + 0.5
        values = (values * step).astype(np.float32)
        beside = np.nextafter(values, np.float32(0))
        values = np.where(rng.random(values.shape) < 0.3, beside, values)
        # Just below one half: adding one half in float32 gives 1.
        values[rng.random(values.shape) < 0.15] = np.nextafter(np.float32(0.5), np.float32(0)) * np.float32(step)
        values[:, 0], values[:, -1] = low * step, high * step
        samples.append(values)
    return Case("inputs on ties", graph, tuple(samples))


def zero_points(rng: Rng, kind: Kind) -> Case:
    """Rows whose zero point falls on a tie, or whose ends have the same error: how the zero point is found."""
    depth, units, rows = 9, 4, 8
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units), asymmetric=True)
    samples = []
    for _ in range(3):
        ends = np.sort(rng.integers(0, 255, (rows, 1)) + 0.5, axis=1)
        low, high = -ends, 255 - ends
        values = rng.uniform(low, high, (rows, depth))
        values[:, 0], values[:, 1] = low[:, 0], high[:, 0]
        if rng.random() < 0.4:
            values[:, 1] = -values[:, 0]  # as far below zero as above
        samples.append((values * 2.0 ** rng.integers(-8, 2)).astype(np.float32))
    return Case("zero points on ties", graph, tuple(samples))


def zeros(rng: Rng, kind: Kind) -> Case:
    """Rows of zeros among others and alone, with zeros of both signs in the bias."""
    depth, units, rows = int(rng.choice([3, 8, 32, 40])), int(rng.choice([2, 4, 6])), int(rng.choice([1, 2, 3]))
    bias = rng.choice(np.float32([0.0, -0.0, 1.5, -1e-40]), units)
    bias[0] = -0.0
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=bias if rng.random() < 0.9 else None)
    some = _normal(rng, (rows, depth))
    some[0] = 0
    zero = np.zeros((rows, depth), np.float32)
    sparse = np.where(rng.random((rows, depth)) < 0.8, zero, _normal(rng, (rows, depth)))
    return Case("zeros", graph, (zero, -zero, some, sparse.astype(np.float32)))


def ends_of_float32(rng: Rng, kind: Kind) -> Case:
    """Subnormal, tiny, huge and infinite inputs, all magnitudes at once; biases that are subnormal or huge."""
    depth = int(rng.choice([1, 3, 8, 17, 32, 34, 64]))
    units, rows = int(rng.choice([1, 4, 9])), int(rng.choice([1, 3]))
    bias = rng.normal(size=units) * 10.0 ** int(rng.choice([-44, -38, 0, 38]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=bias.astype(np.float32))
    shape = (rows, depth)
    samples = [
        rng.integers(-3000, 3000, shape) * 2.0**-149,
        rng.normal(size=shape) * 2.0 ** rng.integers(-130, -115),
        rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-38, 38, shape),
        rng.uniform(-3.4e38, 3.4e38, shape),
        rng.uniform(0, 3.4e38, shape),
    ]
    for sign in ((1,), (-1,), (1, -1)):
        infinite = rng.normal(size=shape)
        for s in sign:
            infinite.flat[rng.integers(infinite.size)] = s * np.inf
        samples.append(infinite)
    return Case("ends of float32", graph, tuple(x.astype(np.float32) for x in samples))


def lowest_weights(rng: Rng, kind: Kind) -> Case:
    """Weights of -128 and -8 at every place of a block: the wrong sign in SSE code, the spill of the 4-bit kernel."""
    depth = int(rng.choice([8, 15, 16, 24, 31, 32, 40, 44, 48, 62, 64, 96]))
    units, rows = int(rng.choice([3, 4, 5, 16])), int(rng.choice([1, 2, 5]))
    limit = _limit(kind)
    weights = rng.integers(1 - limit, limit, (units, depth))
    weights[rng.random(weights.shape) < rng.choice([0.05, 0.5, 1.0])] = -limit
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, weights=weights, bias=some_bias(rng, units))
    return Case("lowest weights", graph, tuple(_normal(rng, (rows, depth)) for _ in range(4)))


def sums_of_weights(rng: Rng, kind: Kind) -> Case:
    """Deep units of one weight, whose sum leaves 16 bits; deeper ones leave the accumulator's 32, or 28."""
    limit = _limit(kind)
    depth = int(rng.choice([2064, 2080, 2090, 4111] if kind[0] == "int8" else [33000, 33001, 34010]))
    weights = np.full((2, depth), limit - 1)
    weights[1] = -limit
    graph = make_layer(rng, kind, units=2, depth=depth, weights=weights, bias=some_bias(rng, 2), asymmetric=True)
    # A short pattern over and over: it makes golden files small.
    values = np.resize(np.abs(rng.normal(size=(1, 7))), (1, depth))
    return Case("sums of weights beyond 16 bits", graph, (values.astype(np.float32), (1 - values).astype(np.float32)))


def refusals(rng: Rng, kind: Kind) -> Case:
    """Layers that some kernels refuse: weights with a zero point or a subnormal scale."""
    units, depth = 4, int(rng.choice([8, 32]))
    graph = make_layer(rng, kind, units=units, depth=depth, bias=some_bias(rng, units))
    tensors = list(graph.tensors)
    assert tensors[1].quant is not None
    scales, zero_points = tensors[1].quant.scale.copy(), tensors[1].quant.zero_point.copy()
    if rng.random() < 0.6:
        zero_points[:] = int(rng.choice([-3, 1, 5]))
    else:
        scales[-1] = 1e-40
    tensors[1] = replace(tensors[1], quant=replace(tensors[1].quant, scale=scales, zero_point=zero_points))
    samples = tuple(_normal(rng, (1, depth)) for _ in range(2))
    return Case("layers that some kernels refuse", replace(graph, tensors=tuple(tensors)), samples)


FAMILIES: tuple[Callable[[Rng, Kind], Case], ...] = (
    random_layers,
    ranks,
    input_ties,
    zero_points,
    zeros,
    ends_of_float32,
    lowest_weights,
    refusals,
)


def cases(rng: Rng, rounds: int, kind: Kind) -> Iterator[Case]:
    """`rounds` cases of every family, and now and then a very deep layer, or one with many rows."""
    for number in range(rounds):
        for family in FAMILIES:
            yield family(rng, kind)
        if number % 10 == 0:
            yield sums_of_weights(rng, kind)
        if number % 3 == 2:
            yield many_rows(rng, kind)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """All kinds, one after the other."""
    for number, kind in enumerate(KINDS):
        yield from cases(np.random.default_rng([seed, number]), rounds, kind)


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set, with the kind of layer each case is of. Very deep layers are all one weight, so they compress."""
    for number, kind in enumerate(KINDS):
        for case in cases(np.random.default_rng([GOLDEN_SEED, number]), GOLDEN_ROUNDS, kind):
            constant = case.family.startswith("sums")
            size = len(write(case.graph)) + sum(x.nbytes for x in case.samples)
            if constant or size <= LARGEST_CASE:
                yield group(kind), case
