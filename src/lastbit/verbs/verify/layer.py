"""Dense layers cut out of a model: fed with chosen rows, alone and together, and their requantization probed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...layers.float_inputs import float_rows
from ...layers.separating_inputs import (
    all_rules,
    boundary_inputs,
    critical_accumulators,
    probe_subgraph,
    tie_seeking_inputs,
)
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator, Subgraph, Tensor
from ...model.tflite.reader import load as load_tflite
from ...model.tflite.writer import extract_operator, write
from ...model.types import Array, integer_type
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer, PreparedLayer
from ...ops.prepare import PreparedModel, prepare_operator
from ...oracles import Oracle, OracleFailure
from ...runtimes import Runtime
from .comparing import compare_outputs, failed, kernel_seen, refused_alone
from .given import rows_for
from .result import Comparison, OperatorResult

__all__ = ["LayerChecks", "LayerInputs"]

PROBED_CHANNELS = 8
PROBES_PER_CHANNEL = 64
MOST_KEPT_BYTES = 1 << 20
"""Of the models that one layer is cut out as: those of larger layers are made again for each runtime."""

_PROBED = "requantization probed"


@dataclass(frozen=True)
class CutOut:
    """A dense layer as a model of its own, and its inputs.

    Attributes:
        what: what is compared with it, in words.
        content: the model's file.
        model: the same, read.
        samples: one input for each call.
    """

    what: str
    content: bytes
    model: Model
    samples: list[Array]

    @classmethod
    def of(cls, graph: Subgraph, what: str, samples: list[Array]) -> CutOut:
        """The file of one operator, written and read."""
        content = write(graph)
        return cls(what, content, load_tflite(content), samples)


@dataclass(frozen=True)
class LayerInputs:
    """What one dense layer is fed with; the same for every runtime.

    Attributes:
        rows: `[n, depth]` of the input's type: boundary, tie-seeking and random.
        channels: units whose requantization is probed; none where nothing is requantized.
        accs: for each of them, the accumulators.
        cut_out: the models that the layer is compared in, once they were made; empty where they are large.
    """

    rows: Array
    channels: list[int]
    accs: list[Array]
    cut_out: list[CutOut] = field(default_factory=list)


@dataclass(frozen=True)
class LayerChecks:
    """Every dense layer of a model in one runtime, each as a model of its own.

    Attributes:
        prepared: the model in the runtime's arithmetic.
        samples: rows for each layer.
        seed: of the rows.
        inputs: operator index -> what the layer is fed with; filled as layers come.
        results: operator index -> where comparisons go.
        given: the user's own inputs of the model, call by call.
    """

    prepared: PreparedModel
    samples: int
    seed: int
    inputs: dict[int, LayerInputs]
    results: dict[int, OperatorResult]
    given: Sequence[Sequence[Array]] = ()

    @property
    def steps(self) -> int:
        """How many steps `run` takes."""
        return len(self.prepared.model.dense_operators)

    def run(self, oracle: Oracle) -> Iterator[str]:
        """Compare; yields what comes next."""
        for op in self.prepared.model.dense_operators:
            yield f"operator {op.index} {op.name}"
            entry = self.prepared.operators.get(op.index)
            if isinstance(entry, PreparedLayer):
                self._check(oracle, entry)
            else:
                refused_alone(oracle, self.prepared.model, op, self.results[op.index])

    def _check(self, oracle: Oracle, entry: PreparedLayer) -> None:
        """A dense layer cut out: row by row, all rows at once, and its requantization probed."""
        op, layer = entry.operator, entry.layer
        if op.index not in self.inputs:
            rng = np.random.default_rng([self.seed, op.index])
            chosen = _layer_inputs(entry, self.samples, rng)
            fed = [tensor.index for tensor in self.prepared.model.inputs]
            if self.given and layer.input.index in fed:
                own = layer.rows(rows_for(self.given, fed.index(layer.input.index)))
                chosen = replace(chosen, rows=np.concatenate([own, chosen.rows]))
            self.inputs[op.index] = chosen
        for part in self._cut_out(op, layer):
            prepared = _prepared(part.model, self.prepared.runtime)
            # A probe of one unit is per-tensor, a probe with a bias may be taken where the layer is declined, or
            # refused: such a probe is another variant and says nothing about this layer.
            if part.what != _PROBED or (not isinstance(prepared, UnsupportedError) and prepared.rule == entry.rule):
                self._compare(oracle, op, part, prepared)

    def _cut_out(self, op: Operator, layer: DenseLayer) -> list[CutOut]:
        """The models that this layer is compared in. All runtimes get the same ones."""
        inputs = self.inputs[op.index]
        if inputs.cut_out:
            return inputs.cut_out
        parts = []
        # One row at a time and many at once go through different kernels (GEMV and GEMM).
        for count in (1, len(inputs.rows)):
            graph = _cut_out(self.prepared.model, op, layer, count)
            batch = math.prod(graph.tensors[0].shape) // layer.depth
            samples = _fill(graph.tensors[0], layer.depth, inputs.rows)
            parts.append(CutOut.of(graph, f"cut out, {batch} row(s) a call", samples))
        if inputs.channels:
            graph = probe_subgraph(layer, inputs.accs, inputs.channels)
            fed = graph.tensors[graph.inputs[0]]
            parts.append(CutOut.of(graph, _PROBED, [np.zeros(fed.shape, fed.dtype.numpy)]))
        if sum(len(part.content) for part in parts) <= MOST_KEPT_BYTES:
            inputs.cut_out.extend(parts)
        return parts

    def _compare(
        self, oracle: Oracle, op: Operator, part: CutOut, prepared: PreparedOperator | UnsupportedError
    ) -> None:
        """Run a one-operator model on both sides."""
        result = self.results[op.index]
        try:
            run = oracle.run(part.content, [[x] for x in part.samples], label=f"{op.label}, {part.what}")
        except OracleFailure as failure:
            result.comparisons.append(failed(part.what, failure))
            return
        if isinstance(prepared, UnsupportedError):
            told = f"LastBit refuses what {oracle.name} runs: {prepared}"
            result.comparisons.append(Comparison(part.what, failure=told))
            return
        comparison = Comparison(part.what, kernel=kernel_seen(run))
        comparison.add_kernel_check(prepared.kernel, run.delegated)
        for x, outputs in zip(part.samples, run.outputs, strict=True):
            compare_outputs(comparison, prepared, [x], outputs)
        result.comparisons.append(comparison)


def _prepared(model: Model, runtime: Runtime) -> PreparedOperator | UnsupportedError:
    """The one operator of a model in a runtime's arithmetic, or why it is refused."""
    try:
        return prepare_operator(model, model.operators[0], runtime)
    except UnsupportedError as error:
        return error


def _layer_inputs(prepared: PreparedLayer, samples: int, rng: np.random.Generator) -> LayerInputs:
    """Rows: all boundary rows, half of the samples tie-seeking where there are such, the rest random."""
    layer = prepared.layer
    if not isinstance(prepared, PreparedDense):
        return LayerInputs(float_rows(layer.depth, samples, rng), [], [])
    rules = all_rules(layer, prepared.rivals)
    solved, _ = tie_seeking_inputs(layer, rules, max(samples // 2, 1), rng)
    boundary = boundary_inputs(layer, rng)
    count = max(samples - len(solved) - len(boundary), 1)
    dtype = integer_type(layer.input.dtype)
    drawn = rng.integers(dtype.qmin, dtype.qmax, (count, layer.depth), dtype.numpy, endpoint=True)
    channels = [int(c) for c in rng.permutation(layer.units)[:PROBED_CHANNELS]]
    if layer.granularity == "per_tensor":
        channels = channels[:1]
    probes = PROBES_PER_CHANNEL * PROBED_CHANNELS // len(channels)
    # An accumulator of 64 bits is probed as far as dot products come.
    half = 2 ** (min(max(prepared.acc_bits, 32), 48) - 1)
    accs: list[Array] = [critical_accumulators(rules, c, probes, rng, (-half, half - 1)) for c in channels]
    return LayerInputs(np.concatenate([boundary, solved, drawn]), channels, accs)


def _cut_out(model: Model, op: Operator, layer: DenseLayer, rows: int) -> Subgraph:
    """The layer alone, with a leading dimension that takes about this many rows in one call."""
    inner = math.prod(layer.input.shape[1:-1]) if layer.input.shape[-1:] == (layer.depth,) else 1
    try:
        return extract_operator(model, op, batch=max(math.ceil(rows / inner), 1))
    except InputError:
        # The input is flattened across its last dimension, and this batch gives no whole number of rows.
        return extract_operator(model, op, batch=layer.depth)


def _fill(tensor: Tensor, depth: int, rows: Array) -> list[Array]:
    """Rows as inputs of one tensor's shape; the last input is filled up with the first rows again."""
    per_input = math.prod(tensor.shape) // depth
    inputs = math.ceil(len(rows) / per_input)
    cycled = np.resize(rows, (inputs * per_input, depth))
    return [chunk.reshape(tensor.shape) for chunk in np.split(cycled, inputs)]
