"""What is given of a whole model: its inputs, and arrays that are found by their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engines.inputs import as_inputs, check_input, match_inputs
from ...model.errors import InputError, RealInputError
from ...model.graph import Model, Operator
from ...model.types import Array, IntegerType
from ..run.verb import quantized_inputs
from .calling import located, numbers_in, ways
from .function import takes_input_alone
from .layer import How
from .separate import trial_inputs
from .whole_model import WholeModel

__all__ = ["NetworkGiven", "assigned", "called", "model_inputs"]

_SAMPLES = 64
_IMAGES = 12
"""Samples that are chosen, and how many where a sample has more than `_LARGE` elements."""
_NEARLY = 0.5
"""An array that equals this share of an operator's output, or more, is compared with that operator."""
_LARGE = 512


@dataclass(frozen=True, eq=False)
class NetworkGiven:
    """What was to be diagnosed.

    Attributes:
        model: the model.
        input_source: where its input came from.
        inputs: tensor index -> the model's input.
        arrays: tensor index -> the user's array, in the model's type and shape, in order of execution.
        first: the runtime that comes first among equals.
        how: how it was asked.
    """

    model: Model
    input_source: str
    inputs: Mapping[int, Array]
    arrays: Mapping[int, Array]
    first: str
    how: How


def model_inputs(model: Model, x: Any, how: How, chain: WholeModel) -> tuple[dict[int, Array], str]:
    """The model's inputs by tensor index, and where they come from; chosen where x is None."""
    if x is None:
        return _chosen(model, how.seed, chain), f"samples chosen to tell mistakes apart (seed {how.seed})"
    given = as_inputs(model, x)
    if how.quantize_input:
        given = quantized_inputs(model, given, chain.prepared.runtime)
    try:
        fed = {tensor.index: check_input(tensor, value) for tensor, value in match_inputs(model, given)}
    except RealInputError as error:
        raise error.offering_to_quantize() from None
    return fed, "given at the model's input" + ("; real values quantized" if how.quantize_input else "")


def _chosen(model: Model, seed: int, chain: WholeModel) -> dict[int, Array]:
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in model.inputs:
        shape = tuple(max(size, 1) for size in tensor.shape)
        if not isinstance(tensor.dtype, IntegerType):
            raise InputError(f"input {tensor.label} is {tensor.dtype.name}; give the x that your code is to get")
        layer = next((entry.layer for entry in chain.layers.values() if entry.layer.input.index == tensor.index), None)
        size = math.prod(shape[1:])
        if layer is not None and len(model.inputs) == 1 and size == layer.depth:
            rows = trial_inputs(layer, rng, _SAMPLES)
            found[tensor.index] = rng.permutation(rows).reshape(-1, *shape[1:])
            continue
        count = _IMAGES if size > _LARGE else _SAMPLES
        info = tensor.dtype
        values = rng.integers(info.qmin, info.qmax, (count, *shape[1:]), endpoint=True)
        zero = 0 if tensor.quant is None else int(tensor.quant.zero_point[0])
        spread = rng.choice([2, 12, 40, 200], count // 2).reshape(-1, *[1] * len(shape[1:]))
        near = zero + np.rint(rng.normal(size=(count // 2, *shape[1:])) * spread)
        values[: count // 2] = np.clip(near, info.qmin, info.qmax)
        found[tensor.index] = rng.permutation(values).astype(info.numpy)
    return found


def called(model: Model, function: Callable[..., Any], inputs: Mapping[int, Array]) -> tuple[dict[Any, Array], str]:
    """What a function of the model's inputs alone answers: arrays by its own keys, and its name.

    Raises:
        InputError: it raises, or gives something else than numbers.
    """
    name = getattr(function, "__name__", type(function).__name__)
    given = [inputs[tensor.index] for tensor in model.inputs]
    if len(given) != 1 and takes_input_alone(function):
        raise InputError(f"{name} would get one input, and the model has {len(given)}; give arrays instead")
    sizes = {_size(model, op) for op in model.operators}
    count = len(given[0])
    failed = []
    for each in zip(*(ways([x.shape[1:], (math.prod(x.shape[1:]),)], x) for x in given), strict=True):
        shapes = " and ".join(f"{x.dtype}{list(shape)}" for x, (shape, _) in zip(given, each, strict=True))
        try:
            with np.errstate(all="ignore"):
                calls = zip(*(parts for _, parts in each), strict=True)
                answers = [_arrays(name, function(*(part.copy() for part in parts))) for parts in calls]
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            failed.append(f"  {located(error)}, given {shapes}")
            continue
        last = list(answers[0].values())[-1]
        if last.size * len(answers) in {size * count for size in sizes}:
            joined = {key: np.concatenate([a[key].reshape(1, -1) for a in answers]) for key in answers[0]}
            return (answers[0] if len(answers) == 1 else joined), name
        failed.append(f"  it gives {list(last.shape)} for {shapes}, which fits no operator's output")
    raise InputError("\n".join([f"{name} fails on every shape of its input that was tried:", *dict.fromkeys(failed)]))


def _arrays(name: str, answer: Any) -> dict[Any, Array]:
    named = answer if isinstance(answer, Mapping) else {"output": answer}
    found = {key: numbers_in(f"{name} ({key!r})" if len(named) > 1 else name, value) for key, value in named.items()}
    if not found:
        raise InputError(f"{name} gives an empty mapping; wanted an array for at least one layer")
    return found


def _size(model: Model, op: Operator) -> int:
    return math.prod(int(size) for size in model.tensors[op.outputs[0]].shape) if op.outputs else 0


def assigned(model: Model, chain: WholeModel, arrays: Mapping[Any, Array]) -> dict[int, Array]:
    """Which operator's output each array is: by its key, by its shape, and of several of one shape by its values.

    Returns:
        Tensor index -> the array in that tensor's shape, in order of execution.

    Raises:
        InputError: an array fits no operator.
    """
    found: dict[int, Array] = {}
    outputs = [index for op in model.operators for index in op.outputs[:1] if index in chain.tensors]
    names = {model.tensors[index].name: index for index in outputs}
    left = {}
    for key, value in arrays.items():
        array = np.asarray(value)
        tensor = names.get(str(key))
        if tensor is None or chain.tensors[tensor].size != array.size:
            left[key] = array
        else:
            found[tensor] = array
    for size in dict.fromkeys(array.size for array in left.values()):
        alike = {key: array for key, array in left.items() if array.size == size}
        fitting = [index for index in outputs if chain.tensors[index].size == size and index not in found]
        if len(fitting) < len(alike):
            key, array = next(iter(alike.items()))
            shapes: dict[str, list[str]] = {}
            for op in (op for op in model.operators if op.index in chain.layers):
                shapes.setdefault(str(list(chain.tensors[op.outputs[0]].shape)), []).append(str(op.index))
            told = "; ".join(f"{shape} (operators {', '.join(indices)})" for shape, indices in shapes.items())
            raise InputError(
                f"{key!r} has shape {list(array.shape)}, which no operator's output has for this input. "
                f"The layers' are: {told}. --op N (op=N in Python) compares with one of them alone"
            )
        found |= dict(zip(_places(chain, list(alike.values()), fitting), alike.values(), strict=True))
    order = [index for index in outputs if index in found]
    steps = {index: _in_its_type(model, index, found[index], chain.tensors[index].shape) for index in order}
    return {index: _held(model, index, values) for index, values in steps.items()}


def _places(chain: WholeModel, arrays: Sequence[Array], fitting: Sequence[int]) -> list[int]:
    """Of several operators whose outputs have one size, those that these arrays are, in order."""
    layers = [i for i in fitting if any(entry.operator.outputs[0] == i for entry in chain.layers.values())]
    if len(layers) == len(arrays) > 1:
        return layers
    if len(fitting) == len(arrays):
        return list(fitting)
    if len(arrays) == 1:
        # The last is meant, the model's output mostly, except where the array is nearly another's.
        equal = {i: float((chain.tensors[i].reshape(-1) == arrays[0].reshape(-1)).mean()) for i in reversed(fitting)}
        likest = max(equal, key=lambda index: equal[index])
        return [likest if equal[likest] >= _NEARLY else fitting[-1]]
    places: list[int] = []
    for array in arrays:
        free = [index for index in fitting if not places or index > places[-1]] or list(fitting)
        flat = array.reshape(-1).astype(np.float64)
        distance = {i: float(np.abs(chain.tensors[i].reshape(-1) - flat).mean()) for i in free}
        # The last of equals: a RESHAPE's output is its input's.
        places.append(min(reversed(free), key=lambda index: distance[index]))
    return places


def _held(model: Model, index: int, values: Array) -> Array:
    """In the tensor's type where every value fits it, so that the operators after it can take it."""
    dtype = model.tensors[index].dtype
    if not isinstance(dtype, IntegerType) or values.min(initial=0) < dtype.qmin or values.max(initial=0) > dtype.qmax:
        return values
    return values.astype(dtype.numpy)


def _in_its_type(model: Model, index: int, array: Array, shape: tuple[int, ...]) -> Array:
    """An array in the tensor's steps and shape: whole numbers as they are, dequantized values in steps.

    Of a tensor of real values, such as the output of DEQUANTIZE, the values themselves.
    """
    values, tensor = array.reshape(shape), model.tensors[index]
    if not isinstance(tensor.dtype, IntegerType):
        return values.astype(tensor.dtype.numpy)
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if not np.isfinite(values).all():
        raise InputError(f"an array of shape {list(array.shape)} has values that are not finite")
    quant = tensor.quant
    if (values == np.rint(values)).all() or quant is None:
        return values.astype(np.int64)
    steps = values.astype(np.float64) / float(quant.scale[0]) + int(quant.zero_point[0])
    if np.abs(steps - np.rint(steps)).max(initial=0) < 1e-3:
        return np.rint(steps).astype(np.int64)
    raise InputError(
        f"an array of shape {list(array.shape)} has real values that are not steps of {model.tensors[index].label}: "
        "of a model of several layers, rounded outputs are compared. Name one layer with op= for values before rounding"
    )
