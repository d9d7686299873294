"""What the converter's optimizer makes of the graph: batch normalization folded, activations fused.

Additions and multiplications of constants go into the dense layer or convolution before them, or into the dense
layer after them. Which of the two it is, and the order of the roundings, follows from the order in which the optimizer
looks at operators (`worklist`). All of it is float32, one operation after the other.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_pass.cc (8714dad87b45) and optimize_patterns.td
(0f6b97dd17c6).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....model.types import Array
from .arithmetic import Folding, dot
from .graph import ACTIVATION, Node, Pending
from .worklist import Rewriter

__all__ = ["fuse", "into_convolution"]

_AFFINE = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_BEFORE_RESHAPE = (*_ACTIVATIONS, "LOGISTIC", "TANH")
_FUSING = (*_AFFINE, "ADD", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def fuse(nodes: list[Node], outputs: list[Node], folding: Folding) -> tuple[list[Node], list[Node]]:
    """Fuse a graph.

    Args:
        nodes: each after those that feed it.
        outputs: what is returned.
        folding: what the converter's version does.

    Returns:
        The nodes that are left, in order, and the outputs.
    """
    run = _Fuser(list(nodes), list(outputs), folding)
    if folding.drops_zeros:
        run.everywhere(run.drop_zeros)
    run.everywhere(run.drop_ones, run.drop_second_relu)
    run.everywhere(run.reshape_after_dense, run.reshape_before_dense)
    rules = (run.backward, run.forward, run.activate, run.before_reshape)
    run.everywhere(*rules)
    run.everywhere(*rules, run.reshape_after_dense, run.reshape_before_dense)
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


class _Fuser(Rewriter):
    """The optimizer's rules; each changes the graph at a node and returns True, or returns False."""

    def __init__(self, nodes: list[Node], outputs: list[Node], folding: Folding) -> None:
        super().__init__(nodes, outputs)
        self.folding = folding
        self.earlier = folding.earlier

    def drop_zeros(self, node: Node) -> bool:
        """Adding zeros is dropped."""
        return node.op == "ADD" and bool(node.constants) and not _constant(node).any() and self.drop(node)

    def drop_ones(self, node: Node) -> bool:
        """Multiplying with ones is dropped."""
        return node.op == "MUL" and bool(node.constants) and bool((_constant(node) == 1).all()) and self.drop(node)

    def drop_second_relu(self, node: Node) -> bool:
        """A RELU of a RELU is dropped."""
        return node.op == "RELU" and node.inputs[0].op == "RELU" and self.drop(node)

    def backward(self, node: Node) -> bool:
        """A constant that is added or multiplied goes into the layer before."""
        if node.op not in ("ADD", "MUL") or not node.constants:
            return False
        source, constant = node.inputs[0], _constant(node)
        if source.op not in _AFFINE or source.activation != "NONE":
            return False
        added_to_dense = (source.op, node.op) == ("FULLY_CONNECTED", "ADD")
        shared = self.earlier if added_to_dense else source.op == "FULLY_CONNECTED" and self.folding.scales_shared
        if self.uses(source) != 1 and not shared:
            return False
        weights, bias = source.constants
        of_weights, of_bias = source.pending or (None, None)
        if not _folded(of_bias) and not (added_to_dense and not self.earlier):
            return False
        if node.op == "MUL" and not _folded(of_weights):
            return False
        assert weights is not None
        if node.op == "ADD":
            of_bias = None if bias is None and self.earlier else Pending((of_bias,))
            bias = constant if bias is None else bias + constant
        else:
            weights, of_weights = _scaled(source, constant), Pending()
            of_bias = None if bias is None else Pending()
            bias = None if bias is None else bias * constant
        options = {**source.options, ACTIVATION: node.activation}
        self.put(node, replace(source, constants=(weights, bias), pending=(of_weights, of_bias), options=options))
        return True

    def forward(self, node: Node) -> bool:
        """A constant that is added or multiplied goes into the dense layer after it."""
        if node.op != "FULLY_CONNECTED":
            return False
        before = node.inputs[0]
        if before.op not in ("ADD", "MUL") or not before.constants or before.activation != "NONE":
            return False
        weights, bias = node.constants
        of_weights, of_bias = node.pending or (None, None)
        constant = _constant(before)
        assert weights is not None
        if not self.earlier and not (_folded(of_weights) and (before.op == "MUL" or _folded(of_bias))):
            return False
        if before.op == "MUL":
            weights, of_weights = weights * constant, Pending((of_weights,))
        elif bias is None:
            return False
        else:
            bias, of_bias = dot(weights, constant, bias), Pending((of_weights, of_bias))
        constants, pending = (weights, bias), (of_weights, of_bias)
        self.put(node, replace(node, inputs=list(before.inputs), constants=constants, pending=pending))
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
        self.put(node, replace(reshape, inputs=[moved]), moved)
        return True

    def reshape_after_dense(self, node: Node) -> bool:
        """With a fixed batch, rows that a dense layer calculated are put together by the layer itself."""
        source = node.inputs[0] if node.op == "RESHAPE" and node.of_rows else None
        if source is None or source.op != "FULLY_CONNECTED" or self.uses(source) != 1:
            return False
        self.put(node, replace(source, options={**source.options, "keep_num_dims": True}))
        return True

    def reshape_before_dense(self, node: Node) -> bool:
        """With a fixed batch, a dense layer takes rows of any shape."""
        source = node.inputs[0] if node.op == "FULLY_CONNECTED" and node.options["keep_num_dims"] else None
        if source is None or source.op != "RESHAPE" or not source.of_rows or len(source.shape) != 1:
            return False
        self.put(node, replace(node, inputs=list(source.inputs)))
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


def _constant(node: Node) -> Array:
    constant = node.constants[0]
    assert constant is not None
    return constant


def _folded(pending: Pending | None) -> bool:
    return pending is None or pending.folded


def _scaled(source: Node, constant: Array) -> Array:
    """The weights of a layer after which each channel is multiplied."""
    weights = source.constants[0]
    assert weights is not None
    if source.op != "DEPTHWISE_CONV_2D":  # its channels are the last axis, those of the others the first one
        constant = constant.reshape(-1, *[1] * (weights.ndim - 1))
    return np.ascontiguousarray(weights * constant)
