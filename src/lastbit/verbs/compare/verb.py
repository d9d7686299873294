"""compare: a certificate that two runtimes print the same for every input of a model's operators, or where they do not.

For dense layers and convolutions both runtimes' requantization tables are compared on every accumulator that the
layer's weights and its input's type can reach. Equal tables prove equal outputs for all inputs, of which no sample can
tell. Where they differ, every such accumulator is listed, and an input is solved for that shows it, and run. Other
operators are the same where both runtimes follow one rule; else they are run on a million outputs each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...engines import reference
from ...engines.inputs import as_inputs
from ...engines.reference import Trace
from ...layers.differences import compare_arrays
from ...layers.running import random_inputs, rows_in_oracle
from ...layers.step_tables import has_table, layer_of
from ...layers.window_images import inner_places
from ...model.errors import InputError, OracleMissingError
from ...model.graph import Model, Operator
from ...ops.dense.layer import PreparedLayer
from ...ops.prepare import PreparedModel, prepare
from ...ops.products.window_layer import PreparedWindows
from ...oracles import Oracle, OracleFailure, open_oracle
from ...runtimes import Runtime, get_runtime
from ..run.verb import load
from .layer_pair import LayerPair
from .layer_result import LayerCertificate
from .operator_result import OperatorComparison
from .report import Certificate, DataResult
from .trials import Limits, OperatorTrials, confirm_example

__all__ = ["DEFAULT_SAMPLES", "compare"]

DEFAULT_SAMPLES = 20_000
"""Random rows on which differences are counted, for each layer that has some."""

# Inputs of the whole model that are run where none are given; fewer of models with many outputs.
_MODEL_SAMPLES = 16
_MODEL_OUTPUTS = 16_000_000
# Runs whose tensors every operator is tried on.
_TRACES_TRIED = 2
LIMITS = Limits()
_DENSE = "FULLY_CONNECTED"

Progress = Callable[[int, int, str], None]


def compare(
    model: str | os.PathLike[str] | bytes | Model,
    first: str | Runtime,
    second: str | Runtime,
    *,
    op: int | None = None,
    x: Any = None,
    samples: int = DEFAULT_SAMPLES,
    oracles: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    allow_gaps: bool = False,
) -> Certificate:
    """Certify where two runtimes, or two versions of one, print the same, and list where they do not.

    For each dense layer and convolution: either both give the same output for every input (proved: their tables are
    equal on every accumulator of the reachable range, or no input reaches those at which they differ); or every
    accumulator at which they differ, how often that happens, and an input that shows it. Every other operator is the
    same where both runtimes follow one rule. Else it is run on 10^6 outputs or for 10 s: on values of the network, ends
    of the type, zero points, flat inputs and ties. Then the whole model end to end on data.

    Args:
        model: a Model, a path or a file's bytes.
        first: a runtime or its name.
        second: another one.
        op: only this operator; default: every operator, and the whole model on data.
        x: inputs of the model, as `lastbit.run` takes them; default: random ones.
        samples: random rows on which differences of a layer are counted; 0 counts none.
        oracles: confirm each input found on the real interpreters too, where they are installed.
        seed: of all random inputs.
        progress: called with (steps done, steps in total, what is done next).
        allow_gaps: let operators that were not compared give exit code 0 where some others were, and are equal.

    Returns:
        The Certificate. `exit_code` is 0 where every operator was compared and none differs, 1 where something differs,
        3 where an operator was not compared and nothing differs.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: both runtimes are one, an input does not fit, or there is no such operator.
    """
    loaded = load(model)
    pair = get_runtime(first), get_runtime(second)
    if pair[0].name == pair[1].name:
        raise InputError(f"both runtimes are {pair[0].name}; name two different ones. `lastbit runtimes` lists them.")
    if samples < 0:
        raise InputError(f"samples is {samples}; wanted 0 or more")
    sides = prepare(loaded, pair[0]), prepare(loaded, pair[1])
    operators = loaded.operators if op is None else (loaded.operator(op),)
    traces = list(_runs(sides[0], x, seed)) if x is not None or op is None else []
    given = traces if x is not None else []
    pairs = {operator.index for operator in operators if _has_tables(sides, operator)}
    rest = [operator for operator in operators if operator.index not in pairs]
    trials = OperatorTrials(sides, rest, traces[:_TRACES_TRIED], LIMITS, seed)
    layers, others = [], []
    for done, operator in enumerate(operators):
        if progress is not None:
            progress(done, len(operators) + (op is None), operator.label)
        if operator.index in pairs:
            rng = np.random.default_rng([seed, operator.index])
            layers.append(LayerPair(sides, operator, samples, rng).certify(given))
        else:
            others.append(trials.compare(operator))
    if oracles and loaded.subgraphs[0].scales_known:
        for side in sides:
            _confirm(
                side,
                [layer for layer in layers if layer.witness is not None],
                [other for other in others if other.example is not None],
            )
    data = None
    if op is None:
        if progress is not None:
            progress(len(operators), len(operators) + 1, "the whole model on data")
        data = _on_data(sides, traces, x is None)
    return Certificate(loaded, pair, tuple(layers), tuple(others), operators, data, samples, seed, allow_gaps)


def _has_tables(sides: tuple[PreparedModel, PreparedModel], op: Operator) -> bool:
    """Whether an operator is compared by tables: a dense layer, or a convolution that both runtimes have as one."""
    if op.name == _DENSE:
        return True
    entries = [layer_of(side, op) for side in sides]
    # A convolution whose every window reaches into the padding sees less than its window holds.
    return all(has_table(e) and isinstance(e, PreparedWindows) and inner_places(e.layer) for e in entries)


def _confirm(side: PreparedModel, layers: Sequence[LayerCertificate], others: Sequence[OperatorComparison]) -> None:
    """Run the inputs that were found on a real interpreter, where it is installed."""
    if not layers and not others:
        return
    name = side.runtime.name
    try:
        oracle = open_oracle(side.runtime)
    except OracleMissingError as error:
        missing = str(error).split(". ")[0]
        for layer in layers:
            assert layer.witness is not None
            layer.witness.confirmed[name] = missing
        for other in others:
            assert other.example is not None
            other.example.confirmed[name] = missing
        return
    with oracle:
        for layer in layers:
            _confirm_layer(side, oracle, layer)
        for other in others:
            confirm_example(oracle, side.model, other)


def _confirm_layer(side: PreparedModel, oracle: Oracle, layer: LayerCertificate) -> None:
    """Run a layer's input on a real interpreter."""
    prepared, witness = layer_of(side, side.model.operators[layer.index]), layer.witness
    assert isinstance(prepared, PreparedLayer)
    assert witness is not None
    rows = np.repeat(witness.x[None], min(layer.rows, 16), axis=0)
    try:
        outputs = rows_in_oracle(oracle, side.model, prepared.layer, rows, layer.rows)
        witness.confirmed[oracle.name] = outputs[0, witness.unit].item()
    except OracleFailure as failure:
        witness.confirmed[oracle.name] = f"did not run it: {failure.reason}"


def _runs(side: PreparedModel, x: Any, seed: int) -> Iterator[Trace]:
    """The model in one runtime's arithmetic, on the data given or on random data."""
    if x is not None:
        yield reference.run(side, as_inputs(side.model, x), partial=True)
        return
    rng = np.random.default_rng([seed, 2**20])
    outputs = sum(math.prod(side.model.tensors[i].shape) for o in side.model.operators for i in o.outputs)
    for _ in range(max(min(_MODEL_SAMPLES, _MODEL_OUTPUTS // max(outputs, 1)), 1)):
        yield reference.run(side, random_inputs(side.model, rng), partial=True)


def _on_data(sides: tuple[PreparedModel, PreparedModel], traces: Sequence[Trace], drawn: bool) -> DataResult:
    """The whole model end to end on the same inputs; on inputs that were given, every operator too."""
    result = DataResult("random inputs over the whole range" if drawn else "the inputs given", len(traces))
    model = sides[0].model
    for trace in traces:
        for index, entry in trace.operators.items():
            other = sides[1].operators.get(index)
            # What a variable held when it was read is not in the trace, only what it holds at the end.
            read = other is not None and any(i in trace.state for i in other.inputs)
            if other is not None and not drawn and not read and "output" in entry.steps:
                steps = other.evaluate([trace.tensors[i] for i in other.inputs])
                result.add_operator(model.operators[index], compare_arrays(entry.output, steps["output"]))
        other_trace = reference.run(sides[1], {t.index: trace.tensors[t.index] for t in model.inputs}, partial=True)
        result.growth.add(trace, other_trace)
        for tensor in model.outputs:
            if tensor.index in trace.tensors and tensor.index in other_trace.tensors:
                result.add_output(compare_arrays(trace.tensors[tensor.index], other_trace.tensors[tensor.index]))
    return result
