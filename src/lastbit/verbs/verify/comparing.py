"""What the comparisons of single layers and of whole models share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...engines.one_operator import outputs_of
from ...layers.differences import compare_arrays
from ...layers.worked_element import worked_operator_element
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.tflite.writer import extract_operator, write
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...oracles import Oracle, OracleFailure, OracleRefusal, OracleRun
from .result import Comparison, OperatorResult

__all__ = ["compare_outputs", "failed", "kernel_seen", "refused_alone"]

# An operator with more outputs is prepared but not run, where only its refusal is asked.
_MOST_OUTPUTS = 1 << 23


def compare_outputs(
    comparison: Comparison,
    prepared: PreparedOperator,
    values: Sequence[Array],
    theirs: Sequence[Array],
    ours: Sequence[Array] | None = None,
) -> None:
    """Add an operator's outputs to a comparison, with the first bad element worked out.

    Args:
        comparison: what they are added to.
        prepared: the operator.
        values: its inputs.
        theirs: the interpreter's outputs.
        ours: what a fast engine makes of the inputs; where it differs from `theirs` the reference decides.
    """
    if ours is None or any(map(compare_arrays, theirs, ours)):
        ours = outputs_of(prepared, values)
    for number, (wanted, found) in enumerate(zip(theirs, ours, strict=True)):
        difference = compare_arrays(wanted, found)
        worked = []
        if difference.first is not None and not comparison.worked:
            worked = worked_operator_element(prepared, values, difference.first, number)
        comparison.add(difference, worked)


def failed(what: str, failure: OracleFailure) -> Comparison:
    """A comparison that the interpreter gave nothing for: it refused what LastBit runs, or it died."""
    if isinstance(failure, OracleRefusal):
        return Comparison(what, failure=str(failure))
    return Comparison(what, died=str(failure))


def kernel_seen(run: OracleRun, index: int | None = None) -> str:
    """Which kernel the interpreter itself says it used: for one operator of a model, or at all."""
    if run.delegated is None:
        return "its own kernels"
    taken = run.delegated_operators or ()
    delegated = run.delegated if index is None else index in taken
    return "XNNPACK delegate" if delegated else "own kernels, no delegate"


def refused_alone(oracle: Oracle, model: Model, op: Operator, result: OperatorResult) -> None:
    """An operator that LastBit refuses for this runtime: does the real one refuse it too?"""
    try:
        graph = extract_operator(model, op)
        content = write(graph)
        zeros = [np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype.numpy) for i in graph.inputs]
        small = sum(math.prod(graph.tensors[i].shape) for i in graph.outputs) <= _MOST_OUTPUTS
        oracle.run(content, [zeros] if small else [], label=op.label)
    except OracleRefusal as refusal:
        result.refused_by_oracle = refusal.reason
    except OracleFailure as failure:
        result.comparisons.append(failed("alone", failure))
    except (UnsupportedError, InputError):
        pass  # it cannot be cut out; the refusal stands as LastBit's own
