"""A model's inputs as users give them: arrays for the model's tensors, checked, with the batch dimension they lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model.errors import InputError, RealInputError
from ..model.graph import Model, Tensor
from ..model.types import Array, IntegerType

__all__ = ["Inputs", "as_inputs", "check_input", "match_inputs", "with_batch", "wrong_dtype"]

Inputs = Sequence[Any] | Mapping[int | str, Any]
"""A value for each of a model's inputs, in order; or by tensor index or name."""


def as_inputs(model: Model, x: Any) -> Inputs:
    """What `lastbit.run` takes as x: one array for a model with one input; else a sequence, or a mapping."""
    several = isinstance(x, Mapping) or (isinstance(x, Sequence) and len(model.inputs) > 1)
    return x if several else [x]


def with_batch(values: Array, shape: Sequence[int]) -> Array:
    """The array, with a batch dimension of 1 where only that is missing for this shape.

    >>> with_batch(np.zeros((16, 48)), (1, 16, 48)).shape, with_batch(np.zeros((2, 7)), (1, 7)).shape
    ((1, 16, 48), (2, 7))
    """
    missing = len(shape) > 1 and values.shape == tuple(shape[1:])
    return values[np.newaxis] if missing else values


def check_input(tensor: Tensor, value: Any) -> Array:
    """One input array, checked against its tensor; a missing batch dimension is added.

    Raises:
        InputError: dtype, rank or shape does not fit.
    """
    x = np.asarray(value)
    if x.dtype != tensor.dtype.numpy:
        raise wrong_dtype(tensor, x, "x" if isinstance(value, np.ndarray) else "np.asarray(x)")
    x = with_batch(x, tensor.shape)
    if x.ndim != len(tensor.shape) or x.shape[1:] != tensor.shape[1:] or (x.ndim and x.shape[0] < 1):
        batch = " (the first dimension may be any batch size from 1, or be missing)" if len(tensor.shape) > 1 else ""
        raise InputError(f"input {tensor.label}: found shape {list(x.shape)}, wanted {list(tensor.shape)}{batch}")
    return x


def wrong_dtype(tensor: Tensor, x: Array, name: str) -> InputError:
    """What to do about an array of another dtype.

    Args:
        tensor: the input.
        x: the array.
        name: how code calls it.
    """
    wanted, dtype = tensor.dtype.numpy, tensor.dtype
    text = f"input {tensor.label}: found dtype {x.dtype}, wanted {dtype.name}"
    if x.dtype.kind not in "biuf" or not x.size:
        return InputError(f"{text}. Save numbers of that type.")
    if not isinstance(dtype, IntegerType):
        return InputError(f"{text}. Use {name}.astype(np.{np.dtype(wanted)}).")
    whole = x.dtype.kind != "f" or bool(np.isfinite(x).all() and (x == np.rint(x)).all())
    fits = whole and dtype.qmin <= x.min() and x.max() <= dtype.qmax
    if fits and (x.dtype.kind != "f" or x.any()):
        return InputError(f"{text}. All values fit {dtype.name}: use {name}.astype(np.{np.dtype(wanted)}).")
    if x.dtype.kind == "f" and tensor.quant is not None and not tensor.quant.known:
        return InputError(f"{text}. The input's scale is not known: quantize real values yourself.")
    if x.dtype.kind == "f" and tensor.quant is not None:
        scale, zero_point = float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0])
        return RealInputError(f"{text}. Real values must be quantized first (scale {scale!r}, zero point {zero_point})")
    text += f". Values from {x.min()} to {x.max()} do not fit {dtype.name} ({dtype.qmin} to {dtype.qmax})"
    if x.dtype == np.uint8 and dtype.name == "int8":
        return InputError(f"{text}; for pixels subtract 128: ({name}.astype(np.int16) - 128).astype(np.int8).")
    return InputError(f"{text}.")


def match_inputs(model: Model, inputs: Inputs) -> list[tuple[Tensor, Any]]:
    """Pair the model's input tensors with the arrays given: by position, index, name or the signature's name.

    Raises:
        InputError: an input is missing, or a key is no input's.
    """
    if not isinstance(inputs, Mapping):
        if len(inputs) != len(model.inputs):
            raise InputError(f"{model.source}: found {len(inputs)} input arrays, wanted {len(model.inputs)}")
        return list(zip(model.inputs, inputs, strict=True))
    pairs = []
    unused = set(inputs)
    for tensor in model.inputs:
        name = model.signature_names.get(tensor.index, tensor.name)
        keys = [key for key in (tensor.index, str(tensor.index), tensor.name, name) if key in inputs]
        if not keys:
            raise InputError(
                f"no value for input {model.input_label(tensor)}; found keys: {', '.join(map(str, inputs)) or 'none'}; "
                "wanted its index or its name"
            )
        unused.difference_update(keys)
        pairs.append((tensor, inputs[keys[0]]))
    if unused:
        raise InputError(
            f"{', '.join(map(repr, sorted(map(str, unused))))} matches no input of {model.source}; inputs are: "
            + ", ".join(map(model.input_label, model.inputs))
        )
    return pairs
