"""Families of dense layers with int16 activations: every weights type, granularity and sort of bias.

As in `dense_families`, each generator's docstring says what it is for. A kind of layer is what the variant of a layer
with int16 activations is made of; see `lastbit.ops.dense_layer.dense_variant`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lab.cases.dense import ACTIVATIONS, Case, Rng, dtype_range, random_case
from lastbit.arith.fixedpoint import quantize_multiplier, reduce_multiplier
from lastbit.layers.separating_inputs import (
    all_rules,
    boundary_inputs,
    critical_accumulators,
    outputs_of_rules,
    probe_subgraph,
    tie_seeking_inputs,
)
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.ops.dense.layer import DenseLayer
from lastbit.rules.requantize.fold import effective_scale
from lastbit.rules.requantize.table import COMMON_INT16 as RULES_INT16

BIASES = ("int64_bias", "int32_bias_type", "no_bias")
GOLDEN_SEED = 17


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes:
        weights: the weights' element type.
        per_channel: whether each unit has a weights scale of its own.
        bias: one of `int64_bias`, `int32_bias_type` (and so quantized_bias_type), `int32_bias`, `no_bias`.
        zero_point: whether the weights have a zero point that is not 0.
    """

    weights: str
    per_channel: bool
    bias: str
    zero_point: bool = False

    @property
    def group(self) -> str:
        """The kind in a few words."""
        zero_point = " weights_zero_point" if self.zero_point else ""
        return f"int16 x {self.weights} {'per_channel' if self.per_channel else 'per_tensor'}{zero_point} {self.bias}"

    @property
    def bias_dtype(self) -> str | None:
        """The bias's element type, or None where there is none."""
        return {"no_bias": None, "int64_bias": "int64"}.get(self.bias, "int32")


KINDS = (
    *(Kind(weights, pc, bias) for weights in ("int8", "int4", "int16") for pc in (False, True) for bias in BIASES),
    *(Kind("int8", False, bias, zero_point=True) for bias in BIASES),
)
# What LiteRT's reference arithmetic misreads, so that only the other kernels can be compared with it.
MISREAD = (
    *(Kind(weights, pc, "int32_bias") for weights in ("int8", "int4") for pc in (False, True)),
    Kind("int8", False, "int32_bias", zero_point=True),
)
SCALES = ("plain", "power_of_two", "half_integer", "parting", "above_one", "far_above_one", "small")


def _scales(rng: Rng, scales: str, channels: int) -> tuple[np.float32, npt.NDArray[np.float32], np.float32]:
    """s_x, s_w and s_y of one kind of difficulty."""
    if scales == "plain":
        sx, sy = np.float32(rng.uniform(1e-5, 1e-3)), np.float32(rng.uniform(1e-5, 1e-2))
        return sx, rng.uniform(0.0005, 0.05, channels).astype(np.float32), sy
    if scales == "power_of_two":
        sx, sy = np.float32(2.0 ** rng.integers(-15, -8)), np.float32(2.0 ** rng.integers(-15, -8))
        return sx, (2.0 ** rng.integers(-12, 1, channels)).astype(np.float32), sy
    if scales == "half_integer":
        sx, sy = np.float32(2.0**-12), np.float32(2.0 ** rng.integers(-12, -9))
        return sx, (rng.integers(1, 200, channels) * 2.0 ** rng.integers(-14, -6)).astype(np.float32), sy
    if scales == "parting":
        return _parting_scales(rng, channels)
    if scales == "above_one":
        return np.float32(1), rng.uniform(1, 127, channels).astype(np.float32), np.float32(1)
    if scales == "far_above_one":
        # Shifts of 8 and more, beyond what the kernels' authors expect; from 15 on, counts of shifts become negative.
        return np.float32(1), (2.0 ** rng.uniform(7, 26, channels)).astype(np.float32), np.float32(1)
    assert scales == "small"
    sx, sy = np.float32(2.0**-14), np.float32(rng.uniform(0.5, 2))
    return sx, (rng.uniform(0.5, 4.0, channels) * 2.0 ** -rng.integers(4, 16)).astype(np.float32), sy


def _parting_scales(rng: Rng, channels: int) -> tuple[np.float32, npt.NDArray[np.float32], np.float32]:
    """Scales whose product in float32 gives another multiplier of 15 bits than in float64: about one in 800 does."""
    while True:
        sx, sy = np.float32(rng.uniform(1e-4, 1e-2)), np.float32(rng.uniform(1e-4, 1e-2))
        sw = rng.uniform(1e-4, 1e-2, 40_000).astype(np.float32)
        fd, dd = (
            reduce_multiplier(quantize_multiplier(effective_scale(sx, sw, sy, product))[0]) for product in ("fd", "dd")
        )
        found = sw[fd != dd]
        if found.size:
            return sx, rng.choice(found, channels), sy


def _layer(
    rng: Rng,
    kind: Kind,
    scales: str,
    *,
    units: int,
    depth: int,
    bias: npt.NDArray[np.int64] | None = None,
    activation: str = "NONE",
    input_shape: tuple[int, ...] | None = None,
    keep_num_dims: bool = False,
    high: bool = False,
) -> Subgraph:
    """One layer with random weights, or `high` ones; where the kind has no bias, `bias` is left out."""
    lowest, highest = dtype_range(kind.weights)
    sx, sw, sy = _scales(rng, scales, units if kind.per_channel else 1)
    stated = {"int32_bias_type": "int32", "int64_bias": "int64" if kind.weights == "int16" else "float32"}
    return dense_subgraph(
        rng.integers(highest * 7 // 8 if high else lowest, highest + 1, (units, depth)),
        input_quant=quant(sx),
        weights_quant=quant(sw, int(rng.integers(1, 10)) if kind.zero_point else 0),
        output_quant=quant(sy),
        bias=None if kind.bias_dtype is None else np.zeros(units, np.int64) if bias is None else bias,
        activation=activation,
        input_shape=input_shape,
        keep_num_dims=keep_num_dims,
        input_dtype="int16",
        weights_dtype=kind.weights,
        bias_dtype=kind.bias_dtype or "int32",
        quantized_bias_type=stated.get(kind.bias, "float32"),
    )


def _activation(rng: Rng) -> str:
    return str(rng.choice(ACTIVATIONS, p=[0.55, 0.15, 0.15, 0.15]))


def _bias(rng: Rng, kind: Kind, units: int, spread: float) -> npt.NDArray[np.int64]:
    limit = int(min(spread, 2.0 ** (31 if kind.bias_dtype == "int32" else 46))) - 1
    return rng.integers(-limit, limit + 1, units)


def _rescaled(graph: Subgraph, rng: Rng, power_of_two: bool = False) -> Subgraph:
    """The same layer with an output scale that spreads its accumulators a little beyond the int16 range."""
    layer = Case("", graph, ()).layer
    low, high = layer.reachable_acc()
    spread = float(np.median(high.astype(np.float64) - low.astype(np.float64))) / np.sqrt(12 * layer.depth) * 3
    step = float(layer.input_scale) * float(np.median(layer.weights_scale))
    scale = step * max(spread, 1.0) / 32768 * float(rng.uniform(0.5, 2.0))
    scale = 2.0 ** np.round(np.log2(scale)) if power_of_two else scale
    tensors = list(graph.tensors)
    tensors[-1] = replace(tensors[-1], quant=quant(scale))
    return replace(graph, tensors=tuple(tensors))


def requantization(rng: Rng, kind: Kind, scales: str, probes: int, few: bool = False) -> Case:
    """The accumulators at which rules part, one by one: prints a layer's whole requantization function.

    With a bias, weights that are zero and one unit for each accumulator; without, one row of input for each. `few`
    keeps of so many probes those that separate as many pairs of rules as there can be.
    """
    units = (3 if few or kind.bias_dtype is None else 16) if kind.per_channel else 2
    depth = 4 if kind.bias_dtype is not None else {"int8": 8, "int4": 40, "int16": 3}[kind.weights]
    template = _layer(rng, kind, scales, units=units, depth=depth, activation="NONE" if few else _activation(rng))
    if kind.bias_dtype is None:
        template = _with_steps(template)
    layer = Case("", template, ()).layer
    if kind.bias_dtype is None:
        half = int(layer.reachable_acc()[1].min()) - 2**16
    else:
        half = 2**31 if kind.bias_dtype == "int32" else 2**40 if few else 2 ** int(rng.choice([40, 47, 63]))
    rules = all_rules(layer, RULES_INT16)
    channels = list(range(layer.units)) if kind.per_channel else [0]
    accs = []
    for channel in channels:
        found = critical_accumulators(rules, channel, probes // len(channels), rng, (-half, half - 1))
        accs.append(found[_separating(outputs_of_rules(rules, found, channel))] if few else found)
    if kind.bias_dtype is None:
        rows = _rows_that_sum_to(np.concatenate(accs), layer)
        return Case(f"requantization, {scales} scales", _with_input_shape(template, rows.shape), (rows,))
    graph = probe_subgraph(layer, accs, channels)
    return Case(f"requantization, {scales} scales", graph, (np.zeros(graph.tensors[0].shape, np.int16),))


def _with_steps(graph: Subgraph) -> Subgraph:
    """The same layer with weights of one step in the first column and of the most steps in all others."""
    weights = graph.tensors[1]
    assert weights.quant is not None
    data = np.full(weights.shape, dtype_range(weights.dtype.name)[1])
    data[:, 0] = 1 + weights.quant.zero_point[0]
    tensors = list(graph.tensors)
    tensors[1] = replace(weights, data=data.astype(weights.dtype.numpy))
    return replace(graph, tensors=tuple(tensors))


def _rows_that_sum_to(accs: npt.NDArray[np.int64], layer: DenseLayer) -> npt.NDArray[np.int16]:
    """Inputs whose accumulators these are, for weights as `_with_steps` makes them."""
    steps = layer.weights_values[0].astype(np.int64) - layer.weights_zero_point
    rows = np.zeros((accs.size, layer.depth), np.int64)
    rest = accs.copy()
    for column in range(1, layer.depth):
        rows[:, column] = np.clip(np.rint(rest / steps[column]), -32767, 32767)
        rest -= rows[:, column] * steps[column]
    rows[:, 0] = rest
    return rows.astype(np.int16)


def solved_ties(rng: Rng, kind: Kind, rows: int = 48) -> Case:
    """Random weights, inputs solved so that a unit's accumulator is one at which rules part, and boundary inputs."""
    depth, units = int(rng.choice([6, 16, 48])), 12
    scales = str(rng.choice(["power_of_two", "half_integer", "plain"]))
    graph = _layer(rng, kind, scales, units=units, depth=depth, bias=_bias(rng, kind, units, 1e5))
    graph = _rescaled(graph, rng, power_of_two=scales != "plain")
    layer = Case("", graph, ()).layer
    solved, _ = tie_seeking_inputs(layer, all_rules(layer, RULES_INT16), rows, rng)
    batch = np.concatenate([solved, boundary_inputs(layer, rng)])
    if rng.random() < 0.5:
        return Case("solved ties and boundaries on random weights", graph, tuple(row[None] for row in batch))
    several = _with_input_shape(graph, (len(batch), depth))
    return Case("solved ties and boundaries on random weights", several, (batch,))


def random_layers(rng: Rng, kind: Kind) -> Case:
    """Ordinary layers of every depth: they prove the sum, the weights' zero point and the bias."""
    depth = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 64, 100, 255, 640, 1024, 4096]))
    units = int(rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 64]))
    rows = int(rng.choice([1, 1, 2, 3, 4, 5, 7, 8, 16, 33]))
    graph = _layer(
        rng, kind, "plain", units=units, depth=depth, bias=_bias(rng, kind, units, 1e6 * np.sqrt(depth)),
        activation=_activation(rng), input_shape=(rows, depth),
    )  # fmt: skip
    return random_case("random layers, depth 1 to 4096", _rescaled(graph, rng), rng, 4)


def ranks(rng: Rng, kind: Kind) -> Case:
    """Inputs of rank 1 to 4, with and without keep_num_dims."""
    depth, units, rank = int(rng.integers(1, 40)), int(rng.integers(1, 20)), int(rng.integers(1, 5))
    shape = (*(int(v) for v in rng.integers(1, 5, rank - 1)), depth)
    keep = bool(rng.random() < 0.5) and rank > 1
    graph = _layer(
        rng, kind, "plain", units=units, depth=depth, bias=_bias(rng, kind, units, 9e5), activation=_activation(rng),
        input_shape=shape, keep_num_dims=keep,
    )  # fmt: skip
    return random_case("ranks 1 to 4, keep_num_dims", _rescaled(graph, rng), rng, 4)


def overflow(rng: Rng, kind: Kind) -> Case:
    """Sums beyond int32, and biases at the ends of their type: who wraps, and at how many bits?"""
    if kind.bias_dtype is None:
        # Dot products alone have to pass int32.
        units, rows, depth = 2, 3, {"int8": 800, "int4": 13_000, "int16": 50}[kind.weights]
    else:
        units, rows, depth = 16, 8, int(rng.choice([1, 8, 600]))
    ends = [2**31 - 1, -(2**31), 2**31 - 20000]
    if kind.bias_dtype == "int64":
        ends += [2**63 - 1, -(2**63), 2**53 + 1, -(2**47), 2**45 + 12345]
    graph = _layer(
        rng, kind, "plain", units=units, depth=depth, bias=rng.choice(np.asarray(ends, np.int64), units),
        input_shape=(rows, depth), high=True,
    )  # fmt: skip
    layer, tensors = Case("", graph, ()).layer, list(graph.tensors)
    reach = float(np.median(np.abs(layer.reachable_acc()[1].astype(np.float64))))
    scale = float(layer.input_scale) * float(layer.weights_scale[0]) * reach / 30000
    tensors[-1] = replace(tensors[-1], quant=quant(scale * rng.uniform(0.01, 2)))
    # Rows of one value each: long inputs of a golden file have to be small.
    samples = tuple((rng.integers(25_000, 32_768, (2, rows, 1)) * np.ones(depth, np.int64)).astype(np.int16))
    return Case("int32 and int64 overflow", replace(graph, tensors=tuple(tensors)), samples)


def refusals(rng: Rng, kind: Kind) -> Case:
    """Layers that some kernels refuse to prepare: LastBit must refuse on the same runtimes, and only there."""
    graph = _rescaled(_layer(rng, kind, "plain", units=6, depth=12, bias=_bias(rng, kind, 6, 9000)), rng)
    tensors, op = list(graph.tensors), graph.operators[0]
    given, weights, output = tensors[0], tensors[1], tensors[-1]
    assert weights.quant is not None
    assert output.quant is not None
    flaw = str(rng.choice(["zero point", "weights zero point", "bias scale", "bias type"], p=[0.4, 0.2, 0.2, 0.2]))
    if flaw == "zero point":
        at, tensor = (0, given) if rng.random() < 0.5 else (-1, output)
        zero_point = int(rng.choice([-32768, 32767, -300, 1, 5000]))
        tensors[at] = replace(tensor, quant=quant(tensor.quant.scale, zero_point))  # type: ignore[union-attr]
    elif flaw == "weights zero point" and (kind.weights != "int8" or kind.per_channel):
        zero_points = rng.integers(-5, 6, weights.quant.scale.size)
        tensors[1] = replace(weights, quant=quant(weights.quant.scale, zero_points))
    elif flaw == "bias scale" and kind.bias_dtype is not None:
        off = float(output.quant.scale[0]) * rng.uniform(0.019, 0.021)
        tensors[2] = replace(tensors[2], quant=quant(tensors[2].quant.scale + np.float32(off)))  # type: ignore[union-attr]
    elif kind.bias_dtype is not None:
        other = "int32" if kind.bias_dtype == "int64" else "int64"
        op = replace(
            op, version=11 if not kind.per_channel else 12, options={**op.options, "quantized_bias_type": other}
        )
    graph = replace(graph, tensors=tuple(tensors), operators=(op,))
    return random_case("layers that some kernels refuse", graph, rng, 8)


def misread_bias(rng: Rng, kind: Kind) -> Case:
    """An int64 bias beside int16 weights that nothing says is int64: LiteRT reads its 32-bit words."""
    units = int(rng.integers(1, 12))
    graph = _layer(
        rng, replace(kind, bias="int64_bias"), "plain", units=units, depth=8, input_shape=(16, 8),
        bias=rng.integers(-(2**40), 2**40, units),
    )  # fmt: skip
    op = replace(graph.operators[0], options={**graph.operators[0].options, "quantized_bias_type": "float32"})
    return random_case("int64 bias read as int32", replace(_rescaled(graph, rng), operators=(op,)), rng, 2)


def _with_input_shape(graph: Subgraph, shape: tuple[int, ...]) -> Subgraph:
    """The same layer for another number of rows."""
    tensors = list(graph.tensors)
    tensors[0] = replace(tensors[0], shape=shape, shape_signature=shape)
    result = (shape[0], tensors[-1].shape[-1])
    tensors[-1] = replace(tensors[-1], shape=result, shape_signature=result)
    return replace(graph, tensors=tuple(tensors))


OTHER_FAMILIES: tuple[Callable[[Rng, Kind], Case], ...] = (
    solved_ties,
    random_layers,
    ranks,
    overflow,
    refusals,
)


def cases(rng: Rng, rounds: int, kind: Kind, probes: int = 4000) -> Iterator[Case]:
    """`rounds` cases of every family for one kind of layer."""
    for _ in range(rounds):
        for scales in SCALES:
            yield requantization(rng, kind, scales, probes)
        for family in OTHER_FAMILIES:
            yield family(rng, kind)
        if kind.weights == "int16":
            yield misread_bias(rng, kind)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Every kind, one after the other."""
    for number, kind in enumerate((*KINDS, *MISREAD)):
        yield from cases(np.random.default_rng([seed, 200 + number]), rounds, kind)


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set, with the kind of layer each case is of; of large cases only what separates rules."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([GOLDEN_SEED, number])
        for scales in ("half_integer", "parting", "small", "far_above_one"):
            yield kind.group, requantization(rng, kind, scales, 3000, few=True)
        if number % 2 or kind.bias_dtype is None:
            yield kind.group, _separating_rows(solved_ties(rng, kind, 60))
        for family in (overflow, ranks, refusals, refusals):
            yield kind.group, family(rng, kind)
        if kind.weights == "int16":
            yield kind.group, _separating_rows(misread_bias(rng, kind))


def _separating_rows(case: Case) -> Case:
    """The same layer with the few of all its rows that separate as many pairs of rules as there can be."""
    depth = case.graph.tensors[0].shape[-1]
    rows = np.concatenate([sample.reshape(-1, depth) for sample in case.samples])
    graph = _with_input_shape(case.graph, (len(rows), depth))
    model = Model((graph,), "", 3, b"")
    prepared = rivals(model, graph.operators[0])
    outputs = np.stack([rule.evaluate([rows])["output"] for rule in prepared.values()])
    chosen = rows[_separating(outputs)]
    return Case(case.family, _with_input_shape(case.graph, chosen.shape), (chosen,))


def _separating(outputs: npt.NDArray[np.integer], least: int = 6) -> list[int]:
    """Which items of `[rules, items, ...]` to keep so that no two rules that differ somewhere are equal on all."""
    flat = outputs.reshape(len(outputs), outputs.shape[1], -1)
    first, second = np.triu_indices(len(outputs), 1)
    differ = (flat[first] != flat[second]).any(axis=2)  # [pairs, items]
    alive = np.ones(len(differ), bool)
    chosen = list(range(0, outputs.shape[1], max(outputs.shape[1] // least, 1)))[:least]
    alive &= ~differ[:, chosen].any(axis=1)
    while (counts := differ[alive].sum(axis=0)).any():
        chosen.append(int(counts.argmax()))
        alive &= ~differ[:, chosen[-1]]
    return sorted(set(chosen))


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every requantization rule there is, prepared for a layer."""
    return {name: prepare_fully_connected(model, op, name) for name in RULES_INT16}
