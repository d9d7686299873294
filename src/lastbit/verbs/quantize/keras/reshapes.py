"""What becomes of RESHAPEs: what works element by element goes before them, dense layers take them in.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td (0f6b97dd17c6) and optimize_pass.cc
(8714dad87b45).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arithmetic import Folding
from .graph import Node
from .worklist import Rewriter

__all__ = ["Reshapes"]

_ALONE = ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH")
_MOST_DIMENSIONS = 4  # of what is added or multiplied


class Reshapes(Rewriter):
    """Rules for RESHAPEs; each changes the graph at a node and returns True, or returns False."""

    def __init__(self, nodes: list[Node], outputs: list[Node], folding: Folding) -> None:
        super().__init__(nodes, outputs)
        self.folding = folding

    def drop_zeros(self, node: Node) -> bool:
        """Adding zeros is dropped."""
        if not self.folding.drops_zeros or node.activation != "NONE":
            return False
        return node.op == "ADD" and bool(node.constants) and not node.constant.any() and self.drop(node)

    def before_reshape(self, node: Node) -> bool:
        """An operator that works element by element goes before a RESHAPE that only it uses."""
        reshape = node.inputs[0] if node.op in _ALONE or self.is_constant_before(node) else None
        if reshape is None or reshape.op != "RESHAPE" or self.uses(reshape) != 1:
            return False
        source = reshape.inputs[0]
        moved = replace(node, inputs=[source], shape=source.shape, rows=source.rows)
        self.put(node, replace(reshape, inputs=[moved]), moved)
        return True

    def is_constant_before(self, node: Node) -> bool:
        """Whether a constant vector that is added or multiplied behind a RESHAPE fits before it as well."""
        if node.op not in ("ADD", "MUL") or not node.constants:
            return False
        if not (node.inputs[0].is_fixed or node.inputs[0].has_shape):
            return False
        reshape, size = node.inputs[0], node.constant.size if node.constant.ndim == 1 else 0
        shapes = (reshape.shape, reshape.inputs[0].shape) if reshape.op == "RESHAPE" else ((),)
        return all(shape and shape[-1] == size and len(shape) < _MOST_DIMENSIONS for shape in shapes)

    def sum_before_reshapes(self, node: Node) -> bool:
        """The sum of two RESHAPEs of one kind is the RESHAPE of the sum."""
        if node.op != "ADD" or node.constants or any(source.op != "RESHAPE" for source in node.inputs):
            return False
        first, second = node.inputs
        if not (first.is_fixed and second.is_fixed) or first.full_shape != second.full_shape:
            return False
        if first.inputs[0].full_shape != second.inputs[0].full_shape:
            return False
        if self.uses(first) != (2 if first is second else 1) or self.uses(second) != self.uses(first):
            return False
        source = first.inputs[0]
        inputs = [source, second.inputs[0]]
        moved = replace(node, inputs=inputs, shape=source.shape, rows=source.rows)
        self.put(node, replace(first, inputs=[moved]), moved)
        return True

    def reshape_in_sum(self, node: Node) -> bool:
        """A RESHAPE that only adds dimensions of 1 in front is not needed in a sum with something that has them."""
        if node.op != "ADD" or node.constants:
            return False
        for place, reshape in enumerate(node.inputs):
            other = node.inputs[1 - place]
            if reshape.op != "RESHAPE" or not reshape.is_fixed or len(reshape.shape) > len(other.shape):
                continue
            source = reshape.inputs[0]
            users = [user for user in self.nodes if reshape in user.inputs]
            only_sums = reshape not in self.outputs and all(user.op in ("ADD", "MUL") for user in users)
            fits = len(source.shape) <= len(reshape.shape) and len(other.shape) < _MOST_DIMENSIONS
            if fits and _ends_with(source.full_shape, reshape.full_shape) and (self.uses(reshape) == 1 or only_sums):
                inputs = list(node.inputs)
                inputs[place] = source
                self.put(node, replace(node, inputs=inputs))
                return True
        return False

    def reshape_after_dense(self, node: Node) -> bool:
        """With a fixed batch, a RESHAPE back to the dimensions that a dense layer reads becomes a part of the layer."""
        source = node.inputs[0] if node.is_fixed else None
        if source is None or source.op != "FULLY_CONNECTED" or source.options["keep_num_dims"]:
            return False
        if self.uses(source) != 1 or source.shape[-1] != node.shape[-1]:
            return False
        if source.inputs[0].full_shape[:-1] != node.full_shape[:-1]:
            return False
        self.put(node, replace(source, options={**source.options, "keep_num_dims": True}))
        return True

    def reshape_before_dense(self, node: Node) -> bool:
        """With a fixed batch, a dense layer reads before a RESHAPE that keeps the last dimension."""
        reshape = node.inputs[0] if node.op == "FULLY_CONNECTED" else None
        if reshape is None or not reshape.is_fixed or node.options["keep_num_dims"]:
            return False
        source = reshape.inputs[0]
        if source.shape[-1] != reshape.shape[-1]:
            return False
        if len(source.shape) > len(reshape.shape) and not self.folding.reads_more_dims:
            return False
        # The converter changes the operator in place and tells nobody.
        node.inputs[:] = reshape.inputs
        return True

    def reshape_to_front(self, node: Node) -> bool:
        """From TensorFlow 2.18 on a RESHAPE behind a dense layer that has one before it goes there too."""
        dense = node.inputs[0] if node.is_fixed and self.folding.keeps_dims else None
        if dense is None or dense.op != "FULLY_CONNECTED" or self.uses(dense) != 1 or not dense.inputs[0].is_fixed:
            return False
        if node.shape[-1] != dense.shape[-1]:
            return False
        before = dense.inputs[0]
        shape = (*node.shape[:-1], before.shape[-1])
        target = np.array([node.rows, *shape], np.int32)
        moved = Node("RESHAPE", before.name, [before], shape, (target,), rows=node.rows)
        options = {**dense.options, "keep_num_dims": True}
        self.put(node, replace(dense, inputs=[moved], options=options), moved)
        return True

    def keep_dims_before_reshape(self, node: Node) -> bool:
        """From TensorFlow 2.18 on a dense layer before a RESHAPE keeps its input's dimensions."""
        dense = node.inputs[0] if node.op == "RESHAPE" and self.folding.keeps_dims else None
        if dense is None or dense.op != "FULLY_CONNECTED" or self.uses(dense) != 1 or dense.options["keep_num_dims"]:
            return False
        (source,) = dense.inputs
        if len(source.shape) == 1:
            return False
        shape = (*source.shape[:-1], dense.shape[-1])
        kept = replace(dense, shape=shape, rows=source.rows, options={**dense.options, "keep_num_dims": True})
        self.put(dense, kept)
        kept.shape, kept.rows = shape, source.rows
        return True

    def drop_reshape(self, node: Node) -> bool:
        """Of two RESHAPEs in a row the second is enough; with a fixed batch one that changes nothing is dropped."""
        if node.is_fixed and node.inputs[0].full_shape == node.full_shape:
            return self.drop(node)
        return self.reshape_once(node)

    def reshape_once(self, node: Node) -> bool:
        """Of two RESHAPE in a row the second is enough."""
        if node.op != "RESHAPE" or node.inputs[0].op != "RESHAPE":
            return False
        self.put(node, replace(node, inputs=list(node.inputs[0].inputs)))
        return True


def _ends_with(shape: tuple[int, ...], tail: tuple[int, ...]) -> bool:
    """Whether a shape ends with another one without its first dimensions of 1."""
    while tail and tail[0] == 1:
        tail = tail[1:]
    return shape[len(shape) - len(tail) :] == tail
