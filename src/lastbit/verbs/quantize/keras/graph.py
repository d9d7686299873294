"""The float graph while it is lowered and fused: nodes that point at the nodes that feed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....model.types import Array

__all__ = ["ACTIVATION", "Node", "Pending", "users_of"]

ACTIVATION = "fused_activation_function"


@dataclass(eq=False)
class Pending:
    """A constant that is not calculated yet.

    Attributes:
        parts: what must be calculated before.
        folded: whether its turn has come.
    """

    parts: tuple[Pending | None, ...] = ()
    folded: bool = False

    @property
    def ready(self) -> bool:
        """Whether it can be calculated."""
        return all(part is None or part.folded for part in self.parts)


@dataclass(eq=False)
class Node:
    """One operator, with one output.

    Attributes:
        op: the operator's name, `INPUT` for what is fed.
        name: the Keras layer that it comes from.
        inputs: the nodes that feed it.
        shape: its output's shape without the batch.
        constants: its constant operands, after the inputs: weights and bias, what is added or multiplied, a new
            shape. None for a bias that is absent.
        options: the operator's options.
        shape_of: the node whose shape the converter reads (SHAPE) for a RESHAPE with an open batch. It counts as a use.
        has_shape: whether a RESHAPE's new shape is a constant with an open batch too, as Flatten's of Keras 2 is.
        rows: how many of `shape` one sample has; more than 1 where a RESHAPE makes rows of a sample.
        pending: for each constant whether it is still to be calculated; nothing where all are there.
    """

    op: str
    name: str
    inputs: list[Node]
    shape: tuple[int, ...]
    constants: tuple[Array | None, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    shape_of: Node | None = None
    has_shape: bool = False
    rows: int = 1
    pending: tuple[Pending | None, ...] = ()

    @property
    def constant(self) -> Array:
        """Its first constant."""
        (value, *_) = self.constants
        assert value is not None
        return value

    def scaled(self, factors: Array) -> Array:
        """The weights of a layer after which each channel is multiplied."""
        # The channels of a depthwise convolution are the last axis, those of other layers the first one.
        if self.op != "DEPTHWISE_CONV_2D":
            factors = factors.reshape(-1, *[1] * (self.constant.ndim - 1))
        return np.ascontiguousarray(self.constant * factors)

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Its output's shape, in front how many rows one sample has in place of the batch."""
        return (self.rows, *self.shape)

    @property
    def is_fixed(self) -> bool:
        """Whether a RESHAPE's new shape is a constant: the batch size is fixed."""
        return self.op == "RESHAPE" and self.constants[0] is not None and int(self.constants[0][0]) > 0

    @property
    def activation(self) -> str:
        """The activation that is fused into it, `NONE` where there is none."""
        return str(self.options.get(ACTIVATION, "NONE"))


def users_of(nodes: list[Node], outputs: list[Node]) -> dict[Node, int]:
    """How often each node's output is used, being returned included."""
    counts = dict.fromkeys(nodes, 0)
    shapes = (node.shape_of for node in nodes if node.shape_of is not None)
    for used in (*(source for node in nodes for source in node.inputs), *shapes, *outputs):
        counts[used] = counts.get(used, 0) + 1
    return counts
