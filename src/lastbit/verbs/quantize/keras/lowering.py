"""The float graph while layers are added to it, and what is said of a layer that is not covered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ....model.errors import ModelError
from ....model.types import Array
from .archive import KerasFile
from .arithmetic import Newton
from .graph import ACTIVATION, Node
from .layers import Layer

__all__ = ["NO_ACTIVATION", "Lowering", "NotCovered"]

NO_ACTIVATION = {ACTIVATION: "NONE"}
_LARGEST_SIZE = 2**31 - 1


class NotCovered(Exception):
    """A layer that cannot be lowered as the converter does; its text says why."""


class Lowering:
    """The nodes of a model, added layer by layer.

    Attributes:
        file: where the weights are.
        newton: how the converter calculates 1/sqrt.
        batch: the batch size; None where it is open.
        is_keras_2: whether the model is one of Keras 2.
        nodes: what was added, in order.
    """

    def __init__(self, file: KerasFile, newton: Newton, batch: int | None, is_keras_2: bool) -> None:
        self.file = file
        self.newton = newton
        self.batch = batch
        self.is_keras_2 = is_keras_2
        self.nodes: list[Node] = []

    def add(
        self,
        op: str,
        layer: Layer,
        inputs: list[Node],
        shape: tuple[int, ...],
        constants: tuple[Array | None, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Node:
        """Append a node."""
        if any(size < 1 for size in shape) or math.prod(shape) > _LARGEST_SIZE:
            raise ModelError(f"{self.file.path}: {layer.label} would give {list(shape)}; wanted sizes of at least 1.")
        node = Node(op, layer.name, inputs, shape, constants, options or {})
        self.nodes.append(node)
        return node

    def weights(self, layer: Layer, **shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """A layer's weights by name and shape."""
        return self.file.weights(layer.place, tuple(shapes), tuple(shapes.values()))

    def constant(self, op: str, layer: Layer, source: Node, value: Array) -> Node:
        """ADD or MUL of a constant vector."""
        return self.add(op, layer, [source], source.shape, (value,), NO_ACTIVATION)
