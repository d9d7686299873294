"""Layers element by element: batch normalization, sums, joins, and those that do nothing when a model runs."""

from __future__ import annotations

import numpy as np

from ....model.errors import ModelError
from .arithmetic import rsqrt
from .graph import Node
from .layers import Layer
from .lowering import NO_ACTIVATION, Lowering, NotCovered

__all__ = ["add", "batch_normalization", "concatenate", "nothing"]


def batch_normalization(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """BatchNormalization: MUL and ADD of constants, which the optimizer folds."""
    (source,), config = sources, layer.config
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(source.shape)):
        raise NotCovered(f"normalizes axis {axis}; the last axis is covered")
    channels = (source.shape[-1],)
    names = [
        name for name, there in (("gamma", config.get("scale", True)), ("beta", config.get("center", True))) if there
    ]
    shapes = dict.fromkeys((*names, "moving_mean", "moving_variance"), channels)
    values = dict(zip(shapes, run.weights(layer, **shapes), strict=True))
    variance = values["moving_variance"] + np.float32(config.get("epsilon", 1e-3))
    if not (variance > 0).all() or not np.isfinite(variance).all():
        raise ModelError(
            f"{run.file.path}: {layer.label}: a variance is not positive and finite; train the model again."
        )
    scale = rsqrt(variance, run.newton)
    if "gamma" in values:
        scale = scale * values["gamma"]
    offset = values["moving_mean"] * scale
    offset = (values["beta"] if "beta" in values else np.float32(0)) - offset
    if axis > 0 and isinstance(config["axis"], int):
        # Keras 3 gives the constants all dimensions where the axis is counted from the front.
        if run.batch is not None:
            raise NotCovered(f"its axis is {axis} and the batch size is fixed; axis -1 is covered there")
        shape = (*[1] * len(source.shape), *channels)
        scale, offset = scale.reshape(shape), offset.reshape(shape)
    return run.constant("ADD", layer, run.constant("MUL", layer, source, scale), offset)


def nothing(_: Lowering, __: Layer, sources: list[Node]) -> Node:
    """A layer that does nothing when a model runs."""
    return sources[0]


def add(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Add, two inputs after the other."""
    total = sources[0]
    for source in sources[1:]:
        if source.shape != total.shape:
            raise NotCovered(f"adds {list(total.shape)} and {list(source.shape)}; inputs of one shape are covered")
        total = run.add("ADD", layer, [total, source], total.shape, options=NO_ACTIVATION)
    return total


def concatenate(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Concatenate."""
    axis, rank = int(layer.config.get("axis", -1)), len(sources[0].shape) + 1
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise NotCovered(f"joins along axis {axis}, the batch or none; other axes are covered")
    shapes = [list(source.shape) for source in sources]
    sizes = [shape.pop(place - 1) for shape in shapes]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"its inputs are {[list(source.shape) for source in sources]}")
    shape = (*shapes[0][: place - 1], sum(sizes), *shapes[0][place - 1 :])
    return run.add("CONCATENATION", layer, list(sources), shape, options={"axis": place, **NO_ACTIVATION})
