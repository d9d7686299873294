"""Families of one-layer dense models that separate requantization rules, for evidence, golden files and tests.

Plain random models cannot prove a rule: rival rules agree on them. Every family here has a reason to be: see each
generator's docstring. A case is a graph and its inputs; all randomness comes from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lastbit.layers.separating_inputs import (
    all_rules,
    boundary_inputs,
    critical_accumulators,
    probe_subgraph,
    tie_seeking_inputs,
)
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant
from lastbit.model.types import integer_type
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.ops.dense.layer import DenseLayer, dense_layer
from lastbit.oracles import ORACLES
from lastbit.rules.requantize.table import COMMON as RULES

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")

# The runtimes of today's interpreters on x86-64, and those of them that this machine's CPU can be asked about.
XNNPACKS = ("litert-xnnpack", "litert-xnnpack-avx512", "litert-xnnpack-avxvnni", "litert-xnnpack-avx2")
RUNTIMES = (*XNNPACKS, "litert-builtin-x86", "litert-reference", "tflm")
HERE = tuple(name for name in RUNTIMES if ORACLES[name].fits_machine)

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One layer and its inputs, `[sample]`, each in the graph input's shape."""

    family: str
    graph: Subgraph
    samples: tuple[npt.NDArray[np.integer | np.floating], ...]

    @property
    def layer(self) -> DenseLayer:
        """The graph's dense layer."""
        model = Model((self.graph,), "", 3, b"")
        return dense_layer(model, self.graph.operators[0])


@dataclass(frozen=True)
class Kind:
    """Element types and granularity of a layer.

    Attributes:
        per_channel: whether each unit has a weights scale of its own.
        input_dtype: the input's and output's element type.
        weights_dtype: the weights' element type.
        weights_zero_point: whether the weights have a zero point (uint8: any; others: not 0).
    """

    per_channel: bool = False
    input_dtype: str = "int8"
    weights_dtype: str = "int8"
    weights_zero_point: bool = False

    @property
    def group(self) -> str:
        """The kind in a few words."""
        types = self.input_dtype + ("" if self.input_dtype == self.weights_dtype else f" x {self.weights_dtype}")
        zero_point = " weights_zero_point" if self.weights_zero_point else ""
        return f"{types} {'per_channel' if self.per_channel else 'per_tensor'}{zero_point}"


PER_TENSOR, PER_CHANNEL = Kind(), Kind(per_channel=True)


def dtype_range(dtype_name: str) -> tuple[int, int]:
    """The smallest and largest value of an integer type."""
    dtype = integer_type(DTYPE_BY_NAME[dtype_name])
    return dtype.qmin, dtype.qmax


def _zero_point(rng: Rng, dtype: str = "int8") -> int:
    low, high = dtype_range(dtype)
    return int(rng.choice([low, high, 0, int(rng.integers(low, high + 1))]))


def _weights(rng: Rng, kind: Kind, units: int, depth: int, lowest: float) -> npt.NDArray[np.integer]:
    """Random weights over the whole range; int8 without -128, as converters write it, unless it has a zero point."""
    low, high = dtype_range(kind.weights_dtype)
    if kind.weights_dtype == "int8" and not kind.weights_zero_point:
        low += 1
    weights = rng.integers(low, high + 1, (units, depth))
    return np.where(rng.random((units, depth)) < lowest, low, weights) if lowest else weights


def _weights_zero_point(rng: Rng, kind: Kind) -> int:
    if not kind.weights_zero_point:
        return 0
    zero_point = _zero_point(rng, kind.weights_dtype)
    return zero_point if kind.weights_dtype == "uint8" else zero_point or 1


def _scales(rng: Rng, kind: str, channels: int) -> tuple[np.float32, npt.NDArray[np.float32], np.float32]:
    """s_x, s_w and s_y of one kind of difficulty."""
    if kind == "plain":
        sx, sy = np.float32(rng.uniform(0.002, 0.2)), np.float32(rng.uniform(0.002, 0.5))
        sw = rng.uniform(0.0005, 0.05, channels).astype(np.float32)
    elif kind == "power_of_two":
        sx, sy = np.float32(2.0 ** rng.integers(-9, 1)), np.float32(2.0 ** rng.integers(-9, 1))
        sw = (2.0 ** rng.integers(-12, 1, channels)).astype(np.float32)
    elif kind == "half_integer":
        # Multiples of small numbers over powers of two: exact ties in the middle of the range.
        sx, sy = np.float32(2.0 ** rng.integers(-6, 1)), np.float32(2.0 ** rng.integers(-6, 1))
        sw = (rng.integers(1, 200, channels) * 2.0 ** rng.integers(-12, -4)).astype(np.float32)
    elif kind == "above_one":
        # Multipliers from 1 up to just under 256, where XNNPACK stops.
        sx, sy = np.float32(1), np.float32(2.0 ** rng.integers(-3, 1))
        sw = (rng.uniform(1, 31.9, channels) * np.float32(1)).astype(np.float32)
    elif kind == "small":
        # About 2^-24: only accumulators of 2^25 and more tell a float32 scale product from a float64 one.
        sx, sy = np.float32(rng.uniform(0.5, 2) * 2.0**-8), np.float32(rng.uniform(0.5, 2))
        sw = (rng.uniform(0.5, 2, channels) * 2.0 ** -int(rng.integers(13, 19))).astype(np.float32)
    else:
        # Near 2^-31: even the largest accumulators give about one step.
        assert kind == "vanishing"
        sx, sy = np.float32(2.0**-14), np.float32(2.0 ** rng.integers(0, 2))
        sw = (rng.uniform(0.5, 4.0, channels) * 2.0 ** -rng.integers(12, 19)).astype(np.float32)
    return sx, sw, sy


def make_layer(
    rng: Rng,
    scales: str,
    kind: Kind,
    *,
    units: int,
    depth: int,
    activation: str = "NONE",
    bias: npt.NDArray[np.int64] | None = None,
    input_shape: tuple[int, ...] | None = None,
    keep_num_dims: bool = False,
    lowest: float = 0.0,
) -> Subgraph:
    """One layer with random weights; a share `lowest` of them at the type's lowest value."""
    sx, sw, sy = _scales(rng, scales, units if kind.per_channel else 1)
    return dense_subgraph(
        _weights(rng, kind, units, depth, lowest),
        input_quant=quant(sx, _zero_point(rng, kind.input_dtype)),
        weights_quant=quant(sw, _weights_zero_point(rng, kind)),
        output_quant=quant(sy, _zero_point(rng, kind.input_dtype)),
        bias=bias,
        activation=activation,
        input_shape=input_shape,
        keep_num_dims=keep_num_dims,
        input_dtype=kind.input_dtype,
        weights_dtype=kind.weights_dtype,
    )


def random_case(family: str, graph: Subgraph, rng: Rng, samples: int) -> Case:
    """A graph with random inputs over its input type's whole range."""
    fed = graph.tensors[0]
    low, high = dtype_range(fed.dtype.name)
    drawn = (rng.integers(low, high + 1, fed.shape).astype(fed.dtype.numpy) for _ in range(samples))
    return Case(family, graph, tuple(drawn))


def requantization(rng: Rng, kind: Kind, scales: str, probes: int) -> Case:
    """Zero weights, bias = the accumulators at which rules part: prints a layer's whole requantization function."""
    units = 16 if kind.per_channel else 2
    template = make_layer(rng, scales, kind, units=units, depth=4, activation=_activation(rng))
    layer = Case("", template, ()).layer
    rules = all_rules(layer)
    channels = list(range(layer.units)) if kind.per_channel else [0]
    accs = [critical_accumulators(rules, c, probes // len(channels), rng) for c in channels]
    graph = probe_subgraph(layer, accs, channels)
    fed = graph.tensors[0]
    return Case(f"requantization, {scales} scales", graph, (np.zeros(fed.shape, fed.dtype.numpy),))


def random_layers(rng: Rng, kind: Kind) -> Case:
    """Ordinary layers of every depth: they prove the sum, the zero points and the bias."""
    depth = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 64, 100, 255, 640, 1024, 4096]))
    units = int(rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 64]))
    rows = int(rng.choice([1, 1, 2, 3, 4, 5, 7, 8, 16, 33]))
    spread = int(20000 * np.sqrt(depth)) + 1
    bias = rng.integers(-spread, spread, units) if rng.random() < 0.7 else None
    graph = make_layer(
        rng, "plain", kind, units=units, depth=depth, activation=_activation(rng), bias=bias,
        input_shape=(rows, depth),
    )  # fmt: skip
    return random_case("random layers, depth 1 to 4096", rescaled(graph, rng), rng, 4)


def ranks(rng: Rng, kind: Kind) -> Case:
    """Inputs of rank 1 to 4, with and without keep_num_dims."""
    depth, units = int(rng.integers(1, 40)), int(rng.integers(1, 20))
    rank = int(rng.integers(1, 5))
    shape = (*(int(v) for v in rng.integers(1, 5, rank - 1)), depth)
    keep = bool(rng.random() < 0.5) and rank > 1
    graph = make_layer(
        rng, "plain", kind, units=units, depth=depth, activation=_activation(rng),
        bias=rng.integers(-9000, 9000, units), input_shape=shape, keep_num_dims=keep,
    )  # fmt: skip
    return random_case("ranks 1 to 4, keep_num_dims", rescaled(graph, rng), rng, 4)


def overflow(rng: Rng, kind: Kind) -> Case:
    """Biases near the ends of int32, so that the sum passes them: accumulators wrap."""
    units, depth = 32, int(rng.choice([1, 8, 64, 1024]))
    ends = rng.choice([2**31 - 1, -(2**31), 2**31 - 20000, -(2**31) + 20000], units)
    graph = make_layer(
        rng, str(rng.choice(["plain", "vanishing", "power_of_two"])), kind, units=units, depth=depth,
        bias=ends, input_shape=(8, depth),
    )  # fmt: skip
    return random_case("int32 overflow", graph, rng, 4)


def ties_on_real_weights(rng: Rng, kind: Kind) -> Case:
    """Random weights, inputs solved so that a unit's accumulator is one at which rules part, and boundary inputs."""
    depth, units = int(rng.choice([16, 48, 128])), 16
    scales = str(rng.choice(["power_of_two", "half_integer", "plain"]))
    graph = rescaled(
        make_layer(rng, scales, kind, units=units, depth=depth, bias=rng.integers(-5000, 5000, units)),
        rng,
        power_of_two=scales != "plain",
    )
    layer = Case("", graph, ()).layer
    solved, _ = tie_seeking_inputs(layer, all_rules(layer), 64, rng)
    rows = np.concatenate([solved, boundary_inputs(layer, rng)])
    return Case("solved ties and boundaries on random weights", graph, tuple(row[None] for row in rows))


def refusals(rng: Rng, kind: Kind) -> Case:
    """Layers that some kernels refuse to prepare: LastBit must refuse on the same runtimes, and only there."""
    graph = make_layer(rng, "plain", kind, units=6, depth=12, bias=rng.integers(-900, 900, 6))
    tensors = list(graph.tensors)
    flaw = str(rng.choice(["scale of 256", "bias scale", "bias without scale", "weights zero point"]))
    if flaw == "weights zero point" and not kind.per_channel and kind.weights_dtype != "uint8":
        flaw = "bias scale"  # with one scale, signed weights with a zero point are a variant, with families of its own
    weights, bias, output = tensors[1], tensors[2], tensors[3]
    assert weights.quant is not None
    assert bias.quant is not None
    assert output.quant is not None
    if flaw == "scale of 256":
        scale = float(tensors[0].quant.scale[0]) * float(weights.quant.scale[0]) / 256  # type: ignore[union-attr]
        tensors[3] = replace(output, quant=quant(scale * rng.uniform(0.99, 1.01), output.quant.zero_point))
    elif flaw == "bias scale":
        off = float(output.quant.scale[0]) * rng.uniform(0.019, 0.021)
        tensors[2] = replace(bias, quant=quant(bias.quant.scale + np.float32(off)))
    elif flaw == "bias without scale":
        tensors[2] = replace(bias, quant=None)
    else:
        low, high = dtype_range(kind.weights_dtype)
        zero_point = int(rng.integers(max(low, -20), min(high + 1, 20)))
        tensors[1] = replace(weights, quant=quant(weights.quant.scale, zero_point))
    return random_case("layers that some kernels refuse or decline", replace(graph, tensors=tuple(tensors)), rng, 8)


def _activation(rng: Rng) -> str:
    return str(rng.choice(ACTIVATIONS, p=[0.55, 0.15, 0.15, 0.15]))


def rescaled(graph: Subgraph, rng: Rng, power_of_two: bool = False) -> Subgraph:
    """The same layer with an output scale that spreads its accumulators over the output type's range."""
    layer = Case("", graph, ()).layer
    low, high = layer.reachable_acc()
    spread = float(np.median((high - low).astype(np.float64))) / np.sqrt(12 * layer.depth) * 3
    scale = float(layer.input_scale) * float(np.median(layer.weights_scale)) * max(spread, 1.0)
    scale = scale / 100 * float(rng.uniform(0.5, 2.0))
    if power_of_two:
        scale = 2.0 ** np.round(np.log2(scale))
    # XNNPACK stops at an effective scale of 256; layers of depth 1 with large scales may come near.
    scale = max(scale, float(layer.input_scale) * float(layer.weights_scale.max()) / 200)
    tensors = list(graph.tensors)
    tensors[-1] = replace(tensors[-1], quant=quant(scale, layer.output_zero_point))
    return replace(graph, tensors=tuple(tensors))


SCALE_KINDS = ("plain", "power_of_two", "half_integer", "above_one", "small", "vanishing")

OTHER_FAMILIES: tuple[Callable[[Rng, Kind], Case], ...] = (
    random_layers,
    ranks,
    overflow,
    ties_on_real_weights,
    refusals,
)


def cases(rng: Rng, rounds: int, kind: Kind, probes: int = 4000) -> Iterator[Case]:
    """`rounds` cases of every family; requantization functions are printed at up to `probes` accumulators each."""
    for _ in range(rounds):
        for scales in SCALE_KINDS:
            yield requantization(rng, kind, scales, probes)
        for family in OTHER_FAMILIES:
            yield family(rng, kind)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """int8, both granularities, one after the other."""
    for kind in (PER_TENSOR, PER_CHANNEL):
        yield from cases(np.random.default_rng([seed, kind.per_channel]), rounds, kind)


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every requantization rule there is, prepared for a layer."""
    return {name: prepare_fully_connected(model, op, name) for name in RULES}
