"""Families of dense layers for the runtimes that are handed single layers: CMSIS-NN, ONNX Runtime, PyTorch's fbgemm.

They are the families of `dense_families`, with what these runtimes do otherwise: a layer without a bias goes to another
operator (QLinearMatMul), products of the largest values may saturate in 16 bits, and a bias may be added in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from lab.cases import dense_int16
from lab.cases.dense import (
    OTHER_FAMILIES,
    SCALE_KINDS,
    Case,
    Kind,
    Rng,
    cases,
    dtype_range,
    make_layer,
    random_case,
    requantization,
    rescaled,
)
from lastbit.layers.separating_inputs import all_rules, boundary_inputs, probe_subgraph, tie_seeking_inputs
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.base import Evaluate, PreparedOperator
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.oracles import ORACLES, Fingerprint
from lastbit.rules.requantize.table import EIGHT_BIT as EVERY_RULE
from lastbit.rules.requantize.table import INT16 as EVERY_RULE_INT16
from lastbit.rules.requantize.vector import requantize

RUNTIMES = ("cmsis-nn", "cmsis-nn-single-rounding", "onnxruntime", "torch-fbgemm")

KINDS = (
    Kind(),
    Kind(per_channel=True),
    Kind(weights_zero_point=True),
    Kind(input_dtype="uint8", weights_dtype="uint8", weights_zero_point=True),
)

LARGEST_CASE = 5_000
ORACLES_OF_LIBRARIES = {spec.distribution for spec in ORACLES.values() if spec.library}


def without_bias(rng: Rng, kind: Kind) -> Case:
    """No bias, and inputs solved so that an accumulator is one at which rules part: all rows in one call."""
    depth, units = int(rng.choice([16, 48, 129])), int(rng.choice([5, 16, 33]))
    scales = str(rng.choice(["power_of_two", "half_integer", "plain"]))
    graph = make_layer(rng, scales, kind, units=units, depth=depth)
    graph = rescaled(graph, rng, power_of_two=scales != "plain")
    return _solved("no bias, solved ties and boundaries", graph, rng)


def inexact_bias(rng: Rng, kind: Kind) -> Case:
    """Biases whose way through a real value and back loses bits, with inputs solved onto ties and boundary inputs."""
    depth, units = int(rng.choice([8, 64])), 24
    graph = make_layer(
        rng, str(rng.choice(["plain", "half_integer"])), kind, units=units, depth=depth,
        bias=rng.choice([1, -1], units) * (2.0 ** rng.uniform(0, 24, units)).astype(np.int64),
    )  # fmt: skip
    return _solved("biases that float32 changes, solved ties and boundaries", rescaled(graph, rng), rng)


def fused_bias(rng: Rng, kind: Kind) -> Case:
    """A bias fused with the sum, or rounded before it: dot products at which only this decides, in each unit some.

    All units have the same weights, steps of 1 and of the most, so that an input for any dot product is at hand.
    """
    units, depth = 12, 160
    low, high = dtype_range(kind.input_dtype)
    zx, zw = (low + high) // 2 + 1, {"int8": 5 * kind.weights_zero_point, "uint8": 133}[kind.weights_dtype]
    most = dtype_range(kind.weights_dtype)[1] - zw
    scale, factor = np.float32(rng.uniform(0.001, 0.2)), np.float32(rng.uniform(3e-4, 3e-3))
    weights_scale = np.float32(rng.uniform(0.001, 0.2)) * np.ones(units if kind.per_channel else 1, np.float32)
    graph = dense_subgraph(
        np.tile(np.where(np.arange(depth), most, 1) + zw, (units, 1)),
        input_quant=quant(scale, zx),
        weights_quant=quant(weights_scale, zw),
        output_quant=quant(scale * weights_scale[0] / factor, int(rng.integers(low, high + 1))),
        bias=rng.choice([1, -1], units) * rng.integers(2**16, 2**20, units),
        input_dtype=kind.input_dtype,
        weights_dtype=kind.weights_dtype,
    )
    model = load(write(graph))
    fused, rounded = (
        rule.requant  # type: ignore[attr-defined]
        for name, rule in rivals(model, model.operators[0]).items()
        if name in ("float32-bias_fused-half_even", "float32-bias_by_reciprocal-half_even")
    )
    layer = Case("", graph, ()).layer
    edges = (np.arange(low - 1, high + 1) + 0.5 - layer.output_zero_point) / fused.effective_scale[0]
    accs = np.rint(edges[:, None, None] + np.arange(-2, 3)[:, None] + np.zeros(units)).astype(np.int64)
    differ = requantize(accs, fused)["output"] != requantize(accs, rounded)["output"]
    dots = (accs - layer.bias_values)[differ]
    dots = dots[np.abs(dots) < most * 120 * (depth - 1)]
    rows = np.zeros((min(dots.size, 40), depth), np.int64)
    rest = rng.permutation(dots)[: len(rows)]
    for column in range(1, depth):
        rows[:, column] = np.clip(np.rint(rest / most), -120, 120)
        rest = rest - rows[:, column] * most
    rows[:, 0] = rest
    return _batched("a bias fused with the sum or not", graph, rows + zx, rng)


def largest_products(rng: Rng, kind: Kind) -> Case:
    """Weights and inputs at the ends of their range: neighbouring products whose sum no 16-bit register holds."""
    depth, units = int(rng.choice([2, 32, 255, 2048])), 8
    graph = rescaled(make_layer(rng, "plain", kind, units=units, depth=depth, bias=rng.integers(-9, 9, units)), rng)
    weights = graph.tensors[1]
    assert weights.data is not None
    ends = np.asarray([weights.data.min(), weights.data.max()])
    # Whole runs of one sign, then alternating pairs.
    chosen = np.where(rng.random((units, 1)) < 0.5, rng.integers(0, 2, (units, 1)), rng.integers(0, 2, (units, depth)))
    tensors = list(graph.tensors)
    tensors[1] = replace(weights, data=ends[chosen].astype(weights.data.dtype))
    return _batched("products at both ends", replace(graph, tensors=tuple(tensors)), np.empty((0, depth)), rng)


def bounds_at_ties(rng: Rng, kind: Kind) -> Case:
    """A fused activation whose bound lies between two steps: its rounding is another rule's only difference."""
    units, depth = 12, 4
    activation, real = [("RELU6", 6.0), ("RELU_N1_TO_1", 1.0)][int(rng.integers(2))]
    wanted = np.float32(rng.integers(1, 40) + 0.5)
    scale = np.float32(real) / wanted
    if np.float32(real) / scale != wanted:
        scale = np.float32(real / 4.5)
    bias = rng.choice([2**28, -(2**28), 0], units)
    graph = make_layer(rng, "plain", kind, units=units, depth=depth, activation=activation, bias=bias)
    low, high = dtype_range(kind.input_dtype)
    tensors = list(graph.tensors)
    # In the middle of the range, so that both bounds are inside it.
    tensors[-1] = replace(tensors[-1], quant=quant(scale, int(rng.integers(low + 60, high - 60))))
    return _batched("activation bounds at ties", replace(graph, tensors=tuple(tensors)), np.empty((0, depth)), rng)


def _solved(family: str, graph: Subgraph, rng: Rng) -> Case:
    layer = Case("", graph, ()).layer
    rows, _ = tie_seeking_inputs(layer, all_rules(layer, EVERY_RULE), 48, rng)
    return _batched(family, graph, rows, rng)


def _batched(family: str, graph: Subgraph, rows: np.ndarray, rng: Rng) -> Case:
    """One call with the given rows, boundary rows and a few random ones."""
    layer = Case("", graph, ()).layer
    dtype = layer.input.dtype
    low, high = dtype_range(dtype.name)
    drawn = rng.integers(low, high + 1, (8, layer.depth))
    x = np.concatenate([rows, boundary_inputs(layer, rng), drawn]).astype(dtype.numpy)
    tensors = list(graph.tensors)
    tensors[0] = replace(tensors[0], shape=x.shape, shape_signature=x.shape)
    tensors[-1] = replace(tensors[-1], shape=(len(x), layer.units), shape_signature=(len(x), layer.units))
    return Case(family, replace(graph, tensors=tuple(tensors)), (x,))


FAMILIES = (without_bias, inexact_bias, fused_bias, largest_products, bounds_at_ties)


def kind_cases(rng: Rng, rounds: int, kind: Kind, probes: int) -> Iterator[Case]:
    """`rounds` cases of every family, for one kind."""
    for _ in range(rounds):
        yield from cases(rng, 1, kind, probes)
        for family in FAMILIES:
            yield family(rng, kind)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Every kind, one after the other."""
    for number, kind in enumerate(KINDS):
        yield from kind_cases(np.random.default_rng([seed, number, 4]), rounds, kind, 6000)


def spread(case: Case) -> Case:
    """The same layer with an unused input beside each: weights of 0 bits, inputs at their zero point.

    fbgemm on a CPU without VNNI adds neighbouring uint8 x int8 products in 16 bits, which saturate. With every other
    product at 0 none does, and what is left to see is the accumulator and its requantization.
    """
    tensors = list(case.graph.tensors)
    given, weights = tensors[0], tensors[1]
    assert weights.data is not None
    assert given.quant is not None
    zero = 128 if weights.dtype.name == "uint8" else 0
    wide = np.full((*weights.shape[:-1], 2 * weights.shape[-1]), zero, weights.data.dtype)
    wide[..., ::2] = weights.data
    tensors[1] = replace(weights, shape=wide.shape, shape_signature=wide.shape, data=wide)
    shape = (*given.shape[:-1], 2 * given.shape[-1])
    tensors[0] = replace(given, shape=shape, shape_signature=shape)
    samples = []
    for x in case.samples:
        doubled = np.full((*x.shape[:-1], 2 * x.shape[-1]), given.quant.zero_point[0], x.dtype)
        doubled[..., ::2] = x
        samples.append(doubled)
    return Case(f"{case.family}, spread", replace(case.graph, tensors=tuple(tensors)), tuple(samples))


def spread_cases(seed: int, rounds: int) -> Iterator[Case]:
    """`all_cases`, spread."""
    return (spread(case) for case in all_cases(seed, rounds))


def bulk_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Requantization functions printed with many probes each: most of the outputs for little time."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number, 5])
        # One layer has as many functions to print as it has channels.
        for _ in range(rounds if kind.per_channel else 8 * rounds):
            yield from (requantization(rng, kind, scales, 24_000) for scales in SCALE_KINDS)


INT16_RUNTIMES = ("cmsis-nn", "cmsis-nn-single-rounding")
INT16_KINDS = tuple(dense_int16.Kind("int8", False, bias) for bias in ("int64_bias", "no_bias"))


def beyond_int32(rng: Rng, kind: dense_int16.Kind) -> Case:
    """Factors of 2^6 and more on sums of 2^20 and more: twice the result passes an int32 register, or does not."""
    units, depth = 8, int(rng.choice([1, 16, 64]))
    graph = dense_subgraph(
        rng.integers(-127, 128, (units, depth)),
        input_quant=quant(1),
        weights_quant=quant(2.0 ** rng.uniform(6, 13.9)),
        output_quant=quant(1),
        bias=None if kind.bias_dtype is None else rng.integers(-(2**30), 2**30, units),
        input_shape=(12, depth),
        input_dtype="int16",
        bias_dtype=kind.bias_dtype or "int64",
    )
    return random_case("results beyond int32", graph, rng, 1)


def int16_cases(seed: int, rounds: int) -> Iterator[Case]:
    """int16 activations, which CMSIS-NN alone of these runtimes takes."""
    for number, kind in enumerate(INT16_KINDS):
        rng = np.random.default_rng([seed, number, 16])
        yield from dense_int16.cases(rng, rounds, kind)
        yield from (beyond_int32(rng, kind) for _ in range(rounds))


def disputed(rng: Rng, kind: Kind, scales: str) -> Case:
    """As `requantization`, with only a few of the accumulators at which each pair of rules differs."""
    full = requantization(rng, kind, scales, 4000)
    model = load(write(full.graph))
    rules = rivals(model, model.operators[0])
    outputs = {name: rule.evaluate(full.samples)["output"][0] for name, rule in rules.items()}
    chosen = {0, 1}  # more than one, so that scales per channel stay such
    for a, b in itertools.combinations(outputs, 2):
        columns = np.flatnonzero(outputs[a] != outputs[b])
        if columns.size and not chosen.intersection(columns.tolist()):
            chosen.update(rng.choice(columns, min(2, columns.size), replace=False).tolist())
    kept = sorted(chosen)
    bias, scale = full.layer.bias_values[kept], full.layer.weights_scale
    graph = probe_subgraph(
        replace(
            full.layer, weights=replace(full.layer.weights, quant=quant(scale[kept], full.layer.weights_zero_point))
        )
        if kind.per_channel
        else full.layer,
        [bias[i : i + 1] for i in range(bias.size)],
        list(range(bias.size)),
    )
    return Case(full.family, graph, full.samples)


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set, each case with its kind: it separates every pair of different rules."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([11, number])
        for scales in SCALE_KINDS * 3:
            yield kind.group, disputed(rng, kind, scales)
        yield kind.group, fused_bias(rng, kind)  # as large as it is, nothing else separates what it does
        for family in (*OTHER_FAMILIES, *FAMILIES) * 5:
            case = family(rng, kind)
            if len(write(case.graph)) + sum(x.nbytes for x in case.samples) <= LARGEST_CASE:
                yield kind.group, case
    for number, wide in enumerate(INT16_KINDS):
        rng = np.random.default_rng([12, number])
        for scales in ("plain", "half_integer", "parting", "above_one"):
            yield wide.group, dense_int16.requantization(rng, wide, scales, 400, few=True)
        for other in (*dense_int16.OTHER_FAMILIES, beyond_int32, beyond_int32):
            case = other(rng, wide)
            if len(write(case.graph)) + sum(x.nbytes for x in case.samples) <= LARGEST_CASE:
                yield wide.group, case


def built_fingerprint(fingerprint: Fingerprint, build: tuple[str, str] | None) -> dict[str, str]:
    """A fingerprint as data; that of a library with its version and with how it was built."""
    data = fingerprint.as_dict()
    if build is not None and fingerprint.oracle in ORACLES_OF_LIBRARIES:
        data |= {"version": build[0], "build": f"{build[1]}; {data['version']}"}
    return data


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every requantization rule there is, of every runtime, prepared for a layer."""
    return remembered(model.content, _rivals) if model.content else _rivals(model)


def _rivals(model: Model) -> dict[str, PreparedOperator]:
    op = model.operators[0]
    wide = model.tensors[op.inputs[0]].dtype.name == "int16"
    return {name: prepare_fully_connected(model, op, name) for name in (EVERY_RULE_INT16 if wide else EVERY_RULE)}


@lru_cache(maxsize=1)
def remembered(content: bytes, prepare: Callable[[Model], dict[str, PreparedOperator]]) -> dict[str, PreparedOperator]:
    """The rivals of a layer, which calculate each input once although several runtimes are compared with them."""

    def once(evaluate: Evaluate) -> Evaluate:
        known: dict[bytes, dict[str, Any]] = {}

        def remembering(values: Sequence[Any]) -> dict[str, Any]:
            key = values[0].tobytes()
            if key not in known:
                known[key] = evaluate(values)
            return known[key]

        return remembering

    found = prepare(load(content))
    return {name: replace(rival, evaluate=once(rival.evaluate)) for name, rival in found.items()}
