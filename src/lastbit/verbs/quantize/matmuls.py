"""What the converter's optimizer makes of RESHAPEs and TRANSPOSEs beside a BATCH_MATMUL, from TensorFlow 2.14 on.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td (0f6b97dd17c6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .ir import CONSTANT, Graph, Op, Value

__all__ = ["merge_reshapes", "merge_transpose", "swap_transposed", "wrong_ranks"]

_NAME = "BATCH_MATMUL"


def merge_reshapes(least: int) -> Callable[[Graph, Op], bool]:
    """The rule that a BATCH_MATMUL between two RESHAPEs takes both in.

    Args:
        least: how many dimensions what the first RESHAPE reads must have, where the second factor has three. Up to
            TensorFlow 2.16 two are enough, and the converter then refuses its own result.
    """

    def step(graph: Graph, op: Op) -> bool:
        product = op.defining(0) if op.name == "RESHAPE" else None
        first = product.defining(0) if product is not None and product.name == _NAME else None
        if product is None or first is None or first.name != "RESHAPE":
            return False
        given, middle, second = first.operands[0], first.results[0], product.operands[1]
        if given is None or second is None or any(map(_open, (given, middle, op.results[0]))):
            return False
        shapes = _Shapes(*(v.tensor.shape for v in (given, middle, second, product.results[0], op.results[0])))
        if not (shapes.of_two() or shapes.of_three(least)):
            return False
        result = op.results[0]
        made = graph.add(
            _NAME, [given, second], [(result.tensor, result.params)], product.options, at=graph.ops.index(op)
        )
        graph.replace(op, made.results[0])
        return True

    return step


_Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Shapes:
    """The shapes on the way from what the first RESHAPE reads to what the second one gives."""

    given: _Shape
    middle: _Shape
    second: _Shape
    product: _Shape
    last: _Shape

    def of_two(self) -> bool:
        """Whether the factors have two dimensions, and the second RESHAPE gives back what the first one took."""
        if len(self.second) != 2 or len(self.middle) != 2 or min(len(self.given), len(self.last)) < 2:
            return False
        return self.given[-1] == self.middle[-1] and self.given[:-1] == self.last[:-1]

    def of_three(self, least: int) -> bool:
        """The same for factors of three dimensions, the first of which is 1."""
        given, last = self.given, self.last
        if len(self.second) != 3 or len(self.middle) != 3 or min(len(given), len(last)) < least:
            return False
        if self.second[0] != 1 or given[0] != 1 or given[-1] != self.middle[-1] or given[1:-1] != last[1:-1]:
            return False
        return _size(given[1:-1]) == self.middle[1] and _size(last[1:-1]) == self.product[1]


def _size(shape: _Shape) -> int:
    size = 1
    for part in shape:
        size *= part
    return size


def merge_transpose(position: int) -> Callable[[Graph, Op], bool]:
    """The rule that a TRANSPOSE of the last two dimensions of factor 0 or 1 becomes the option that says so."""
    option = ("adj_x", "adj_y")[position]

    def step(graph: Graph, op: Op) -> bool:
        move = op.defining(position) if op.name == _NAME else None
        source = move.operands[0] if move is not None and _swaps_last_two(move) else None
        if move is None or source is None or op.options.get(option):
            return False
        if position == 1 and len(move.results[0].uses) != 1:
            return False
        op.set_operand(position, source)
        op.options = {**op.options, option: True}
        return True

    return step


def swap_transposed(graph: Graph, op: Op) -> bool:
    """A TRANSPOSE of x times y transposed is y times x transposed; from TensorFlow 2.15 on."""
    product = op.defining(0) if _swaps_last_two(op) else None
    if product is None or product.name != _NAME or product.options.get("adj_x") or not product.options.get("adj_y"):
        return False
    result = op.results[0]
    operands = [product.operands[1], product.operands[0]]
    made = graph.add(_NAME, operands, [(result.tensor, result.params)], product.options, at=graph.ops.index(op))
    graph.replace(op, made.results[0])
    return True


def _swaps_last_two(op: Op) -> bool:
    order = op.defining(1) if op.name == "TRANSPOSE" else None
    if order is None or order.name != CONSTANT or order.data is None:
        return False
    axes = order.data.reshape(-1).tolist()
    rank = len(axes)
    return rank >= 2 and axes == [*range(rank - 2), rank - 1, rank - 2]


def _open(value: Value) -> bool:
    return any(size < 0 for size in value.tensor.shape_signature or ())


def wrong_ranks(graph: Graph) -> list[Op]:
    """BATCH_MATMULs whose output has fewer dimensions than a factor: the converter refuses these."""
    found = []
    for op in graph.ops:
        if op.name == _NAME:
            ranks = [len(value.tensor.shape) for value in op.operands if value is not None]
            if len(op.results[0].tensor.shape) != max(ranks, default=0):
                found.append(op)
    return found
