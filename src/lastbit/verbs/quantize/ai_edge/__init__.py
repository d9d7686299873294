"""ai-edge-quantizer: a float32 graph, ranges and a recipe to the quantized graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....model.graph import Model, Subgraph
from .edit import carry_out
from .instructions import instructions
from .recipe import Recipe
from .uses import GivesUp, all_uses, float_range

__all__ = ["GivesUp", "Recipe", "quantize_with_recipe"]


def quantize_with_recipe(model: Model, ranges: Mapping[int, tuple[np.float32, np.float32]], recipe: Recipe) -> Subgraph:
    """The graph as ai-edge-quantizer writes it.

    Args:
        model: a float32 model.
        ranges: (least, greatest) of every float32 tensor that is fed or computed; empty where the recipe leaves
            activations float32.
        recipe: what is quantized.

    Raises:
        GivesUp: the quantizer ends with an error.
    """
    graph = model.subgraphs[0]
    names = [tensor.name for tensor in graph.tensors]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise GivesUp(f"several tensors are named {twice!r}, and it tells tensors apart by their names")
    buffers = _buffers(model)
    limits = {index: float_range(graph.tensors[index], *pair) for index, pair in ranges.items()}
    uses = all_uses(graph, buffers, limits, recipe)
    first: dict[int, int] = {}
    for tensor in graph.tensors:
        first.setdefault(buffers[tensor.index], tensor.index)
    order = sorted(uses, key=lambda index: (first[buffers[index]], index))
    return carry_out(graph, order, {index: instructions(graph, index, uses[index]) for index in order})


def _buffers(model: Model) -> list[int]:
    """Each tensor's buffer in the file."""
    import tflite as schema

    graph = schema.Model.GetRootAs(model.content, 0).Subgraphs(0)
    return [graph.Tensors(index).Buffer() for index in range(graph.TensorsLength())]
