"""What TensorFlow's own rules make of the graph, before its operators are those of TensorFlow Lite.

What is calculated here is a constant for all rules that come later.

Source: tensorflow/tensorflow tensorflow/compiler/mlir/tensorflow/transforms/optimize.td (0373129d287f):
FuseMulAndConv2D, PassthroughMulAndBiasAdd; google-ai-edge/LiteRT tflite/converter/transforms/dilated_conv.h
(bcd265b44da0).
"""

from __future__ import annotations

from dataclasses import replace

from .arithmetic import Folding
from .copies import without_copies
from .graph import Node
from .reshapes import Reshapes

__all__ = ["prepared"]

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def prepared(nodes: list[Node], outputs: list[Node], folding: Folding, is_fixed: bool) -> tuple[list[Node], list[Node]]:
    """The graph as the converter's optimizer finds it.

    Args:
        nodes: each after those that feed it.
        outputs: what is returned.
        folding: what the converter's version does.
        is_fixed: whether the batch size is fixed.

    Returns:
        The nodes that are left, in order, and the outputs.
    """
    run = _Preparation(*without_copies(nodes, outputs), folding)
    run.everywhere(run.drop_one_zero, run.drop_ones, run.drop_reshape, run.drop_second_relu, run.drop_slope_of_one)
    run.nodes, run.outputs = without_copies(run.nodes, run.outputs)
    if is_fixed:
        run.everywhere(run.drop_offset_of_zeros)
        run.everywhere(run.join_dilation)
    run.everywhere(run.factor_into_convolution, run.factor_before_sum)
    return run.nodes, run.outputs


class _Preparation(Reshapes):
    """TensorFlow's rules; each changes the graph at a node and returns True, or returns False."""

    def drop_one_zero(self, node: Node) -> bool:
        """Adding a single zero is dropped."""
        return bool(node.constants) and node.op == "ADD" and node.constant.size == 1 and self.drop_zeros(node)

    def drop_offset_of_zeros(self, node: Node) -> bool:
        """With a fixed batch, adding zeros behind a factor is dropped, which a batch normalization can have."""
        zeros = node.op == "ADD" and bool(node.constants) and not node.constant.any()
        return zeros and node.inputs[0].op == "MUL" and self.drop(node)

    def drop_ones(self, node: Node) -> bool:
        """Multiplying with ones is dropped."""
        return node.op == "MUL" and bool(node.constants) and bool((node.constant == 1).all()) and self.drop(node)

    def drop_second_relu(self, node: Node) -> bool:
        """A RELU of a RELU, or a RELU6 of a RELU6, is dropped."""
        return node.op in ("RELU", "RELU6") and node.inputs[0].op == node.op and self.drop(node)

    def drop_slope_of_one(self, node: Node) -> bool:
        """A leaky RELU with a slope of 1 changes nothing and is dropped."""
        return node.op == "LEAKY_RELU" and node.options["alpha"] == 1 and self.drop(node)

    def join_dilation(self, node: Node) -> bool:
        """With a fixed batch, a convolution between the operators of its dilation has the dilation itself."""
        convolution = node.inputs[0] if node.op == "BATCH_TO_SPACE_ND" else None
        if convolution is None or convolution.op not in _CONVOLUTIONS or self.uses(convolution) != 1:
            return False
        (blocks,) = convolution.inputs
        if blocks.op != "SPACE_TO_BATCH_ND" or self.uses(blocks) != 1:
            return False
        height, width = blocks.constant.tolist()
        table, crops = blocks.constants[1], node.constants[1]
        assert table is not None
        assert crops is not None
        padding = "SAME" if (table != crops).any() else "VALID"
        options = {"padding": padding, "dilation_h_factor": height, "dilation_w_factor": width}
        self.put(node, replace(convolution, inputs=list(blocks.inputs), options={**convolution.options, **options}))
        return True

    def factor_into_convolution(self, node: Node) -> bool:
        """A factor of each channel goes into the convolution before it (not into a depthwise one)."""
        source = node.inputs[0] if node.op == "MUL" and node.constants else None
        if source is None or source.op != "CONV_2D" or self.uses(source) != 1:
            return False
        self.put(node, replace(source, constants=(source.scaled(node.constant), source.constants[1])))
        return True

    def factor_before_sum(self, node: Node) -> bool:
        """A factor goes before what is added to a convolution."""
        total = node.inputs[0] if node.op == "MUL" and node.constants else None
        if total is None or total.op != "ADD" or not total.constants or self.uses(total) != 1:
            return False
        (source,) = total.inputs
        if source.op != "CONV_2D":
            return False
        product = replace(node, inputs=[source])
        self.put(node, replace(total, inputs=[product], constants=(total.constant * node.constant,)), product)
        return True
