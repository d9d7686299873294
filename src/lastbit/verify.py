"""verify: hold each exact runtime against its real interpreter, operator by operator, on a user's own model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .api import load
from .differences import compare_arrays
from .engines import reference
from .errors import InputError, OracleMissingError, UnsupportedError
from .float_inputs import float_rows
from .model import Model, Operator, Subgraph, Tensor
from .operator_element import worked_operator_element
from .ops.base import PreparedOperator, output_values
from .ops.dense_8bit import PreparedDense
from .ops.dense_layer import DenseLayer, PreparedLayer
from .oracles import ORACLES, Oracle, OracleFailure, OracleRun, installed, open_oracle
from .prepare import DENSE_ONLY, PreparedModel, prepare, prepare_operator
from .probing import (
    all_rules,
    boundary_inputs,
    critical_accumulators,
    probe_subgraph,
    tie_seeking_inputs,
)
from .runtimes import RUNTIMES, Runtime, get_runtime
from .single_layer import random_inputs
from .tflite.reader import load as load_tflite
from .tflite.writer import extract_operator, with_outputs, write
from .types import Array
from .verify_report import Comparison, OperatorResult, RuntimeResult, Verification

__all__ = ["DEFAULT_SAMPLES", "verify"]

DEFAULT_SAMPLES = 64

PROBED_CHANNELS = 8
PROBES_PER_CHANNEL = 64
# Whole models are run on fewer inputs: every operator sees all of them.
WHOLE_MODEL_SAMPLES = 8

Progress = Callable[[int, int, str], None]


def verify(
    model: str | os.PathLike[str] | bytes | Model,
    runtimes: Sequence[str | Runtime] | None = None,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    library: str | os.PathLike[str] | None = None,
) -> Verification:
    """Hold exact runtimes against their real interpreters on every covered operator of a model.

    Each dense layer is cut out as a one-operator model and run by the real interpreter on random, boundary and
    tie-seeking inputs, one row at a time and all at once; its requantization is probed at the accumulators at which
    rival rules part. Then every covered operator is compared inside the whole model, on the tensors the interpreter
    itself computed; and where all operators are covered, end to end.

    Args:
        model: a Model, a path or a file's bytes.
        runtimes: names of the runtimes; default: every one whose interpreter is installed.
        samples: rows of input for each dense layer, 1 or more.
        seed: of all random inputs.
        progress: called with (steps done, steps in total, what is done next).
        library: the shared library that CMSIS-NN was built into, for the runtimes that need one.

    Returns:
        The Verification; `exit_code` is 0 when nothing differs.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        OracleMissingError: a runtime was named, or there is none, whose interpreter is installed.
        InputError: `samples` is below 1, or a library is given and no runtime that needs one.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; wanted 1 or more")
    loaded = load(model)
    missing: list[str] = []
    if runtimes is None:
        chosen = [RUNTIMES[name] for name in RUNTIMES if installed(name) is not None]
        missing = [name for name in RUNTIMES if installed(name) is None]
        if not chosen:
            raise OracleMissingError(
                "no real interpreter is installed to verify against. Install them: pip install 'lastbit[all]'"
            )
    else:
        chosen = [get_runtime(name) for name in runtimes]
    if library is not None and not any(ORACLES[runtime.name].library for runtime in chosen):
        needing = ", ".join(name for name, spec in ORACLES.items() if spec.library)
        raise InputError(f"a library ({library}) is given and no runtime that needs one; name one of: {needing}")
    steps = len(chosen) * (len(loaded.dense_operators) + 1)
    done = 0
    results = []
    inputs: dict[int, _LayerInputs] = {}
    for runtime in chosen:
        check = _RuntimeCheck(loaded, runtime, samples, seed, inputs, library)
        for what in check.run():
            if progress is not None:
                progress(done, steps, f"{runtime.name}: {what}")
            done += 1
        results.append(check.result())
    return Verification(loaded, samples, seed, results, missing)


@dataclass(frozen=True)
class _LayerInputs:
    """What one dense layer is fed with; the same for every runtime.

    Attributes:
        rows: `[n, depth]` of the input's type: boundary, tie-seeking and random.
        channels: units whose requantization is probed; none where nothing is requantized.
        accs: for each of them, the accumulators.
    """

    rows: Array
    channels: list[int]
    accs: list[Array]


class _RuntimeCheck:
    """Everything that is checked for one runtime."""

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        samples: int,
        seed: int,
        inputs: dict[int, _LayerInputs],
        library: str | os.PathLike[str] | None,
    ) -> None:
        self.library = library
        self.inputs = inputs
        self.model = model
        self.runtime = runtime
        self.prepared: PreparedModel = prepare(model, runtime)
        self.samples = samples
        self.seed = seed
        self.fingerprint: Mapping[str, str] = {}
        self.whole_model_note = ""
        self.operators: dict[int, OperatorResult] = {
            op.index: OperatorResult(op.index, op.name, "", "", refusal=self.prepared.refusals.get(op.index, ""))
            for op in model.operators
        }
        for index, entry in self.prepared.operators.items():
            self.operators[index] = OperatorResult(
                index, entry.operator.name, entry.rule, entry.kernel, notes=entry.notes
            )
        self.end_to_end: Comparison | None = None

    def result(self) -> RuntimeResult:
        return RuntimeResult(
            self.runtime, self.fingerprint, list(self.operators.values()), self.end_to_end, self.whole_model_note
        )

    def run(self) -> Iterator[str]:
        """Check; yields what comes next."""
        with open_oracle(self.runtime.name, library=self.library) as oracle:
            self.fingerprint = oracle.fingerprint.as_dict()
            for op in self.model.dense_operators:
                yield f"operator {op.index} {op.name}"
                prepared = self.prepared.operators.get(op.index)
                if isinstance(prepared, PreparedLayer):
                    self._check_layer(oracle, prepared)
                else:
                    self._check_refusal(oracle, op)
            yield "whole model"
            if self.runtime.dense_only:
                self.whole_model_note = f"{DENSE_ONLY}; it does not run whole models"
            else:
                self._check_whole_model(oracle)

    def _check_layer(self, oracle: Oracle, prepared: PreparedLayer) -> None:
        """A dense layer cut out: row by row, all rows at once, and its requantization probed."""
        op, layer = prepared.operator, prepared.layer
        if op.index not in self.inputs:
            rng = np.random.default_rng([self.seed, op.index])
            self.inputs[op.index] = _layer_inputs(prepared, self.samples, rng)
        inputs = self.inputs[op.index]
        # One row at a time and many at once go through different kernels (GEMV and GEMM).
        for count in (1, len(inputs.rows)):
            graph = _cut_out(self.model, op, layer, count)
            batch = math.prod(graph.tensors[0].shape) // layer.depth
            samples = _fill(graph.tensors[0], layer.depth, inputs.rows)
            self._compare(oracle, op.index, f"cut out, {batch} row(s) a call", write(graph), samples)
        if not inputs.channels:
            return
        content = write(probe_subgraph(layer, inputs.accs, inputs.channels))
        probe = load_tflite(content)
        # A probe of one unit is per-tensor, a probe with a bias may be taken where the layer is declined, or refused:
        # such a probe is another variant and says nothing about this layer.
        try:
            same = prepare_operator(probe, probe.operators[0], self.runtime).rule == prepared.rule
        except UnsupportedError:
            same = False
        if same:
            zeros = np.zeros(probe.inputs[0].shape, probe.inputs[0].dtype.numpy)
            self._compare(oracle, op.index, "requantization probed", content, [zeros])

    def _compare(self, oracle: Oracle, index: int, what: str, content: bytes, samples: Sequence[Array]) -> None:
        """Run a one-operator model on both sides."""
        result = self.operators[index]
        alone = load_tflite(content)
        try:
            run = oracle.run(content, [[x] for x in samples], label=f"{self.model.operators[index].label}, {what}")
        except OracleFailure as failure:
            result.comparisons.append(Comparison(what, failure=str(failure)))
            return
        try:
            prepared = prepare_operator(alone, alone.operators[0], self.runtime)
        except UnsupportedError as error:
            result.comparisons.append(Comparison(what, failure=f"LastBit refuses what {oracle.name} runs: {error}"))
            return
        comparison = Comparison(what, kernel=_kernel_seen(run))
        comparison.add_kernel_check(prepared.kernel, run.delegated)
        for x, outputs in zip(samples, run.outputs, strict=True):
            _compare_outputs(comparison, prepared, [x], outputs)
        result.comparisons.append(comparison)

    def _check_refusal(self, oracle: Oracle, op: Operator) -> None:
        """A dense layer that LastBit refuses for this runtime: does the real one refuse it too?"""
        result = self.operators[op.index]
        try:
            graph = extract_operator(self.model, op)
            content = write(graph)
            zeros = [np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype.numpy) for i in graph.inputs]
            oracle.run(content, [zeros], label=op.label)
        except OracleFailure as failure:
            result.refused_by_oracle = failure.reason
        except (UnsupportedError, InputError):
            pass  # it cannot be cut out; the refusal stands as LastBit's own

    def _check_whole_model(self, oracle: Oracle) -> None:
        """Every covered operator inside the whole model, on the tensors that the interpreter computed itself."""
        covered = self.prepared.operators
        if not covered:
            return
        fed = {t.index for t in self.model.inputs}
        wanted = dict.fromkeys(
            index
            for entry in covered.values()
            for index in (*entry.inputs, *entry.operator.outputs)
            if index not in fed
        )
        rng = np.random.default_rng([self.seed, 2**20])
        samples = [random_inputs(self.model, rng) for _ in range(min(self.samples, WHOLE_MODEL_SAMPLES))]
        try:
            run = oracle.run(with_outputs(bytes(self.model.content), list(wanted)), samples, label="the whole model")
        except OracleFailure as failure:
            self.whole_model_note = f"{oracle.name} does not run the whole model: {failure.reason}"
            return
        comparisons = {index: Comparison("in the whole model", kernel=_kernel_seen(run, index)) for index in covered}
        for index, entry in covered.items():
            if run.delegated_operators is not None:
                comparisons[index].add_kernel_check(entry.kernel, index in run.delegated_operators)
        for inputs, outputs in zip(samples, run.outputs, strict=True):
            tensors = dict(zip((t.index for t in self.model.inputs), inputs, strict=True))
            tensors.update(zip(wanted, outputs, strict=True))
            for index, entry in covered.items():
                values = [tensors[i] for i in entry.inputs]
                _compare_outputs(comparisons[index], entry, values, [tensors[i] for i in entry.operator.outputs])
        for index, comparison in comparisons.items():
            self.operators[index].comparisons.append(comparison)
        if not self.prepared.refusals:
            self._check_end_to_end(oracle, samples)

    def _check_end_to_end(self, oracle: Oracle, samples: Sequence[Sequence[Array]]) -> None:
        """The unchanged model from its inputs to its outputs."""
        run = oracle.run(bytes(self.model.content), samples, label="the whole model")
        self.end_to_end = Comparison("end to end", kernel=_kernel_seen(run))
        for inputs, outputs in zip(samples, run.outputs, strict=True):
            trace = reference.run(self.prepared, inputs)
            for ours, theirs in zip(trace.outputs, outputs, strict=True):
                self.end_to_end.add(compare_arrays(theirs, ours))


def _layer_inputs(prepared: PreparedLayer, samples: int, rng: np.random.Generator) -> _LayerInputs:
    """Rows: all boundary rows, half of the samples tie-seeking where there are such, the rest random."""
    layer = prepared.layer
    if not isinstance(prepared, PreparedDense):
        return _LayerInputs(float_rows(layer, samples, rng), [], [])
    rules = all_rules(layer, prepared.rivals)
    solved, _ = tie_seeking_inputs(layer, rules, max(samples // 2, 1), rng)
    boundary = boundary_inputs(layer, rng)
    count = max(samples - len(solved) - len(boundary), 1)
    dtype = layer.input.dtype
    assert dtype.qmin is not None
    assert dtype.qmax is not None
    drawn = rng.integers(dtype.qmin, dtype.qmax, (count, layer.depth), dtype.numpy, endpoint=True)
    channels = [int(c) for c in rng.permutation(layer.units)[:PROBED_CHANNELS]]
    if layer.granularity == "per_tensor":
        channels = channels[:1]
    probes = PROBES_PER_CHANNEL * PROBED_CHANNELS // len(channels)
    # An accumulator of 64 bits is probed as far as dot products come.
    half = 2 ** (min(max(prepared.acc_bits, 32), 48) - 1)
    accs: list[Array] = [critical_accumulators(rules, c, probes, rng, (-half, half - 1)) for c in channels]
    return _LayerInputs(np.concatenate([boundary, solved, drawn]), channels, accs)


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


def _compare_outputs(
    comparison: Comparison, prepared: PreparedOperator, values: Sequence[Array], theirs: Sequence[Array]
) -> None:
    """Add an operator's outputs to a comparison, with the first bad element worked out."""
    ours = output_values(prepared.operator, prepared.evaluate(values)).values()
    for number, (wanted, found) in enumerate(zip(theirs, ours, strict=True)):
        difference = compare_arrays(wanted, found)
        worked = []
        if difference.first is not None and not comparison.worked:
            worked = worked_operator_element(prepared, values, difference.first, number)
        comparison.add(difference, worked)


def _kernel_seen(run: OracleRun, index: int | None = None) -> str:
    """Which kernel the interpreter itself says it used: for one operator of a model, or at all."""
    if run.delegated is None:
        return "its own kernels"
    taken = run.delegated_operators or ()
    delegated = run.delegated if index is None else index in taken
    return "XNNPACK delegate" if delegated else "own kernels, no delegate"
