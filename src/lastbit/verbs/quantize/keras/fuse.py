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

from ..paddings import is_same_padding
from .arithmetic import Folding, dot
from .graph import ACTIVATION, Node, Pending
from .prepare import prepared
from .reshapes import Reshapes

__all__ = ["ConverterFails", "fuse"]

_AFFINE = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_MOST_OF_PRODUCT = 3  # dimensions without the batch
_FUSING = (*_AFFINE, "ADD", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def fuse(
    nodes: list[Node], outputs: list[Node], folding: Folding, is_fixed: bool = False
) -> tuple[list[Node], list[Node]]:
    """Fuse a graph.

    Args:
        nodes: each after those that feed it.
        outputs: what is returned.
        folding: what the converter's version does.
        is_fixed: whether the batch size is fixed.

    Returns:
        The nodes that are left, in order, and the outputs.

    Raises:
        ConverterFails: the converter's own optimizer makes an operator of it that is none.
    """
    # Where every shape is known, all versions drop zeros.
    folding = replace(folding, drops_zeros=folding.drops_zeros or is_fixed)
    run = _Fuser(*prepared(nodes, outputs, folding, is_fixed), folding)
    dense = (run.reshape_after_dense, run.reshape_before_dense)
    run.everywhere(*dense)
    run.everywhere(run.drop_zeros)
    # Where several rules fit an operator, those that look at more operators come first.
    reshapes = (run.sum_before_reshapes, run.before_reshape, run.reshape_in_sum)
    rules = (run.drop_reshape, run.product_of_one, run.same_padding, *reshapes, run.backward, run.forward, run.activate)
    run.everywhere(*rules)
    run.everywhere(*rules, run.one_number, *dense, run.reshape_to_front, run.keep_dims_before_reshape)
    run.everywhere(run.reshape_once, run.drop_zero_bias)
    return run.without_shapes()


class ConverterFails(Exception):
    """The converter ends with an error; the text says at which layer."""


class _Fuser(Reshapes):
    """The optimizer's rules; each changes the graph at a node and returns True, or returns False."""

    def __init__(self, nodes: list[Node], outputs: list[Node], folding: Folding) -> None:
        super().__init__(nodes, outputs, folding)
        self.earlier = folding.earlier

    def backward(self, node: Node) -> bool:
        """A constant that is added or multiplied goes into the layer before."""
        if node.op not in ("ADD", "MUL") or not node.constants:
            return False
        source, constant = node.inputs[0], node.constant
        if source.op not in _AFFINE or source.activation != "NONE" or source.shape != node.shape:
            return False
        added_to_dense = (source.op, node.op) == ("FULLY_CONNECTED", "ADD")
        shared = self.earlier if added_to_dense else source.op == "FULLY_CONNECTED" and self.folding.scales_shared
        if self.uses(source) != 1 and not shared:
            return False
        weights, bias = source.constants
        of_weights, of_bias = source.pending or (None, None)
        if not _folded(of_bias) and not (added_to_dense and not self.earlier):
            return False
        if added_to_dense and self.earlier and node.constant.ndim != 1:
            return False
        if node.op == "MUL" and not _folded(of_weights):
            return False
        assert weights is not None
        if node.op == "ADD":
            of_bias = None if bias is None and self.earlier else Pending((of_bias,))
            vector = constant.reshape(-1)
            bias = vector if bias is None else bias.reshape(-1) + vector
        else:
            weights, of_weights = source.scaled(constant), Pending()
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
        if before.constant.ndim != 1:
            return False
        weights, bias = node.constants
        of_weights, of_bias = node.pending or (None, None)
        constant = before.constant
        assert weights is not None
        if not self.earlier and not (_folded(of_weights) and (before.op == "MUL" or _folded(of_bias))):
            return False
        if before.shape != before.inputs[0].shape:
            raise ConverterFails(
                f"layer {node.name!r}: the product with one value before it goes into it, and the shapes do not fit"
            )
        if before.op == "MUL":
            weights, of_weights = weights * constant, Pending((of_weights,))
        elif bias is None:
            return False
        elif self.earlier and bias.ndim != 1:
            raise ConverterFails(f"layer {node.name!r}: its bias is left to be calculated when the model runs")
        else:
            bias, of_bias = dot(weights, constant, bias), Pending((of_weights, of_bias))
        constants, pending = (weights, bias), (of_weights, of_bias)
        self.put(node, replace(node, inputs=list(before.inputs), constants=constants, pending=pending))
        return True

    def one_number(self, node: Node) -> bool:
        """One number that is added or multiplied goes into the layer after it; an added one only without padding."""
        before = node.inputs[0] if node.op in _AFFINE else None
        if before is None or before.op not in ("ADD", "MUL") or not before.constants or before.activation != "NONE":
            return False
        number, (weights, bias) = before.constant, node.constants
        if number.size != 1 or weights is None or not all(_folded(pending) for pending in node.pending):
            return False
        if before.op == "MUL":
            weights = weights * number
        elif node.options.get("padding", "VALID") != "VALID":
            return False
        else:
            channels = -1 if node.op == "DEPTHWISE_CONV_2D" else 0
            columns = np.moveaxis(weights, channels, -1).reshape(-1, weights.shape[channels])
            bias = np.zeros(columns.shape[1], np.float32) if bias is None else bias.copy()
            for column in columns:
                bias += column * number
        # The converter changes the operator in place and tells nobody.
        node.inputs[:] = before.inputs
        node.constants = (weights, bias)
        return True

    def product_of_one(self, node: Node) -> bool:
        """A dense layer on rows of one value, without bias, is a product with a vector from TensorFlow 2.20 on."""
        if node.op != "FULLY_CONNECTED" or self.earlier or not node.options["keep_num_dims"]:
            return False
        weights, bias = node.constants
        (source,) = node.inputs
        if bias is not None or source.shape[-1] != 1 or len(source.shape) > _MOST_OF_PRODUCT:
            return False
        if weights is None or not all(_folded(pending) for pending in node.pending):
            return False
        options = {ACTIVATION: node.activation}
        self.put(node, Node("MUL", node.name, [source], node.shape, (weights.reshape(-1),), options))
        return True

    def same_padding(self, node: Node) -> bool:
        """Zeros around an image are the convolution's own padding where that has as many, from TensorFlow 2.18 on."""
        pad = node.inputs[0] if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D") else None
        if pad is None or pad.op != "PAD" or node.options["padding"] != "VALID" or not self.folding.joins_padding:
            return False
        weights, options = node.constants[0], node.options
        assert weights is not None
        height, width, _ = pad.inputs[0].shape
        if not is_same_padding((height, width), weights.shape[1:3], pad.constant[1:3].tolist(), options):
            return False
        self.put(node, replace(node, inputs=list(pad.inputs), options={**options, "padding": "SAME"}))
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

    def drop_zero_bias(self, node: Node) -> bool:
        """A dense layer's bias of zeros is dropped."""
        bias = node.constants[1] if node.op == "FULLY_CONNECTED" else None
        if bias is None or bias.any():
            return False
        self.put(node, replace(node, constants=(node.constants[0], None)))
        return True


def _folded(pending: Pending | None) -> bool:
    return pending is None or pending.folded
