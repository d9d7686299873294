"""What the converter's optimizer makes of the graph: batch normalization folded, activations fused.

Additions and multiplications of constants go into the dense layer or convolution before them, or into the dense
layer after them. Which of the two it is, and the order of the roundings, follows from where the optimizer begins: at
the last operator. All of it is float32, one operation after the other.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_pass.cc (8714dad87b45) and optimize_patterns.td
(0f6b97dd17c6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ....model.types import Array
from .arithmetic import dot
from .graph import ACTIVATION, Node, users_of

__all__ = ["fuse", "into_convolution"]

_AFFINE = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_BEFORE_RESHAPE = (*_ACTIVATIONS, "LOGISTIC", "TANH")
_FUSING = (*_AFFINE, "ADD", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def fuse(nodes: list[Node], outputs: list[Node], drops_zeros: bool = True) -> tuple[list[Node], list[Node]]:
    """Fuse a graph.

    Args:
        nodes: each after those that feed it.
        outputs: what is returned.
        drops_zeros: whether adding a constant of zeros is dropped.

    Returns:
        The nodes that are left, in order, and the outputs.
    """
    run = _Fuser(list(nodes), list(outputs))
    if drops_zeros:
        run.everywhere(run.drop_zeros)
    run.everywhere(run.drop_ones)
    run.everywhere(run.backward, run.forward, run.activate, run.before_reshape)
    run.everywhere(run.reshape_once, run.drop_zero_bias)
    return run.nodes, run.outputs


def into_convolution(nodes: list[Node]) -> list[Node]:
    """Convolutions into which the converter folds one number that is added or multiplied before them.

    That is not done here. It does so without padding only: where there is padding, the border would not get the number.
    """
    return [
        node
        for node in nodes
        if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D") and node.options["padding"] == "VALID"
        for before in node.inputs
        if before.op in ("ADD", "MUL") and before.constants and _constant(before).size == 1
        if before.activation == "NONE"
    ]


class _Fuser:
    def __init__(self, nodes: list[Node], outputs: list[Node]) -> None:
        self.nodes = nodes
        self.outputs = outputs

    def everywhere(self, *rules: Callable[[Node], bool]) -> None:
        """Apply rules until none fits, each time to the last node that one fits: the optimizer starts at the end."""
        while any(rule(node) for node in reversed(self.nodes) for rule in rules):
            self.drop_unused()

    def drop_zeros(self, node: Node) -> bool:
        """Adding zeros is dropped."""
        return node.op == "ADD" and bool(node.constants) and not _constant(node).any() and self.drop(node)

    def drop_ones(self, node: Node) -> bool:
        """Multiplying with ones is dropped."""
        return node.op == "MUL" and bool(node.constants) and bool((_constant(node) == 1).all()) and self.drop(node)

    def drop(self, node: Node) -> bool:
        """Let what feeds a node take its place."""
        self.nodes.remove(node)
        self.redirect(node, node.inputs[0])
        return True

    def backward(self, node: Node) -> bool:
        """A constant that is added or multiplied goes into the layer before."""
        if node.op not in ("ADD", "MUL") or not node.constants:
            return False
        source, constant = node.inputs[0], _constant(node)
        if source.op not in _AFFINE or source.activation != "NONE":
            return False
        if self.uses(source) != 1 and (source.op, node.op) != ("FULLY_CONNECTED", "ADD"):
            return False
        options = {**source.options, ACTIVATION: node.activation}
        self.put(node, replace(source, constants=_folded(source, node.op, constant), options=options))
        return True

    def forward(self, node: Node) -> bool:
        """A constant that is added or multiplied goes into the dense layer after it."""
        if node.op != "FULLY_CONNECTED":
            return False
        before = node.inputs[0]
        if before.op not in ("ADD", "MUL") or not before.constants or before.activation != "NONE":
            return False
        weights, bias = node.constants
        constant = _constant(before)
        assert weights is not None
        if before.op == "MUL":
            weights = weights * constant
        elif bias is None:
            return False
        else:
            bias = dot(weights, constant, bias)
        self.put(node, replace(node, inputs=list(before.inputs), constants=(weights, bias)))
        return True

    def activate(self, node: Node) -> bool:
        """An activation goes into the operator before it; a dense layer that others use too is copied."""
        if node.op not in _ACTIVATIONS:
            return False
        source = node.inputs[0]
        if source.op not in _FUSING or source.activation != "NONE":
            return False
        if self.uses(source) != 1 and source.op != "FULLY_CONNECTED":
            return False
        self.put(node, replace(source, options={**source.options, ACTIVATION: node.op}))
        return True

    def before_reshape(self, node: Node) -> bool:
        """An operator that works element by element goes before a RESHAPE that only it uses."""
        if node.op not in _BEFORE_RESHAPE:
            return False
        reshape = node.inputs[0]
        if reshape.op != "RESHAPE" or self.uses(reshape) != 1:
            return False
        source = reshape.inputs[0]
        moved = replace(node, inputs=[source], shape=source.shape, rows=source.rows)
        self.nodes.insert(self.nodes.index(reshape), moved)
        self.put(node, replace(reshape, inputs=[moved]))
        return True

    def drop_zero_bias(self, node: Node) -> bool:
        """A dense layer's bias of zeros is dropped."""
        bias = node.constants[1] if node.op == "FULLY_CONNECTED" else None
        if bias is None or bias.any():
            return False
        self.put(node, replace(node, constants=(node.constants[0], None)))
        return True

    def reshape_once(self, node: Node) -> bool:
        """Of two RESHAPE in a row the second is enough."""
        if node.op != "RESHAPE" or node.inputs[0].op != "RESHAPE":
            return False
        self.put(node, replace(node, inputs=list(node.inputs[0].inputs)))
        return True

    def uses(self, node: Node) -> int:
        """How often a node's output is used."""
        return users_of(self.nodes, self.outputs)[node]

    def put(self, node: Node, made: Node) -> None:
        """Let a new node take another's place."""
        made.name, made.shape, made.rows = node.name, node.shape, node.rows
        self.nodes[self.nodes.index(node)] = made
        self.redirect(node, made)

    def redirect(self, node: Node, made: Node) -> None:
        """Let all users of a node use another."""
        for user in self.nodes:
            user.inputs[:] = [made if source is node else source for source in user.inputs]
            user.shape_of = made if user.shape_of is node else user.shape_of
        self.outputs[:] = [made if output is node else output for output in self.outputs]

    def drop_unused(self) -> None:
        """Drop what nothing uses any more."""
        used: set[Node] = set(self.outputs)
        for node in reversed(self.nodes):
            if node in used:
                used.update(node.inputs)
        self.nodes[:] = [node for node in self.nodes if node in used or node.op == "INPUT"]


def _constant(node: Node) -> Array:
    constant = node.constants[0]
    assert constant is not None
    return constant


def _folded(source: Node, op: str, constant: Array) -> tuple[Array | None, ...]:
    """Weights and bias of a layer after which a constant is added or multiplied."""
    weights, bias = source.constants
    assert weights is not None
    if op == "ADD":
        return weights, constant if bias is None else bias + constant
    if source.op != "DEPTHWISE_CONV_2D":  # its channels are the last axis, those of the others the first one
        scaled = weights * constant.reshape(-1, *[1] * (weights.ndim - 1))
    else:
        scaled = weights * constant
    return np.ascontiguousarray(scaled), None if bias is None else bias * constant
