"""Input, dense and reshaping layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....model.errors import ModelError
from .activations import activated
from .graph import Node
from .layers import Layer, batch_shape
from .lowering import NO_ACTIVATION, Lowering, NotCovered

__all__ = ["dense", "flatten", "input_layer", "reshape"]

_DENSE: dict[str, Any] = {
    **NO_ACTIVATION,
    "weights_format": "DEFAULT",
    "keep_num_dims": False,
    "asymmetric_quantize_inputs": False,
}


def input_layer(run: Lowering, layer: Layer, _: list[Node]) -> Node:
    """What is fed."""
    shape = batch_shape(layer.config)
    if not isinstance(shape, (list, tuple)) or len(shape) < 2:
        raise NotCovered(f"its shape is {shape}; a batch and at least one dimension are covered")
    if shape[0] != run.batch:
        raise NotCovered(f"its batch size is {shape[0]} and another input's {run.batch}; inputs of one are covered")
    if any(not isinstance(size, int) for size in shape[1:]):
        raise NotCovered(f"its shape is {list(shape)}; only the batch may be open")
    return run.add("INPUT", layer, [], tuple(shape[1:]))


def dense(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Dense. With more than two dimensions the rows are put together first, and the bias is an operator of its own."""
    (source,), units = sources, int(layer.config["units"])
    depth = source.shape[-1]
    shapes: dict[str, tuple[int, ...]] = {"kernel": (depth, units)}
    if layer.config.get("use_bias", True):
        shapes["bias"] = (units,)
    kernel, *bias = run.weights(layer, **shapes)
    weights = np.ascontiguousarray(kernel.T)
    outer = source.shape[:-1]
    if outer:
        source = reshaped(run, layer, source, (depth,))
    node = run.add("FULLY_CONNECTED", layer, [source], (units,), (weights, None), _DENSE)
    node.rows = source.rows
    if outer:
        node = reshaped(run, layer, node, (*outer, units), reads_shape=False)
    if bias:
        node = run.constant("ADD", layer, node, bias[0])
    return activated(run, layer, node, layer.config.get("activation", "linear"))


def reshaped(run: Lowering, layer: Layer, source: Node, shape: tuple[int, ...], reads_shape: bool = True) -> Node:
    first = -1 if run.batch is None else run.batch
    node = run.add("RESHAPE", layer, [source], shape, (np.array([first, *shape], np.int32),))
    node.rows = math.prod(source.shape) * source.rows // math.prod(shape)
    node.shape_of = source if reads_shape and run.batch is None else None
    return node


def flatten(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Flatten. Keras 3 leaves out what is flat already, and reads the batch size of the value."""
    (source,) = sources
    if len(source.shape) == 1 and not run.is_keras_2:
        return source
    node = reshaped(run, layer, source, (math.prod(source.shape),), reads_shape=not run.is_keras_2)
    node.has_shape = run.is_keras_2
    return node


def reshape(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Reshape, with one size of -1 at most."""
    (source,), target = sources, [int(size) for size in layer.config["target_shape"]]
    size = math.prod(source.shape)
    if target.count(-1) == 1:
        rest = math.prod(n for n in target if n != -1)
        target = [size // max(rest, 1) if n == -1 else n for n in target]
    if math.prod(target) != size:
        raise ModelError(f"{run.file.path}: {layer.label} reshapes {list(source.shape)} to {target}; sizes differ.")
    return reshaped(run, layer, source, tuple(target))
