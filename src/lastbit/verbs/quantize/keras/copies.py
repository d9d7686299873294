"""Operators that calculate the same from the same are one operator in the converter's file.

A layer that is used twice on one value, and two layers without weights and with equal options, are such copies. So an
activation that is written twice counts as one use of the layer before it, and can go into it.

Source: tensorflow/tensorflow tensorflow/core/grappler/optimizers/common_subgraph_elimination.cc (a22a29347c4b; a sum's
inputs in any order); llvm/llvm-project mlir/lib/Transforms/CSE.cpp.
"""

from __future__ import annotations

from collections.abc import Hashable

from .graph import Node

__all__ = ["without_copies"]


def without_copies(nodes: list[Node], outputs: list[Node]) -> tuple[list[Node], list[Node]]:
    """The first of equal operators in the place of all of them.

    Args:
        nodes: each after those that feed it. What feeds a node that stays is changed.
        outputs: what is returned.

    Returns:
        The nodes that are left, and the outputs.
    """
    first: dict[Hashable, Node] = {}
    kept: dict[Node, Node] = {}
    for node in nodes:
        node.inputs[:] = [kept[source] for source in node.inputs]
        node.shape_of = node.shape_of and kept[node.shape_of]
        kept[node] = node if node.op == "INPUT" else first.setdefault(_what(node), node)
    return list(dict.fromkeys(kept.values())), [kept[output] for output in outputs]


def _what(node: Node) -> Hashable:
    """What a node calculates, and from what."""
    constants = tuple(value if value is None else (value.shape, value.tobytes()) for value in node.constants)
    sources = tuple(map(id, node.inputs))
    if node.op == "ADD":
        sources = tuple(sorted(sources))
    options = tuple(sorted((name, str(value)) for name, value in node.options.items()))
    return node.op, sources, constants, options, node.shape, node.rows, id(node.shape_of)
