"""Where an operator's inputs come from: through the model, given for the operator itself, or random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engines import reference
from ..engines.inputs import as_inputs, check_input
from ..model.errors import InputError, UnsupportedError
from ..model.graph import Model, Tensor
from ..model.types import Array, IntegerType
from ..ops.base import PreparedOperator
from ..ops.prepare import prepare
from ..runtimes import Runtime
from .layer_input import blockers_text, blockers_to

__all__ = ["operator_inputs", "random_inputs_of"]


def random_inputs_of(model: Model, entry: PreparedOperator, seed: int) -> tuple[list[Array], str]:
    """Random values for an operator's own inputs, in the shapes that the file has; and where they came from, in words.

    Integers cover their type; real values what the output's quantization can express, and a little more.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError(f"found seed {seed}; wanted 0 or more")
    rng = np.random.default_rng(seed)
    tensors = [model.tensors[index] for index in entry.inputs]
    output = model.tensors[entry.operator.outputs[0]] if entry.operator.outputs else None
    values = [_random(tensor, output, rng) for tensor in tensors]
    labels = " and ".join(f"tensor {tensor.index}" for tensor in tensors) or "none: its inputs are constants"
    return values, f"random (seed {seed}), put in at the operator's own inputs: {labels}"


def _random(tensor: Tensor, output: Tensor | None, rng: np.random.Generator) -> Array:
    if tensor.dtype.numpy is None and output is not None:
        tensor = output  # a variable's handle: what stands there has the output's type and shape
    shape, dtype = tuple(max(size, 1) for size in tensor.shape), tensor.dtype
    if isinstance(dtype, IntegerType) and dtype.bits <= 16:
        return rng.integers(dtype.qmin, dtype.qmax, shape, dtype.numpy, endpoint=True)
    kind = np.dtype(dtype.numpy)
    if kind.kind in "iu" and output is not None and tensor.shape == (len(output.shape),):
        return np.asarray(output.shape, kind)  # the output's shape, as TRANSPOSE_CONV and FILL take it
    if kind.kind in "iu":
        return rng.integers(0, 100, shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(kind)
    reach = 1.0
    quant = None if output is None else output.quant
    if output is not None and quant is not None and quant.scale.size and isinstance(output.dtype, IntegerType):
        reach = float(quant.scale[0]) * 2.0 ** (output.dtype.bits - 1)
    return (rng.uniform(-1.25, 1.25, shape) * reach).astype(kind)


def operator_inputs(model: Model, entry: PreparedOperator, x: Any, runtime: Runtime) -> tuple[list[Array], str]:
    """An operator's inputs: given for it, or computed from the model's input; and which, in words.

    Args:
        model: the model.
        entry: one of its operators, prepared.
        x: an array, a sequence or a mapping for the model's inputs; or for the operator's own inputs.
        runtime: whose arithmetic the operators before it follow.

    Raises:
        InputError: x fits neither; the message says both wanted types and shapes.
        UnsupportedError: x fits the model's inputs, but an operator before this one is not covered.
    """
    own = [model.tensors[index] for index in entry.inputs]
    given = _own_values(own, x)
    if given is not None:
        return given, "given for the operator's own inputs"
    prepared = prepare(model, runtime)
    try:
        trace = reference.run(prepared, as_inputs(model, x), partial=True)
    except InputError as error:
        through, blockers = f"it does not fit the model: {error}", []
    else:
        missing = [tensor.index for tensor in own if tensor.index not in trace.tensors]
        if not missing:
            before = sum(1 for index in trace.operators if index < entry.operator.index)
            words = f"operator{'s' * (before != 1)} to the operator's own inputs"
            source = f"computed on {runtime.name} from the given model input, through {before} {words}"
            # A variable: what it held before the call, which later operators overwrite.
            return [prepared.state.get(tensor.index, trace.tensors[tensor.index]) for tensor in own], source
        blockers = blockers_to(prepared, missing[0])
        through = "it cannot be taken through the model: " + blockers_text(blockers)
    if len(own) == 1 and not isinstance(x, Mapping):
        try:
            return [check_input(own[0], x)], f"given at the operator's own input, {own[0].label} ({through})"
        except InputError:
            pass
    wanted = ", ".join(f"{t.label} {t.dtype.name} {list(t.shape)}" for t in own)
    fed = ", ".join(f"{t.label} {t.dtype.name} {list(t.shape)}" for t in model.inputs)
    message = (
        "the input can be used neither at the model's input nor at the operator's.\n"
        f"  model's input: wanted {fed}; {through}\n  inputs of {entry.operator.label}: wanted {wanted}"
    )
    if blockers:
        raise UnsupportedError(message, blockers)
    raise InputError(message)


def _own_values(own: Sequence[Tensor], x: Any) -> list[Array] | None:
    """The values of a mapping that names exactly the operator's own inputs; None for anything else."""
    if not isinstance(x, Mapping) or len(x) != len(own) or not own:
        return None
    values = []
    for tensor in own:
        key = next((key for key in (tensor.index, str(tensor.index), tensor.name) if key in x), None)
        if key is None:
            return None
        values.append(check_input(tensor, x[key]))
    return values
