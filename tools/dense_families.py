"""Families of one-layer dense models that separate requantization rules, for evidence, golden files and tests.

Plain random models cannot prove a rule: rival rules agree on them. Every family here has a reason to be: see each
generator's docstring. A case is a graph and its inputs; all randomness comes from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lastbit.arith.requantize import RULES
from lastbit.model import Model, Operator, Subgraph
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense_layer import DenseLayer, dense_layer
from lastbit.ops.fully_connected import prepare_fully_connected
from lastbit.probing import all_rules, boundary_inputs, critical_accumulators, probe_subgraph, tie_seeking_inputs
from lastbit.tflite.synthesize import dense_subgraph, quant

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One layer and its inputs, `[sample]`, each in the graph input's shape."""

    family: str
    graph: Subgraph
    samples: tuple[npt.NDArray[np.int8], ...]

    @property
    def layer(self) -> DenseLayer:
        """The graph's dense layer."""
        model = Model((self.graph,), "", 3, b"")
        return dense_layer(model, self.graph.operators[0])


def _zero_point(rng: Rng) -> int:
    return int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))


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


def _layer(
    rng: Rng,
    kind: str,
    per_channel: bool,
    *,
    units: int,
    depth: int,
    activation: str = "NONE",
    bias: npt.NDArray[np.int64] | None = None,
    input_shape: tuple[int, ...] | None = None,
    keep_num_dims: bool = False,
) -> Subgraph:
    sx, sw, sy = _scales(rng, kind, units if per_channel else 1)
    return dense_subgraph(
        rng.integers(-127, 128, (units, depth)).astype(np.int8),
        input_quant=quant(sx, _zero_point(rng)),
        weights_quant=quant(sw),
        output_quant=quant(sy, _zero_point(rng)),
        bias=bias,
        activation=activation,
        input_shape=input_shape,
        keep_num_dims=keep_num_dims,
    )


def _case(family: str, graph: Subgraph, rng: Rng, samples: int) -> Case:
    shape = graph.tensors[0].shape
    return Case(family, graph, tuple(rng.integers(-128, 128, shape).astype(np.int8) for _ in range(samples)))


def requantization(rng: Rng, per_channel: bool, kind: str, probes: int) -> Case:
    """Zero weights, bias = the accumulators at which rules part: prints a layer's whole requantization function."""
    template = _layer(rng, kind, per_channel, units=16 if per_channel else 2, depth=4, activation=_activation(rng))
    layer = Case("", template, ()).layer
    rules = all_rules(layer)
    channels = list(range(layer.units)) if per_channel else [0]
    accs = [critical_accumulators(rules, c, probes // len(channels), rng) for c in channels]
    graph = probe_subgraph(layer, accs, channels)
    return Case(f"requantization, {kind} scales", graph, (np.zeros(graph.tensors[0].shape, np.int8),))


def random_layers(rng: Rng, per_channel: bool) -> Case:
    """Ordinary layers of every depth: they prove the sum, the zero points and the bias."""
    depth = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 64, 100, 255, 640, 1024, 4096]))
    units = int(rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 64]))
    rows = int(rng.choice([1, 1, 2, 3, 4, 5, 7, 8, 16, 33]))
    spread = int(20000 * np.sqrt(depth)) + 1
    bias = rng.integers(-spread, spread, units) if rng.random() < 0.7 else None
    graph = _layer(
        rng, "plain", per_channel, units=units, depth=depth, activation=_activation(rng), bias=bias,
        input_shape=(rows, depth),
    )  # fmt: skip
    return _case("random layers, depth 1 to 4096", _rescaled(graph, rng), rng, 4)


def ranks(rng: Rng, per_channel: bool) -> Case:
    """Inputs of rank 1 to 4, with and without keep_num_dims."""
    depth, units = int(rng.integers(1, 40)), int(rng.integers(1, 20))
    rank = int(rng.integers(1, 5))
    shape = (*(int(v) for v in rng.integers(1, 5, rank - 1)), depth)
    keep = bool(rng.random() < 0.5) and rank > 1
    graph = _layer(
        rng, "plain", per_channel, units=units, depth=depth, activation=_activation(rng),
        bias=rng.integers(-9000, 9000, units), input_shape=shape, keep_num_dims=keep,
    )  # fmt: skip
    return _case("ranks 1 to 4, keep_num_dims", _rescaled(graph, rng), rng, 4)


def overflow(rng: Rng, per_channel: bool) -> Case:
    """Biases near the ends of int32, so that the sum passes them: accumulators wrap."""
    units, depth = 32, int(rng.choice([1, 8, 64, 1024]))
    ends = rng.choice([2**31 - 1, -(2**31), 2**31 - 20000, -(2**31) + 20000], units)
    graph = _layer(
        rng, str(rng.choice(["plain", "vanishing", "power_of_two"])), per_channel, units=units, depth=depth,
        bias=ends, input_shape=(8, depth),
    )  # fmt: skip
    return _case("int32 overflow", graph, rng, 4)


def ties_on_real_weights(rng: Rng, per_channel: bool) -> Case:
    """Random weights, inputs solved so that a unit's accumulator is one at which rules part, and boundary inputs."""
    depth, units = int(rng.choice([16, 48, 128])), 16
    kind = str(rng.choice(["power_of_two", "half_integer", "plain"]))
    graph = _rescaled(
        _layer(rng, kind, per_channel, units=units, depth=depth, bias=rng.integers(-5000, 5000, units)),
        rng,
        power_of_two=kind != "plain",
    )
    layer = Case("", graph, ()).layer
    solved, _ = tie_seeking_inputs(layer, all_rules(layer), 64, rng)
    rows = np.concatenate([solved, boundary_inputs(layer, rng)])
    return Case("solved ties and boundaries on random weights", graph, tuple(row[None] for row in rows))


def refusals(rng: Rng, per_channel: bool) -> Case:
    """Layers that some kernels refuse to prepare: LastBit must refuse on the same runtimes, and only there."""
    graph = _layer(rng, "plain", per_channel, units=6, depth=12, bias=rng.integers(-900, 900, 6))
    tensors = list(graph.tensors)
    flaw = str(rng.choice(["scale of 256", "bias scale", "bias without scale", "weights zero point"]))
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
        tensors[1] = replace(weights, quant=quant(weights.quant.scale, int(rng.integers(-20, 20))))
    return _case("layers that some kernels refuse or decline", replace(graph, tensors=tuple(tensors)), rng, 8)


def _activation(rng: Rng) -> str:
    return str(rng.choice(ACTIVATIONS, p=[0.55, 0.15, 0.15, 0.15]))


def _rescaled(graph: Subgraph, rng: Rng, power_of_two: bool = False) -> Subgraph:
    """The same layer with an output scale that spreads its accumulators over the int8 range."""
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

OTHER_FAMILIES: tuple[Callable[[Rng, bool], Case], ...] = (
    random_layers,
    ranks,
    overflow,
    ties_on_real_weights,
    refusals,
)


def cases(seed: int, rounds: int, per_channel: bool, probes: int = 4000) -> Iterator[Case]:
    """`rounds` cases of every family; requantization functions are printed at up to `probes` accumulators each."""
    rng = np.random.default_rng([seed, per_channel])
    for _ in range(rounds):
        for kind in SCALE_KINDS:
            yield requantization(rng, per_channel, kind, probes)
        for family in OTHER_FAMILIES:
            yield family(rng, per_channel)


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Both granularities, one after the other."""
    for per_channel in (False, True):
        yield from cases(seed, rounds, per_channel)


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every requantization rule there is, prepared for a layer."""
    return {name: prepare_fully_connected(model, op, name) for name in RULES}
